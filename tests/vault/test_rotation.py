"""Rotation: what lives still opens, and what was deleted before opens nowhere, on both databases."""

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import make_url, text

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature
from consent_service.errors import SealBroken, WrongKey
from consent_service.followers.keeper import keep_house
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.note import NoteVerifier
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import Deployment
from consent_service.operations.export_audit import AuditRequest, export_audit
from consent_service.operations.read_ledger import read_checkpoint, read_keys
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.read_profile import open_value
from consent_service.operations.read_receipt import read_receipt
from consent_service.operations.rotate_keys import (
    due_tenants,
    end_epochs,
    rotate_root,
    rotate_signing_key,
)
from consent_service.operations.tenant import key_context
from consent_service.storage.engine import Database
from consent_service.storage.ledger_store import read_head
from consent_service.storage.rotation_store import epoch_of
from consent_service.storage.scope import TenantScope
from consent_service.storage.vault_store import all_values, find_grants, tenant_keys
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SealingKey
from consent_service.verifier.verify import verify_pack
from tests.forked import CONSENT, run
from tests.shop import Shop
from tests.vault.rotations import SIZE, customers_come_and_go, die_rotating, settle, versions

T = TypeVar("T")


def rotate(shop: Shop) -> None:
    end_epochs(shop.service.deployment, shop.service.committer, shop.service.deployment.tenants())


def a_customer(shop: Shop, name: str = "ana") -> None:
    settle(shop, [name])
    shop.read(name, "coupons")


def test_everything_opens_after_an_epoch_ended(shop: Shop) -> None:
    a_customer(shop)
    deployment = shop.service.deployment
    uses = shop.service.uses
    uses.note_reads(shop.tenant, (PurposeKey("coupons"), Feature("mail")), [(1, [CategoryKey("household")])])
    uses.flush()

    rotate(shop)

    assert versions(shop, "vault") == [2]
    assert shop.read("ana", "coupons") == SIZE
    data = read_personal_data(deployment, uses, shop.tenant, shop.subject("ana"))
    assert data.external_id == "ana"
    assert [count.times for day in data.uses for count in day.uses.values()] == [1]
    assert shop.write("ana", {"household": {"size": 3}}) == ["household.size"]


def test_the_ledger_says_that_an_epoch_began(shop: Shop) -> None:
    a_customer(shop)
    size = shop.check_ledger().size

    rotate(shop)

    assert shop.check_ledger().size == size + 1


def test_everything_opens_after_a_restart_in_the_new_epoch(shop: Shop) -> None:
    a_customer(shop)
    for _ in range(3):
        rotate(shop)

    shop.reopen()

    assert versions(shop, "vault") == [4]
    assert shop.read("ana", "coupons") == SIZE


def test_another_process_finds_the_new_epoch_by_itself(shop: Shop) -> None:
    a_customer(shop)
    other = Deployment.open(shop.settings, clock=lambda: shop.now)
    committer = Committer(other)

    end_epochs(other, committer, other.tenants())

    committer.close()
    other.close()
    assert shop.read("ana", "coupons") == SIZE
    shop.grant("ben", "coupons")
    assert shop.write("ben", SIZE) == ["household.size"]
    with shop.service.deployment.database.reading() as connection:
        assert connection.execute(text("SELECT DISTINCT key_version FROM key_grant")).scalars().all() == [2]


def test_reads_writes_grants_and_withdrawals_go_on_meanwhile(shop: Shop) -> None:
    names = [f"customer-{number}" for number in range(40)]
    for name in names:
        a_customer(shop, name)
    with customers_come_and_go(shop, names):
        for _ in range(3):
            rotate(shop)

    assert all(shop.read(name, "coupons") == SIZE for name in names)


def a_copy(database_url: str, folder: Path) -> str:
    """A backup of a SQLite file as an operator takes one."""
    folder.mkdir()
    source = sqlite3.connect(str(make_url(database_url).database))
    target = sqlite3.connect(folder / "backup.db")
    source.backup(target)
    source.close()
    target.close()
    return f"sqlite:///{folder / 'backup.db'}"


