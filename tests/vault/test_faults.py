"""What fails, fails closed and leaves everything as it was: keystores down, wrong keys."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from consent_service.errors import KeyFileMissing, KeystoreUnavailable, WrongKey
from consent_service.ledger.note import NoteVerifier
from consent_service.operations.read_ledger import read_checkpoint
from consent_service.operations.rotate_keys import end_epochs, rotate_root, rotate_signing_key
from tests.keystores.conftest import PIN, TOKEN, Line, OpenBaoServer, aws_credentials, moto, softhsm
from tests.shop import Shop

SIZE = {"household": {"size": 2}}
__all__ = ["aws_credentials", "moto", "softhsm"]  # fixtures that belong to the keystores' own tests


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBaoServer]:
    """An OpenBao of this test's own, which it may stop."""
    folder = tmp_path / "bao"
    folder.mkdir()
    server = OpenBaoServer(folder)
    yield server
    server.kill()


def a_shop(migrated_url: str, home: Path, bao: OpenBaoServer, **settings: object) -> Shop:
    return Shop(
        migrated_url,
        home,
        keystore=f"openbao+{bao.url}/transit/consent",
        keystore_secret=SecretStr(TOKEN),
        **settings,
    )


def test_a_service_on_a_remote_keystore_keeps_no_key_file(
    migrated_url: str, tmp_path: Path, bao: OpenBaoServer
) -> None:
    shop = a_shop(migrated_url, tmp_path / "home", bao)
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    end_epochs(shop.service.deployment, shop.service.committer, [shop.tenant])
    shop.reopen()

    assert shop.read("ana", "coupons") == SIZE
    assert not (tmp_path / "home" / "root.key").exists()
    assert TOKEN not in repr(shop.settings)
    shop.close()


