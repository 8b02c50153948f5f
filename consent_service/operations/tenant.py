"""A tenant with its keys in hand: what every operation works for."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.domain.subject import ExternalId, SubjectRef, TenantName
from consent_service.errors import ConfigurationError, InvalidSubject, KeystoreUnavailable, WrongKey
from consent_service.keystores.keystore import Keystore, SigningKeystore
from consent_service.ledger.note import NoteSigner
from consent_service.observability import logger
from consent_service.storage.tenant_store import StoredTenant, WrappedKey
from consent_service.vault.blind_index import blind_index, request_digest, subject_ref
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SealingKey, open_sealed, seal

MAX_EXTERNAL_ID = 256
"""Longest external id in characters."""

SIGNING, BLIND_INDEX, IDENTIFIER, TOKEN = "signing", "blind_index", "identifier", "token"
REFERENCE, VAULT = "reference", "vault"
ROOT = "root"
"""The lasting root key: a tenant's row of it only says which one wraps its other keys."""
FIRST_VERSION = 1
_PURPOSES = (SIGNING, BLIND_INDEX, REFERENCE, IDENTIFIER, TOKEN, VAULT)
_KEY_SIZE = 32
_NAME_LENGTH = 16
_INSIDE = b"in the keystore: "
"""What stands in place of a wrapped signing key that never leaves its keystore: its name follows."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject as a request names her: the external id never leaves memory except sealed.

    While the blind-index key is being replaced, her row may still stand under one of the `older` indexes.
    `versions` are those of the tenant's keys by which she was named.
    """

    blind_index: bytes
    external_id: ExternalId = field(repr=False)
    older: tuple[bytes, ...] = ()
    versions: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False, compare=False)

    @property
    def indexes(self) -> tuple[bytes, ...]:
        """Every blind index under which her row may stand, the newest first."""
        return (self.blind_index, *self.older)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant and its opened keys; the repr shows none of them.

    `vkeys` are the verifier keys of its log, oldest first; `index_keys` the blind-index keys, newest first:
    one, except while it is being replaced. `versions` says which stored keys these are: when the stored ones
    differ, somebody rotated.
    """

    id: int
    name: TenantName
    origin: str
    signer: NoteSigner = field(repr=False)
    index_keys: tuple[bytes, ...] = field(repr=False)
    reference_key: bytes = field(repr=False)
    identifier_key: SealingKey = field(repr=False)
    token_key: bytes = field(repr=False)
    keyring: TenantKeyring = field(repr=False)
    vkeys: tuple[str, ...]
    versions: frozenset[tuple[str, int]] = field(repr=False)

    def subject(self, external_id: str) -> Subject:
        """Return the subject of this external id; raise `InvalidSubject` for an empty or overlong one."""
        if not 0 < len(external_id) <= MAX_EXTERNAL_ID:
            raise InvalidSubject(f"A subject's identifier has 1 to {MAX_EXTERNAL_ID} characters.")
        if not external_id.isprintable():
            raise InvalidSubject(
                "A subject's identifier holds a control character, or another that nobody sees."
            )
        return self.named(ExternalId(external_id))

    def named(self, external_id: ExternalId) -> Subject:
        """Return the subject of an external id that was accepted before, under the keys of now."""
        newest, *older = [blind_index(key, external_id) for key in self.index_keys]
        return Subject(newest, external_id, tuple(older), self.versions)

    def named_now(self, subject: Subject) -> Subject:
        """Return the subject under the keys of now, whichever named her."""
        if subject.versions is self.versions or subject.versions == self.versions:
            return subject
        return self.named(subject.external_id)

    def ref(self, subject: Subject) -> SubjectRef:
        """Return the opaque reference of a subject: no rotation changes it (ADR 0034)."""
        return subject_ref(self.reference_key, subject.external_id)

    def request_digest(self, digest: bytes) -> bytes:
        """Return what is stored of a request's digest: whoever has it and no key cannot test a guess."""
        return request_digest(self.reference_key, digest)

    def seal_id(self, subject: Subject) -> bytes:
        """Return the external id sealed for a subject token, bound to the blind index."""
        return seal(self.identifier_key, subject.external_id.encode(), self._aad(subject.blind_index))

    def open_id(self, sealed: bytes, index: bytes) -> ExternalId:
        """Return the external id that `seal_id` sealed."""
        return ExternalId(open_sealed(self.identifier_key, sealed, self._aad(index)).decode())

    def _aad(self, index: bytes) -> bytes:
        return b"external-id\x00" + self.origin.encode() + b"\x00" + index


