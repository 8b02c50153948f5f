"""Root keys and signing keys in a PKCS#11 token: a hardware security module, or SoftHSM.

    version of these bytes (1) = 0x01 | root-key version (4, big-endian) | nonce (12) | ciphertext and tag

Root keys are AES-256 objects with one label; the object's id is the version. They are made in the token,
sensitive and not extractable.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast
from urllib.parse import parse_qs, unquote

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import (
    DataInvalid,
    DataLenRange,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    NoSuchKey,
    NoSuchToken,
    PinIncorrect,
    PKCS11Error,
    UserAlreadyLoggedIn,
)
from pkcs11.types import DecryptMixin, EncryptMixin, SignMixin
from pkcs11.util.ec import encode_named_curve_parameters

from consent_service.errors import ConfigurationError, ConsentToolkitError, KeystoreUnavailable, WrongKey

_FORMAT = b"\x01"
_VERSION_SIZE = 4
_NONCE_SIZE = 12
_TAG_BITS = 128
_HEADER_SIZE = len(_FORMAT) + _VERSION_SIZE + _NONCE_SIZE
_ED25519 = "1.3.101.112"
_PUBLIC_KEY_SIZE = 32
# What tokens say for a wrong tag: the standard's own code, and what SoftHSM answers.
_NOT_OPENED = (
    DataInvalid,
    DataLenRange,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
)

_Answer = TypeVar("_Answer")
_library = threading.Lock()
"""One call at a time in this process: to set the library up anew ends the sessions of every keystore."""


class _RootKey(EncryptMixin, DecryptMixin, pkcs11.SecretKey):
    """What a session gives for an AES key: the library mixes the abilities in when it finds the object."""


class Pkcs11Keystore:
    """AES-256-GCM root keys under one label of one token; one session, one call at a time.

    When the token was away, a session is opened anew, and the library set up anew where that is not enough.
    """

    _set_ups = 0
    """How often that was done in this process: a session from before is no session any more."""

    def __init__(
        self, open_session: Callable[[], pkcs11.Session], set_up_anew: Callable[[], None], *, label: str
    ) -> None:
        self._open_session = open_session
        self._set_up_anew = set_up_anew
        self._session: pkcs11.Session | None = None
        self._session_of = 0
        self._label = label

    @classmethod
    def open(cls, module: str, *, token: str, pin: str, label: str, create: bool) -> "Pkcs11Keystore":
        """Open the token through the library `module`; with `create`, make the first root key when missing.

        Raises as `Keystore`, and `ConfigurationError` for a PIN that the token refuses.
        """

        def open_session() -> pkcs11.Session:
            slot = pkcs11.lib(module).get_token(token_label=token)
            try:
                return slot.open(user_pin=pin, rw=True)
            except UserAlreadyLoggedIn:  # by another session of this process: the log-in is the process's
                return slot.open(rw=True)

        store = cls(open_session, lambda: pkcs11.lib(module).reinitialize(), label=label)
        try:
            if not store._call(store._root_keys):
                if not create:
                    raise WrongKey(
                        f"Token {token} has no key {label}: restore it, or start on an empty database."
                    )
                store._call(lambda session: store._generate(session, 1))
        except ConsentToolkitError:
            store.close()
            raise
        return store

    def __repr__(self) -> str:
        return f"Pkcs11Keystore(label={self._label!r})"

    @property
    def current(self) -> str:
        """The version under which `wrap` wraps now."""
        return str(self._call(self._newest)[0])

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` encrypted in the token under the newest root key."""
        nonce = os.urandom(_NONCE_SIZE)

        def encrypt(session: pkcs11.Session) -> bytes:
            version, root = self._newest(session)
            sealed = root.encrypt(
                key, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, context, _TAG_BITS)
            )
            return _FORMAT + version.to_bytes(_VERSION_SIZE, "big") + nonce + cast("bytes", sealed)

        return self._call(encrypt)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` was given; raise `WrongKey` when the token does not open it."""
        version = int(self.version_of(wrapped))
        nonce = wrapped[_HEADER_SIZE - _NONCE_SIZE : _HEADER_SIZE]

        def decrypt(session: pkcs11.Session) -> bytes:
            root = self._held_keys(session).get(version)
            if root is None:
                raise WrongKey(f"The token lacks version {version} of {self._label}: restore it.")
            try:
                opened = root.decrypt(
                    wrapped[_HEADER_SIZE:],
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=GCMParams(nonce, context, _TAG_BITS),
                )
            except _NOT_OPENED:
                raise WrongKey("The token does not open a key of this database.") from None
            return cast("bytes", opened)

        return self._call(decrypt)

    def version_of(self, wrapped: bytes) -> str:
        """Return the version that `wrapped` names; raise `WrongKey` when it names none."""
        if len(wrapped) <= _HEADER_SIZE or wrapped[:1] != _FORMAT:
            raise WrongKey("A wrapped key in the database is damaged, or of another keystore.")
        return str(int.from_bytes(wrapped[1 : 1 + _VERSION_SIZE], "big"))

    def rotate(self) -> str:
        """Add a root key, make it current and return its version; older versions still unwrap."""

        def add(session: pkcs11.Session) -> str:
            version = self._newest(session)[0] + 1
            self._generate(session, version)
            return str(version)

        return self._call(add)

    def destroy_before(self, version: str) -> None:
        """Destroy every root key older than `version` in the token."""

        def destroy(session: pkcs11.Session) -> None:
            for number, root in self._held_keys(session).items():
                if number < int(version):
                    root.destroy()

        self._call(destroy)

    def close(self) -> None:
        """Close the session."""
        with _library:
            if self._session is not None:
                with suppress(PKCS11Error):  # Ended with the library's earlier set-up.
                    self._session.close()
            self._session = None

    def signing_key(self, name: str, *, create: bool) -> bytes:
        """Return the public key of the key pair `name`; with `create`, make it in the token when missing."""

        def find_or_make(session: pkcs11.Session) -> bytes:
            try:
                public = session.get_key(ObjectClass.PUBLIC_KEY, KeyType.EC_EDWARDS, label=name)
            except NoSuchKey:
                if not create:
                    raise WrongKey(f"The token has no signing key {name}.") from None
                curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_ED25519)}
                parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
                public, _ = parameters.generate_keypair(
                    mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, label=name, store=True
                )
            return bytes(public[Attribute.EC_POINT])[-_PUBLIC_KEY_SIZE:]

        return self._call(find_or_make)

    def sign(self, name: str, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message` by the key pair `name`."""

        def sign(session: pkcs11.Session) -> bytes:
            private = session.get_key(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, label=name)
            return bytes(cast("SignMixin", private).sign(message, mechanism=Mechanism.EDDSA))

        return self._call(sign)

    def _root_keys(self, session: pkcs11.Session) -> dict[int, _RootKey]:
        template = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.LABEL: self._label,
        }
        found = (cast("_RootKey", key) for key in session.get_objects(template))
        return {int.from_bytes(key.id, "big"): key for key in found}

    def _newest(self, session: pkcs11.Session) -> tuple[int, _RootKey]:
        keys = self._held_keys(session)
        version = max(keys)
        return version, keys[version]

    def _held_keys(self, session: pkcs11.Session) -> dict[int, _RootKey]:
        """Return the root keys; raise `NoSuchKey` for none: so a token that is away looks to its sessions."""
        keys = self._root_keys(session)
        if not keys:
            raise NoSuchKey
        return keys

    def _generate(self, session: pkcs11.Session, version: int) -> None:
        session.generate_key(
            KeyType.AES,
            256,
            label=self._label,
            id=version.to_bytes(_VERSION_SIZE, "big"),
            store=True,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )

    def _call(self, work: Callable[[pkcs11.Session], _Answer]) -> _Answer:
        with _library:
            if self._session is not None and self._session_of == Pkcs11Keystore._set_ups:
                try:
                    return work(self._session)
                except PKCS11Error:
                    self._session = None  # lost with the token's power or connection: once more on a new one
            fact: ConsentToolkitError
            try:
                return self._on_new_session(work)
            except PinIncorrect:
                fact = ConfigurationError("The token refuses the PIN: check CONSENT_KEYSTORE_SECRET.")
            except NoSuchToken:
                fact = KeystoreUnavailable("No token of that label is connected.")
            except NoSuchKey:
                fact = WrongKey(f"The token has no key {self._label} any more: restore it.")
            except (PKCS11Error, RuntimeError) as error:
                fact = KeystoreUnavailable(f"The PKCS#11 token does not answer ({type(error).__name__}).")
            raise fact  # Without the library's error: what that holds must not outlive the library's set-up.

    def _on_new_session(self, work: Callable[[pkcs11.Session], _Answer]) -> _Answer:
        try:
            return work(self._renewed())
        except PinIncorrect:  # A second wrong one might lock the token.
            raise
        except PKCS11Error:
            self._session = None
        Pkcs11Keystore._set_ups += 1  # Sessions end even where the library does not come up again.
        self._set_up_anew()  # It remembers a token as it first saw it.
        return work(self._renewed())

    def _renewed(self) -> pkcs11.Session:
        self._session, self._session_of = self._open_session(), Pkcs11Keystore._set_ups
        return self._session


def open_location(location: str, *, secret: str, create: bool) -> Pkcs11Keystore:
    """Open `pkcs11:token=…;object=…?module-path=…` (RFC 7512); `secret` is the PIN."""
    path, _, query = location.removeprefix("pkcs11:").partition("?")
    names = dict(part.split("=", 1) for part in path.split(";") if "=" in part)
    module = parse_qs(query).get("module-path", [""])[0]
    if not (names.get("token") and names.get("object") and module):
        raise ConfigurationError("A PKCS#11 keystore is pkcs11:token=…;object=…?module-path=….")
    return Pkcs11Keystore.open(
        module, token=unquote(names["token"]), pin=secret, label=unquote(names["object"]), create=create
    )
