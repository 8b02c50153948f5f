"""Root keys and signing keys in the transit engine of OpenBao or Vault, over HTTP.

Wrapped bytes are the engine's own text `vault:v<version>:<base64>`; the context is its associated data. The
token needs `update` on encrypt, decrypt, sign and rotate, `read` and `create` on the key, and `update` on its
config and trim.
"""

import base64
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

import httpx2

from consent_service.errors import ConfigurationError, ConsentToolkitError, KeystoreUnavailable, WrongKey

_WRAPPED = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]+={0,2}", re.ASCII)
_TIMEOUT_S = 5.0
_SIGNING_VERSION = "1"
"""Of a signing key: the ledger announced this one, whatever OpenBao adds; a new key has a new name."""
_SEALED_OR_BUSY = frozenset({412, 429, 472, 473, 500, 502, 503, 504})


class OpenBaoKeystore:
    """One AES-256-GCM transit key and its versions; safe for several threads."""

    def __init__(self, client: httpx2.Client, *, mount: str, key: str) -> None:
        self._client = client
        self._mount = mount
        self._key = key

    @classmethod
    def open(
        cls, url: str, *, key: str, token: str, mount: str = "transit", create: bool
    ) -> "OpenBaoKeystore":
        """Open the transit key `key` of the engine mounted at `mount` of the server at `url`.

        With `create`, make the key when there is none. Raises as `Keystore`.
        """
        client = httpx2.Client(
            base_url=f"{url}/v1/{mount}/", headers={"X-Vault-Token": token}, timeout=_TIMEOUT_S
        )
        store = cls(client, mount=mount, key=key)
        try:
            store._find_or_make(create=create)
        except ConsentToolkitError:
            store.close()
            raise
        return store

    def __repr__(self) -> str:
        return f"OpenBaoKeystore(mount={self._mount!r}, key={self._key!r})"

    @property
    def current(self) -> str:
        """The version under which `wrap` wraps now."""
        return str(self._existing(self._key)["latest_version"])

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` encrypted by the engine under the newest version."""
        data = self._post(
            f"encrypt/{self._key}", {"plaintext": _text(key), "associated_data": _text(context)}
        )
        return str(data["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` was given; raise `WrongKey` when the engine does not open it."""
        self.version_of(wrapped)
        body = {"ciphertext": wrapped.decode("ascii"), "associated_data": _text(context)}
        return base64.b64decode(str(self._post(f"decrypt/{self._key}", body)["plaintext"]))

    def version_of(self, wrapped: bytes) -> str:
        """Return the version that `wrapped` names; raise `WrongKey` when it names none."""
        match = _WRAPPED.fullmatch(wrapped)
        if match is None:
            raise WrongKey(
                "A wrapped key in the database is not OpenBao's: restore the keystore it belongs to."
            )
        return match[1].decode("ascii")

    def rotate(self) -> str:
        """Add a version, make it current and return it; older versions still unwrap."""
        self._post(f"keys/{self._key}/rotate", {})
        return self.current

    def destroy_before(self, version: str) -> None:
        """Destroy every version older than `version`: the engine trims them from its storage."""
        least = int(version)
        if int(str(self._existing(self._key)["min_available_version"])) >= least:
            return
        self._post(
            f"keys/{self._key}/config", {"min_decryption_version": least, "min_encryption_version": least}
        )
        self._post(f"keys/{self._key}/trim", {"min_available_version": least})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def signing_key(self, name: str, *, create: bool) -> bytes:
        """Return the public key of the transit key `name`; with `create`, make it when missing."""
        if create and self._read(name) is None:
            self._post(f"keys/{name}", {"type": "ed25519"})
        document = self._existing(name)
        if document["type"] != "ed25519":
            raise WrongKey(f"The OpenBao key {name} is not an Ed25519 key.")
        versions = cast("Mapping[str, Mapping[str, str]]", document["keys"])
        if _SIGNING_VERSION not in versions:
            raise WrongKey(f"The first version of the OpenBao key {name} was trimmed: restore it.")
        return base64.b64decode(versions[_SIGNING_VERSION]["public_key"])

    def sign(self, name: str, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message` by the version of the key that `signing_key` gave."""
        body = {"input": _text(message), "key_version": int(_SIGNING_VERSION)}
        signature = str(self._post(f"sign/{name}", body)["signature"])
        return base64.b64decode(signature.rpartition(":")[2])

    def _find_or_make(self, *, create: bool) -> None:
        if self._read(self._key) is not None:
            return
        if not create:
            raise WrongKey(
                f"{self._mount} of OpenBao has no key {self._key}: restore it, or start on an empty database."
            )
        self._post(f"keys/{self._key}", {"type": "aes256-gcm96"})

    def _read(self, key: str) -> Mapping[str, object] | None:
        response = self._answer("GET", f"keys/{key}", None)
        return None if response.status_code == httpx2.codes.NOT_FOUND else _data(response)

    def _existing(self, key: str) -> Mapping[str, object]:
        found = self._read(key)
        if found is None:
            raise WrongKey(f"{self._mount} of OpenBao has no key {key}.")
        return found

    def _post(self, path: str, body: Mapping[str, object]) -> Mapping[str, object]:
        return _data(self._answer("POST", path, body))

    def _answer(self, method: str, path: str, body: Mapping[str, object] | None) -> httpx2.Response:
        try:
            response = self._client.request(method, path, json=body)
        except httpx2.TransportError as error:
            raise KeystoreUnavailable(f"OpenBao does not answer ({type(error).__name__}).") from None
        if response.status_code in _SEALED_OR_BUSY:
            raise KeystoreUnavailable(f"OpenBao is sealed or busy (status {response.status_code}).")
        if response.status_code == httpx2.codes.FORBIDDEN:
            raise ConfigurationError(
                f"OpenBao refuses the token for {path}: check CONSENT_KEYSTORE_SECRET and its policy."
            )
        return response


def open_location(location: str, *, secret: str, create: bool) -> OpenBaoKeystore:
    """Open `openbao+http[s]://host:port/mount/key`; `secret` is the token."""
    parts = urlsplit(location)
    mount, _, key = parts.path.strip("/").rpartition("/")
    if not (parts.netloc and mount and key):
        raise ConfigurationError("An OpenBao keystore is openbao+https://host:port/mount/key.")
    url = f"{parts.scheme.removeprefix('openbao+')}://{parts.netloc}"
    return OpenBaoKeystore.open(url, key=key, token=secret, mount=mount, create=create)


def _data(response: httpx2.Response) -> Mapping[str, object]:
    if (
        not response.is_success
    ):  # 400: not our ciphertext, destroyed version, other context; the body may quote it
        raise WrongKey(
            "OpenBao does not open a key of this database, or destroyed its version: restore the keystore."
        )
    document: Mapping[str, object] = response.json() if response.content else {}
    return cast("Mapping[str, object]", document.get("data") or {})


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
