"""What every keystore does, tested on each against the real thing (AWS KMS: against moto's server)."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consent_service.errors import (
    ConfigurationError,
    KeyFileMissing,
    KeystoreUnavailable,
    WrongKey,
)
from consent_service.keystores.aws_kms import AwsKmsKeystore
from consent_service.keystores.keystore import Keystore, epoch_location, open_keystore
from consent_service.keystores.openbao import OpenBaoKeystore
from consent_service.keystores.pkcs11 import Pkcs11Keystore
from tests.keystores.conftest import PIN, TOKEN, MotoServer, OpenBaoServer
from tests.servers import unused_port

KEY = bytes(range(32))
CONTEXT = b"tenant/1"

Location = tuple[str, str]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes, after the test, every keystore that it opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def keystore(keystore_location: Location, opened: ExitStack) -> Keystore:
    """A keystore of each kind, with its first root key."""
    return a_keystore(keystore_location, opened)


def a_keystore(location: Location, opened: ExitStack, *, create: bool = True) -> Keystore:
    return opened.enter_context(closing(open_keystore(location[0], secret=location[1], create=create)))


def test_what_was_wrapped_unwraps_to_itself_after_reopening(
    keystore_location: Location, opened: ExitStack
) -> None:
    wrapped = a_keystore(keystore_location, opened).wrap(KEY, context=CONTEXT)
    again = a_keystore(keystore_location, opened, create=False)

    assert again.unwrap(wrapped, context=CONTEXT) == KEY
    assert KEY not in wrapped


def test_opening_twice_makes_one_root_key(keystore_location: Location, opened: ExitStack) -> None:
    first, second = (a_keystore(keystore_location, opened) for _ in range(2))

    assert first.current == second.current


def test_another_context_is_refused(keystore: Keystore) -> None:
    wrapped = keystore.wrap(KEY, context=CONTEXT)

    with pytest.raises(WrongKey):
        keystore.unwrap(wrapped, context=b"tenant/2")


def test_changed_and_truncated_bytes_are_refused(keystore: Keystore) -> None:
    wrapped = keystore.wrap(KEY, context=CONTEXT)
    changed = [
        bytes([*wrapped[:at], wrapped[at] ^ 1, *wrapped[at + 1 :]]) for at in (0, -20, len(wrapped) - 3)
    ]

    for wrong in (b"", wrapped[:1], wrapped[:12], wrapped[:-5], *changed):
        with pytest.raises(WrongKey):
            keystore.unwrap(wrong, context=CONTEXT)


def test_a_keystore_without_its_key_is_not_given_a_new_one(keystore_location: Location) -> None:
    with pytest.raises((WrongKey, KeyFileMissing)):
        open_keystore(keystore_location[0], secret=keystore_location[1], create=False)


def test_after_a_rotation_old_keys_unwrap_and_new_keys_name_the_new_version(keystore: Keystore) -> None:
    first = keystore.current
    old = keystore.wrap(KEY, context=CONTEXT)

    version = keystore.rotate()

    new = keystore.wrap(KEY, context=CONTEXT)
    assert (keystore.version_of(old), keystore.version_of(new)) == (first, version)
    assert keystore.current == version != first
    assert keystore.unwrap(old, context=CONTEXT) == keystore.unwrap(new, context=CONTEXT) == KEY


def test_threads_wrap_and_unwrap_at_once(keystore: Keystore) -> None:

    def there_and_back(number: int) -> bool:
        key, context = number.to_bytes(32, "big"), b"tenant/%d" % number
        return keystore.unwrap(keystore.wrap(key, context=context), context=context) == key

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(there_and_back, range(24)))


def test_the_keystore_of_epochs_lies_beside_the_lasting_one(
    keystore_location: Location, opened: ExitStack
) -> None:
    location, secret = keystore_location
    lasting = a_keystore(keystore_location, opened)
    epoch = a_keystore((epoch_location(location), secret), opened)
    before, kept = lasting.current, lasting.wrap(KEY, context=CONTEXT)

    epoch.destroy_before(epoch.rotate())

    assert lasting.current == before
    assert lasting.unwrap(kept, context=CONTEXT) == KEY
    assert epoch.unwrap(epoch.wrap(KEY, context=CONTEXT), context=CONTEXT) == KEY


def test_nothing_secret_shows_in_a_repr(keystore: Keystore) -> None:

    shown = repr(keystore)

    assert TOKEN not in shown
    assert f"'{PIN}'" not in shown


def test_a_destroyed_version_opens_nothing_and_destroying_it_again_is_no_error(
    openbao: OpenBaoServer, opened: ExitStack
) -> None:
    keystore = opened.enter_context(
        closing(OpenBaoKeystore.open(openbao.url, key="destroyed", token=TOKEN, create=True))
    )
    old = keystore.wrap(KEY, context=CONTEXT)
    version = keystore.rotate()
    kept = keystore.wrap(KEY, context=CONTEXT)

    keystore.destroy_before(version)
    keystore.destroy_before(version)

    with pytest.raises(WrongKey):
        keystore.unwrap(old, context=CONTEXT)
    assert keystore.unwrap(kept, context=CONTEXT) == KEY
    assert set(openbao.api("GET", "transit/keys/destroyed").json()["data"]["keys"]) == {"2"}


def test_a_destroyed_object_of_a_token_opens_nothing(softhsm: str, opened: ExitStack) -> None:
    keystore = opened.enter_context(
        closing(Pkcs11Keystore.open(softhsm, token="shop", pin=PIN, label="destroyed", create=True))
    )
    old = keystore.wrap(KEY, context=CONTEXT)
    keystore.rotate()
    version = keystore.rotate()

    keystore.destroy_before(version)

    with pytest.raises(WrongKey, match="lacks version 1"):
        keystore.unwrap(old, context=CONTEXT)
    assert keystore.current == version == "3"


def test_destroyed_kms_keys_wait_for_deletion_and_the_current_one_stays(
    moto: MotoServer, aws_credentials: None, opened: ExitStack
) -> None:
    keystore = AwsKmsKeystore.open(region="eu-west-3", alias="destroyed", create=True, endpoint=moto.url)
    opened.callback(keystore.close)
    versions = [keystore.current, keystore.rotate(), keystore.rotate()]

    keystore.destroy_before(versions[2])
    keystore.destroy_before(versions[2])

    described = [keystore._client.describe_key(KeyId=version)["KeyMetadata"] for version in versions]
    assert [found["KeyState"] for found in described] == ["PendingDeletion", "PendingDeletion", "Enabled"]


def test_openbao_with_a_token_it_does_not_know_says_what_to_check(openbao: OpenBaoServer) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_KEYSTORE_SECRET"):
        OpenBaoKeystore.open(openbao.url, key="consent", token="unknown", create=True)


def test_openbao_that_is_down_is_unavailable() -> None:
    with pytest.raises(KeystoreUnavailable):
        OpenBaoKeystore.open(f"http://127.0.0.1:{unused_port()}", key="consent", token=TOKEN, create=True)


def test_kms_that_is_down_is_unavailable(aws_credentials: None) -> None:
    with pytest.raises(KeystoreUnavailable):
        open_keystore(f"aws-kms:eu-west-3/consent?endpoint=http://127.0.0.1:{unused_port()}", create=True)


def test_a_token_that_is_not_connected_is_unavailable(softhsm: str) -> None:
    with pytest.raises(KeystoreUnavailable, match="connected"):
        Pkcs11Keystore.open(softhsm, token="drawer", pin=PIN, label="consent", create=True)


def test_a_pin_that_the_token_refuses_says_what_to_check(softhsm: str) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_KEYSTORE_SECRET"):
        Pkcs11Keystore.open(softhsm, token="shop", pin="9999", label="consent", create=True)


def test_a_library_that_is_no_pkcs11_module_is_unavailable() -> None:
    with pytest.raises(KeystoreUnavailable):
        open_keystore("pkcs11:token=shop;object=consent?module-path=/nowhere.so", secret=PIN, create=True)


def test_openbao_signs_and_keeps_the_private_key(openbao: OpenBaoServer, opened: ExitStack) -> None:
    keystore = opened.enter_context(
        closing(OpenBaoKeystore.open(openbao.url, key="consent", token=TOKEN, create=True))
    )
    public = keystore.signing_key("ledger", create=True)

    signature = keystore.sign("ledger", b"checkpoint")

    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"checkpoint")
    assert keystore.signing_key("ledger", create=True) == public
    with pytest.raises(WrongKey):
        keystore.signing_key("another", create=False)


def test_a_token_signs_and_keeps_the_private_key(softhsm: str, opened: ExitStack) -> None:
    keystore = opened.enter_context(
        closing(Pkcs11Keystore.open(softhsm, token="shop", pin=PIN, label="consent", create=True))
    )
    public = keystore.signing_key("ledger", create=True)

    signature = keystore.sign("ledger", b"checkpoint")

    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"checkpoint")
    assert keystore.signing_key("ledger", create=True) == public
    with pytest.raises(WrongKey):
        keystore.signing_key("another", create=False)


@pytest.mark.parametrize(
    "location", ["ftp://host/key", "openbao+https://host", "pkcs11:token=a", "aws-kms:region"]
)
def test_a_location_that_names_no_keystore_is_refused(location: str) -> None:
    with pytest.raises(ConfigurationError):
        open_keystore(location, create=True)


@pytest.mark.parametrize(
    ("location", "library", "extra"),
    [
        ("openbao+http://127.0.0.1/transit/consent", "httpx2", "openbao"),
        ("pkcs11:token=shop;object=consent?module-path=/x.so", "pkcs11", "pkcs11"),
        ("aws-kms:eu-west-3/consent", "boto3", "aws-kms"),
    ],
)
def test_a_missing_extra_is_named(location: str, library: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from consent_service.keystores.keystore import open_keystore\n"
        f"open_keystore({location!r}, create=True)"
    )

    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert (
        f"ExtraNotInstalled: This needs an optional dependency: pip install 'consent-service[{extra}]'"
        in (process.stderr)
    )