def test_a_backup_from_before_does_not_open_what_was_erased_since(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path / "home")
    a_customer(shop, "ana")
    a_customer(shop, "ben")
    backup, ana = a_copy(sqlite_url, tmp_path / "backup"), shop.subject_id("ana")
    assert opens(backup, tmp_path / "home", "ana")

    shop.erase("ana")
    assert found_by_hand(backup, shop, ana) == [("size", 2)]
    rotate(shop)

    assert shop.read("ben", "coupons") == SIZE
    assert not opens(backup, tmp_path / "home", "ana")
    assert found_by_hand(backup, shop, ana) == []
    shop.close()


def test_a_base_backup_does_not_open_what_was_erased_since(
    postgresql_url: str, base_backup: Callable[[str], str], tmp_path: Path
) -> None:
    shop = Shop(postgresql_url, tmp_path / "home")
    a_customer(shop, "ana")
    a_customer(shop, "ben")
    backup, ana = base_backup(postgresql_url), shop.subject_id("ana")
    assert opens(backup, tmp_path / "home", "ana")

    shop.erase("ana")
    assert found_by_hand(backup, shop, ana) == [("size", 2)]
    rotate(shop)

    assert shop.read("ben", "coupons") == SIZE
    assert not opens(backup, tmp_path / "home", "ana")
    assert found_by_hand(backup, shop, ana) == []
    shop.close()


def found_by_hand(database_url: str, shop: Shop, subject_id: int) -> list[tuple[str, object]]:
    """What of a subject opens in this copy by any key that is left, without asking the service that refuses.

    The keys are every root key on every wrapped key of the copy, the live tenant keys, under any version, and
    every category key that some living subject still has.
    """
    roots, live = shop.service.deployment.roots, shop.tenant.keyring
    with shop.service.deployment.reading(shop.tenant) as scope:
        living = find_grants(scope, range(1, read_head(scope).next_subject_id))
        stored = tenant_keys(scope)
    copy = Database(database_url)
    with copy.reading() as connection:
        scope = TenantScope(connection, shop.tenant.id)
        grants, values = find_grants(scope, [subject_id]), all_values(scope, subject_id)
        stored += tenant_keys(scope)
    copy.close()
    keys = {
        opened
        for key in stored
        for root in (roots.lasting, roots.epoch)
        if (
            opened := unless_refused(
                root.unwrap, key.wrapped, context=key_context(live.tenant, key.purpose, key.version)
            )
        )
    }
    rings = [
        TenantKeyring(live.tenant, {version: SealingKey(key)})
        for key in keys
        for version in range(1, live.version + 1)
    ]
    assert len(rings) > 1
    secrets = {
        secret
        for ring in rings
        for grant in (*grants, *living)
        if (
            secret := unless_refused(
                ring.unwrap_for_purpose,
                grant.wrapped,
                subject=str(grant.subject_id),
                category=grant.category,
                purpose=grant.purpose,
            )
        )
    }
    assert secrets  # Those of who is alive.
    return [
        found
        for value in values
        for secret in secrets
        if (found := unless_refused(open_value, live.tenant, SealingKey(secret), value))
    ]


def unless_refused(act: Callable[..., T], *given: object, **named: object) -> T | None:
    """What this gives, or nothing where a seal or a root key refuses."""
    try:
        return act(*given, **named)
    except (SealBroken, WrongKey):
        return None


def opens(database_url: str, home: Path, name: str) -> bool:
    """Whether any key that is left opens the profile of a subject in this copy of the database."""
    try:
        shop = Shop(database_url, home)
    except WrongKey:
        return False
    try:
        return shop.read(name, "coupons") == SIZE
    except SealBroken:
        return False
    finally:
        shop.close()