def test_while_the_keystore_is_down_reads_go_on_and_rotation_and_start_wait(
    migrated_url: str, tmp_path: Path, bao: OpenBaoServer
) -> None:
    shop = a_shop(migrated_url, tmp_path / "home", bao)
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)

    bao.kill()

    assert shop.read("ana", "coupons") == SIZE
    shop.grant("ben", "coupons")
    assert shop.write("ben", SIZE) == ["household.size"]
    with pytest.raises(KeystoreUnavailable):
        end_epochs(shop.service.deployment, shop.service.committer, [shop.tenant])
    assert shop.read("ben", "coupons") == SIZE
    shop.check_ledger()
    shop.service.close()
    with pytest.raises(KeystoreUnavailable):
        a_shop(migrated_url, tmp_path / "home", bao)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A keystore, how it fails, how it comes back, and what is said meanwhile."""

    settings: dict[str, object]
    fail: Callable[[], object]
    mend: Callable[[], object]
    says: tuple[type[Exception], str]


@pytest.fixture(params=["file away", "file unreadable", "file open to others", "pkcs11", "aws-kms"])
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Failing]:
    """Each kind of keystore but OpenBao, which has its test above: a test runs with every one of them."""
    if request.param.startswith("file"):
        yield failing_file(request.param, tmp_path / "home" / "root.key")
    elif request.param == "pkcs11":
        library = request.getfixturevalue("softhsm")
        tokens = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
        name = f"consent-{secrets.token_hex(4)}"
        yield Failing(
            settings={
                "keystore": f"pkcs11:token=shop;object={name}?module-path={library}",
                "keystore_secret": SecretStr(PIN),
            },
            fail=lambda: tokens.rename(tokens.with_name("away")),
            mend=lambda: tokens.with_name("away").rename(tokens),
            says=(KeystoreUnavailable, "PKCS#11 token does not answer"),
        )
    else:
        request.getfixturevalue("aws_credentials")
        line = Line(request.getfixturevalue("moto").port)
        where = f"aws-kms:eu-west-3/consent-{secrets.token_hex(4)}?endpoint=http://127.0.0.1:{line.port}"
        yield Failing(
            settings={"keystore": where},
            fail=line.cut,
            mend=line.mend,
            says=(KeystoreUnavailable, "AWS KMS does not answer"),
        )
        line.cut()


def failing_file(how: str, keys: Path) -> Failing:
    away = keys.with_name("away")
    if how == "file open to others":
        return Failing(
            settings={},
            fail=lambda: keys.chmod(0o640),
            mend=lambda: keys.chmod(0o600),
            says=(WrongKey, "run chmod 600"),
        )

    def mend() -> None:
        keys.unlink(missing_ok=True)
        away.rename(keys)

    def unreadable() -> None:  # also for root, whom no mode keeps out
        keys.rename(away)
        keys.symlink_to(keys)

    if how == "file away":
        return Failing(
            settings={},
            fail=lambda: keys.rename(away),
            mend=mend,
            says=(KeyFileMissing, "There is no key file at"),
        )
    return Failing(settings={}, fail=unreadable, mend=mend, says=(KeystoreUnavailable, "cannot be read"))


def test_while_a_keystore_fails_reads_go_on_and_afterwards_everything_does(
    migrated_url: str, tmp_path: Path, failing: Failing
) -> None:
    error, words = failing.says
    shop = Shop(migrated_url, tmp_path / "home", **failing.settings)
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    deployment, committer = shop.service.deployment, shop.service.committer

    for name in ("ben", "cleo"):  # Twice, for what comes back may fail again.
        failing.fail()

        assert shop.read("ana", "coupons") == SIZE
        shop.grant(name, "coupons")
        assert shop.write(name, SIZE) == ["household.size"]
        for refused in (
            lambda: end_epochs(deployment, committer, [shop.tenant]),
            lambda: rotate_root(deployment, committer),
            lambda: Shop(migrated_url, tmp_path / "home", **failing.settings),
        ):
            with pytest.raises(error, match=words):
                refused()
        failing.mend()
        end_epochs(deployment, committer, [shop.tenant])
        rotate_root(deployment, committer)
        assert shop.read(name, "coupons") == shop.read("ana", "coupons") == SIZE

    shop.check_ledger()
    shop.reopen()
    assert shop.read("ana", "coupons") == SIZE
    shop.close()


def test_a_signing_key_in_the_keystore_signs_and_rotates(
    migrated_url: str, tmp_path: Path, bao: OpenBaoServer
) -> None:
    shop = a_shop(migrated_url, tmp_path / "home", bao, signing_in_keystore=True)
    shop.grant("ana", "coupons")

    new = rotate_signing_key(shop.service.deployment, shop.service.committer, shop.tenant)

    shop.reopen()
    shop.grant("ben", "coupons")
    assert shop.tenant.signer.vkey == new
    NoteVerifier.parse(new)
    assert new.split("+")[0] == shop.tenant.origin
    assert shop.tenant.origin.encode() in read_checkpoint(shop.service.deployment, shop.tenant)
    shop.check_ledger()
    shop.close()


@pytest.mark.parametrize("damage", ["missing", "another", "truncated", "readable"])
def test_a_service_refuses_to_start_without_its_own_key_file(
    migrated_url: str, tmp_path: Path, damage: str
) -> None:
    shop = Shop(migrated_url, tmp_path / "home")
    shop.grant("ana", "coupons")
    shop.close()
    keys = tmp_path / "home" / "root.key"
    if damage == "missing":
        keys.unlink()
    elif damage == "another":
        other = Shop(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other")
        other.close()
        shutil.copy(tmp_path / "other" / "root.key", keys)
    elif damage == "truncated":
        keys.write_bytes(keys.read_bytes()[:-20])
    else:
        keys.chmod(0o644)

    with pytest.raises((WrongKey, KeyFileMissing)):
        Shop(migrated_url, tmp_path / "home")

    assert keys.exists() == (damage != "missing")


def test_a_copy_of_the_key_file_on_another_machine_says_so_and_destroys_nothing(
    migrated_url: str, tmp_path: Path
) -> None:
    here = Shop(migrated_url, tmp_path / "here")
    here.grant("ana", "coupons")
    here.write("ana", SIZE)
    ours, theirs = (tmp_path / name / "root.key" for name in ("here", "there"))
    theirs.parent.mkdir(mode=0o700)
    shutil.copy(ours, theirs)
    there = Shop(migrated_url, theirs.parent)
    there.service.deployment.require_keys()
    copy = theirs.read_bytes()

    end_epochs(here.service.deployment, here.service.committer, here.service.deployment.tenants())

    for attempt in (
        there.service.deployment.require_keys,
        lambda: there.read("ana", "coupons"),
        lambda: there.grant("ben", "coupons"),
        lambda: end_epochs(there.service.deployment, there.service.committer, [there.tenant]),
    ):
        with pytest.raises(KeystoreUnavailable, match="every process needs the same one"):
            attempt()
    assert theirs.read_bytes() == copy
    with pytest.raises(WrongKey, match="lacks root key"):
        there.reopen()
    shutil.copy(ours, theirs)
    there = Shop(migrated_url, theirs.parent)
    there.grant("ben", "coupons")
    assert [shop.read("ana", "coupons") for shop in (here, there)] == [SIZE, SIZE]
    here.check_ledger()
    for shop in (here, there):
        shop.close()
