"""What a keystore does, whichever it is, and how one is opened from its location."""

import importlib
from typing import Protocol, cast
from urllib.parse import urlsplit

from consent_service.errors import ConfigurationError, ExtraNotInstalled


class Keystore(Protocol):
    """Root keys by version. Keys go in and come out wrapped; root keys never leave.

    Every method raises `KeystoreUnavailable` when the store does not answer and `WrongKey` when it answers
    that the key is not there, or that the wrapped bytes are not its own.
    """

    @property
    def current(self) -> str:
        """The root-key version under which `wrap` wraps now."""
        ...

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` sealed under the current root key and bound to `context`."""
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` was given with the same `context`."""
        ...

    def version_of(self, wrapped: bytes) -> str:
        """Return the root-key version that `wrapped` names."""
        ...

    def rotate(self) -> str:
        """Add a root key, make it current and return its version; older versions still unwrap."""
        ...

    def destroy_before(self, version: str) -> None:
        """Destroy every root key older than `version` for ever; does nothing where none is left."""
        ...

    def close(self) -> None:
        """Give up connections and sessions; the keystore is not used afterwards."""
        ...


class SigningKeystore(Keystore, Protocol):
    """A keystore that also holds Ed25519 signing keys, which never leave it either."""

    def signing_key(self, name: str, *, create: bool) -> bytes:
        """Return the 32-byte public key of the signing key `name`; with `create`, make it when missing."""
        ...

    def sign(self, name: str, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature (RFC 8032) of `message`."""
        ...


_MODULES = {  # scheme: module, the extra that brings its library, the library
    "openbao+http": ("openbao", "openbao", "httpx2"),
    "openbao+https": ("openbao", "openbao", "httpx2"),
    "pkcs11": ("pkcs11", "pkcs11", "pkcs11"),
    "aws-kms": ("aws_kms", "aws-kms", "boto3"),
    "file": ("local_file", "", ""),
    "": ("local_file", "", ""),
}


def epoch_location(location: str) -> str:
    """Return where the root key of epochs lives: beside the lasting one, under its name and `-epoch`.

    It is apart because ending an epoch destroys its older versions, and a backup of the database has to open
    without them: all but the profiles.
    """
    if location.startswith("pkcs11:"):
        path, mark, query = location.partition("?")
        parts = [f"{part}-epoch" if part.startswith("object=") else part for part in path.split(";")]
        return ";".join(parts) + mark + query
    if location.startswith(("openbao+", "aws-kms:")):
        before, mark, query = location.partition("?")
        return f"{before}-epoch{mark}{query}"
    return f"{location}#epoch"


def open_keystore(location: str, *, secret: str = "", create: bool) -> Keystore:
    """Open the keystore at `location`; with `create`, make its first root key when it has none.

        /var/lib/consent/keys.json, file:/var/lib/consent/keys.json       a local file
        openbao+https://bao.internal:8200/transit/consent                 OpenBao, Vault: mount and key name
        pkcs11:token=shop;object=consent?module-path=/usr/lib/hsm.so      PKCS#11 (RFC 7512)
        aws-kms:eu-west-3/consent                                         AWS KMS: region and alias

    `secret` is the OpenBao token or the PKCS#11 PIN. Raises `ConfigurationError` for a location of another
    kind, `ExtraNotInstalled` when the library is missing, and as `Keystore`.
    """
    scheme = urlsplit(location).scheme
    if scheme not in _MODULES:
        known = ", ".join(sorted(filter(None, _MODULES)))
        raise ConfigurationError(f"No keystore has the scheme {scheme}: use a file's path or one of {known}.")
    name, extra, library = _MODULES[scheme]
    try:
        module = importlib.import_module(f"consent_service.keystores.{name}")
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ExtraNotInstalled(extra) from None
    return cast("Keystore", module.open_location(location, secret=secret, create=create))