@pytest.mark.parametrize("step", ["rotate", "announce", "rewrap", "retire", "destroy"])
def test_a_killed_rotation_is_run_again(migrated_url: str, tmp_path: Path, step: str) -> None:
    """The process ends itself, as by `kill -9`, in the middle of a step; the next run finishes the work."""
    shop = Shop(migrated_url, tmp_path / "home")
    for number in range(30):
        a_customer(shop, f"customer-{number}")

    die_rotating(shop, "epoch", step)

    assert all(shop.read(f"customer-{number}", "coupons") == SIZE for number in range(30))
    shop.grant("late", "coupons")
    rotate(shop)
    shop.reopen()
    assert len(versions(shop, "vault")) == 1
    assert all(shop.read(f"customer-{number}", "coupons") == SIZE for number in range(30))
    shop.check_ledger()
    shop.close()


def test_an_epoch_is_due_by_its_age_and_when_it_did_not_end_cleanly(shop: Shop) -> None:
    assert due_tenants(shop.service.deployment) == []

    shop.pass_time(timedelta(days=30))

    assert [tenant.name for tenant in due_tenants(shop.service.deployment)] == ["default"]
    rotate(shop)
    assert due_tenants(shop.service.deployment) == []


def test_wraps_are_counted(shop: Shop) -> None:
    a_customer(shop)
    a_customer(shop, "ben")

    with shop.service.deployment.reading(shop.tenant) as scope:
        assert epoch_of(scope, "vault")[2] == 4


def test_a_damaged_key_row_does_not_stop_an_epoch_from_ending(shop: Shop) -> None:
    a_customer(shop, "ana")
    a_customer(shop, "ben")
    shop.run("UPDATE key_grant SET wrapped = :damaged WHERE subject_id = 1", damaged=b"damaged")

    rotate(shop)

    assert shop.read("ben", "coupons") == SIZE
    with pytest.raises(SealBroken):
        shop.read("ana", "coupons")


@pytest.mark.parametrize("destroy", [False, True])
def test_root_rotation_touches_tenant_keys_only(shop: Shop, *, destroy: bool) -> None:
    a_customer(shop)
    size = shop.check_ledger().size
    with shop.service.deployment.database.reading() as connection:
        before = connection.execute(text("SELECT wrapped FROM key_grant")).scalars().all()
        keys = set(connection.execute(text("SELECT wrapped FROM tenant_key")).scalars().all())

    for _ in range(2):
        rotate_root(shop.service.deployment, shop.service.committer, destroy=destroy)

    shop.reopen()
    assert versions(shop, "root") == [2, 3]
    assert shop.check_ledger().size == size + 2  # The ledger says each time that there is a new one.
    with shop.service.deployment.database.reading() as connection:
        assert connection.execute(text("SELECT wrapped FROM key_grant")).scalars().all() == before
        left = set(connection.execute(text("SELECT wrapped FROM tenant_key")).scalars().all()) & keys
    assert len(left) == 1  # the epoch's
    assert shop.read("ana", "coupons") == SIZE


@pytest.mark.parametrize("step", ["begin", "wrap", "commit", "second"])
def test_the_keeper_finishes_a_killed_rotation_of_the_root_key(shop: Shop, step: str) -> None:
    other = shop.beside("other")
    for each in (shop, other):
        each.grant("ana", "coupons")
        each.write("ana", SIZE)

    die_rotating(shop, "root", step)

    keystore = shop.service.deployment.roots.lasting
    current = keystore.current
    assert roots_of(shop) | roots_of(other) != {current}
    assert keep_house(shop.service)
    assert roots_of(shop) == roots_of(other) == {current} == {keystore.current}
    assert versions(shop, "root") == versions(other, "root") == [2]
    shop.reopen()
    other.service = shop.service
    for each in (shop, other):
        assert each.read("ana", "coupons") == SIZE
        each.check_ledger()


def test_a_killed_rotation_of_the_root_key_that_is_run_again_makes_no_other_one(shop: Shop) -> None:
    die_rotating(shop, "root", "wrap")
    current = shop.service.deployment.roots.lasting.current

    rotate_root(shop.service.deployment, shop.service.committer, destroy=True)

    assert roots_of(shop) == {current}
    assert versions(shop, "root") == [2]
    shop.reopen()