def key_context(origin: str, purpose: str, version: int) -> bytes:
    """Return what a tenant's key of this kind and version is wrapped to."""
    return f"tenant-key\x00{origin}\x00{purpose}\x00{version}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The keystores of an installation: `epoch` wraps vault keys and forgets, `lasting` wraps the others.

    With `signing_inside`, new signing keys are made in the lasting keystore and never leave it.
    """

    lasting: Keystore
    epoch: Keystore
    signing_inside: bool = False

    def of(self, purpose: str) -> Keystore:
        """Return the keystore that wraps keys of this kind."""
        return self.epoch if purpose == VAULT else self.lasting

    def wrap(self, origin: str, purpose: str, version: int, secret: bytes) -> bytes:
        """Return a tenant's key wrapped by the root key of its kind."""
        return self.of(purpose).wrap(secret, context=key_context(origin, purpose, version))

    def unwrap(self, origin: str, key: WrappedKey) -> bytes:
        """Return the secret of a tenant's key; raise `WrongKey`."""
        return self.of(key.purpose).unwrap(key.wrapped, context=key_context(origin, key.purpose, key.version))

    def wraps(self, key: WrappedKey) -> bool:
        """Say whether a root key wraps this key: not one that lives in the keystore, or was destroyed."""
        return bool(key.wrapped) and not key.wrapped.startswith(_INSIDE)

    def new_signing_key(self, origin: str, version: int) -> WrappedKey:
        """Return a fresh Ed25519 key of a log: wrapped, or only its name where it stays in the keystore."""
        if self.signing_inside:
            name = f"{hashlib.sha256(origin.encode()).hexdigest()[:_NAME_LENGTH]}-signing-{version}"
            public = self._signing_keystore().signing_key(name, create=True)
            wrapped = _INSIDE + name.encode()
        else:
            private = Ed25519PrivateKey.generate()
            public = private.public_key().public_bytes_raw()
            wrapped = self.wrap(origin, SIGNING, version, private.private_bytes_raw())
        vkey = NoteSigner(origin, public, _cannot_sign).vkey
        return WrappedKey(purpose=SIGNING, version=version, wrapped=wrapped, public=vkey)

    def signer(self, origin: str, key: WrappedKey) -> NoteSigner:
        """Return the signer of a log's signing key; raise `WrongKey`."""
        if not key.wrapped.startswith(_INSIDE):
            private = Ed25519PrivateKey.from_private_bytes(self.unwrap(origin, key))
            return NoteSigner.from_private(origin, private)
        keystore, name = self._signing_keystore(), key.wrapped.removeprefix(_INSIDE).decode()
        public = keystore.signing_key(name, create=False)

        def sign(message: bytes) -> bytes:
            try:
                return keystore.sign(name, message)
            except (
                ConfigurationError
            ) as error:  # At start it ends the process; here others mend it meanwhile.
                logger.error("signing key", error=type(error).__name__, detail=str(error))
                raise KeystoreUnavailable(
                    "The keystore does not sign this log's checkpoints; the service's log says why."
                ) from None

        return NoteSigner(origin, public, sign)

    def _signing_keystore(self) -> SigningKeystore:
        if not hasattr(self.lasting, "sign"):
            raise ConfigurationError(
                "This keystore holds no signing keys: use OpenBao or PKCS#11, or unset "
                "CONSENT_SIGNING_IN_KEYSTORE."
            )
        return cast("SigningKeystore", self.lasting)

    def close(self) -> None:
        """Close both keystores."""
        self.lasting.close()
        self.epoch.close()


def _cannot_sign(_message: bytes) -> bytes:
    raise ConfigurationError("This signer knows only the public key.")


def new_tenant_keys(roots: Roots, origin: str) -> list[WrappedKey]:
    """Return fresh keys for a tenant, wrapped by the root keys."""
    others = [
        WrappedKey(
            purpose=purpose, version=1, wrapped=roots.wrap(origin, purpose, 1, secrets.token_bytes(_KEY_SIZE))
        )
        for purpose in _PURPOSES
        if purpose != SIGNING
    ]
    return [roots.new_signing_key(origin, 1), *others]


def open_tenant(roots: Roots, stored: StoredTenant, wrapped: Sequence[WrappedKey]) -> Tenant:
    """Return the tenant with its newest keys; raise `WrongKey` if the root keys do not open them."""
    newest = {key.purpose: key for key in sorted(wrapped, key=lambda key: key.version)}
    if missing := [purpose for purpose in _PURPOSES if purpose not in newest]:
        raise WrongKey(f"Tenant {stored.name} has no {missing[0]} key: restore the database.")
    origin = stored.origin
    vault = {key.version: SealingKey(roots.unwrap(origin, key)) for key in wrapped if key.purpose == VAULT}
    index_keys = [key for key in wrapped if key.purpose == BLIND_INDEX]
    index_keys.sort(key=lambda key: -key.version)
    return Tenant(
        id=stored.id,
        name=stored.name,
        origin=origin,
        signer=roots.signer(origin, newest[SIGNING]),
        index_keys=tuple(roots.unwrap(origin, key) for key in index_keys),
        reference_key=roots.unwrap(origin, newest[REFERENCE]),
        identifier_key=SealingKey(roots.unwrap(origin, newest[IDENTIFIER])),
        token_key=roots.unwrap(origin, newest[TOKEN]),
        keyring=TenantKeyring(origin, vault),
        vkeys=tuple(
            key.public for key in sorted(wrapped, key=lambda key: key.version) if key.purpose == SIGNING
        ),
        versions=frozenset((key.purpose, key.version) for key in wrapped),
    )