def roots_of(shop: Shop) -> set[str]:
    """The lasting root keys that wrap a tenant's keys."""
    with shop.service.deployment.reading(shop.tenant) as scope:
        keys = tenant_keys(scope)
    keystore = shop.service.deployment.roots.lasting
    return {keystore.version_of(key.wrapped) for key in keys if key.purpose != "vault" and key.wrapped}


def test_a_new_signing_key_is_signed_in_by_the_old_one(shop: Shop) -> None:
    a_customer(shop)
    old = shop.tenant.signer.vkey

    new = rotate_signing_key(shop.service.deployment, shop.service.committer, shop.tenant)

    note = read_checkpoint(shop.service.deployment, shop.tenant)
    for vkey in (old, new):
        open_checkpoint(note, NoteVerifier.parse(vkey), origin=shop.tenant.origin)
    shop.grant("ben", "coupons")
    later = read_checkpoint(shop.service.deployment, shop.tenant)
    open_checkpoint(later, NoteVerifier.parse(new), origin=shop.tenant.origin)
    assert shop.tenant.vkeys == (old, new)
    assert shop.check_ledger().size == 4


def test_the_old_signing_key_is_destroyed_and_verification_survives_restarts(shop: Shop) -> None:
    for name in ("ana", "ben"):
        a_customer(shop, name)
        rotate_signing_key(shop.service.deployment, shop.service.committer, shop.tenant)

    shop.reopen()

    assert len(shop.tenant.vkeys) == 3
    assert shop.check_ledger().size == 5
    with shop.service.deployment.database.reading() as connection:
        query = text("SELECT wrapped FROM tenant_key WHERE purpose = 'signing' ORDER BY version")
        assert [bool(wrapped) for (wrapped,) in connection.execute(query)] == [False, False, True]


def test_another_process_proves_by_the_new_signing_key_at_once(shop: Shop, tmp_path: Path) -> None:
    index = shop.grant("ana", "coupons")
    old = shop.tenant.signer.vkey
    other = Deployment.open(shop.settings, clock=lambda: shop.now)
    committer = Committer(other)
    new = rotate_signing_key(other, committer, other.tenants()[0])
    newest = rotate_signing_key(other, committer, other.tenants()[0])
    committer.close()
    other.close()
    stale, deployment = shop.tenant, shop.service.deployment
    assert stale.vkeys == (old,)

    evidence = read_receipt(deployment, stale, index).evidence
    pack = tmp_path / "pack.zip"
    pack.write_bytes(b"".join(export_audit(deployment, stale, AuditRequest())))

    assert (evidence.vkey, evidence.verify(NoteVerifier.parse(newest)).size) == (newest, 4)
    assert [verify_pack(pack, vkey=key)["vkey"] for key in (old, new, newest)] == [newest] * 3
    assert read_keys(deployment, stale) == (newest, new, old)


def test_the_command_line_rotates_everything(migrated_url: str, tmp_path: Path) -> None:
    shop = Shop(migrated_url, tmp_path / "home")
    a_customer(shop)
    environment = {"CONSENT_HOME": str(tmp_path / "home"), "CONSENT_DATABASE_URL": migrated_url}

    rotated = run(
        [CONSENT, "keys", "rotate", "epoch", "root", "blind-index", "signing", "--json"],
        environment=environment,
    )

    assert rotated.returncode == 0, rotated.stderr

    assert json.loads(rotated.stdout)["rotated"] == ["epoch", "root", "blind-index", "signing"]
    assert shop.read("ana", "coupons") == SIZE
    shop.grant("ben", "coupons")
    shop.reopen()
    assert json.loads(rotated.stdout)["vkeys"] == {"default": shop.tenant.signer.vkey}
    assert len(shop.tenant.vkeys) == 2
    shop.check_ledger()
    shop.close()
