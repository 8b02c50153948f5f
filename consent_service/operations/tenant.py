"""A tenant with its keys in hand: what every operation works for."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.domain.subject import ExternalId, SubjectRef, TenantName
from consent_service.errors import InvalidSubject, WrongKey
from consent_service.keystores.keystore import Keystore
from consent_service.ledger.note import NoteSigner
from consent_service.storage.tenant_store import StoredTenant, WrappedKey
from consent_service.vault.blind_index import blind_index, reference_key, subject_ref
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SealingKey, open_sealed, seal

MAX_EXTERNAL_ID = 256
"""Longest external id in characters."""

SIGNING, BLIND_INDEX, IDENTIFIER, TOKEN = "signing", "blind_index", "identifier", "token"
VAULT = "vault"
_PURPOSES = (SIGNING, BLIND_INDEX, IDENTIFIER, TOKEN, VAULT)
_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject as a request names her: the external id never leaves memory except sealed."""

    blind_index: bytes
    external_id: ExternalId = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant and its opened keys; the repr shows none of them.

    `versions` says which stored keys these are: when the stored ones differ, somebody rotated.
    """

    id: int
    name: TenantName
    origin: str
    signer: NoteSigner = field(repr=False)
    blind_index_key: bytes = field(repr=False)
    reference_key: bytes = field(repr=False)
    identifier_key: SealingKey = field(repr=False)
    token_key: bytes = field(repr=False)
    keyring: TenantKeyring = field(repr=False)
    versions: frozenset[tuple[str, int]] = field(repr=False)

    def subject(self, external_id: str) -> Subject:
        """Return the subject of this external id; raise `InvalidSubject` for an empty or overlong one."""
        if not 0 < len(external_id) <= MAX_EXTERNAL_ID:
            raise InvalidSubject(f"A subject's identifier has 1 to {MAX_EXTERNAL_ID} characters.")
        if not external_id.isprintable():
            raise InvalidSubject("A subject's identifier holds a control character.")
        return Subject(blind_index(self.blind_index_key, external_id), ExternalId(external_id))

    def ref(self, subject: Subject) -> SubjectRef:
        """Return the opaque reference that a new subject gets."""
        return subject_ref(self.reference_key, subject.external_id)

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


def new_tenant_keys(keystore: Keystore, origin: str) -> list[WrappedKey]:
    """Return fresh keys for a tenant, wrapped by the root key."""
    return [
        WrappedKey(
            purpose=purpose,
            version=1,
            wrapped=keystore.wrap(secrets.token_bytes(_KEY_SIZE), context=key_context(origin, purpose, 1)),
        )
        for purpose in _PURPOSES
    ]


def open_tenant(keystore: Keystore, stored: StoredTenant, wrapped: Sequence[WrappedKey]) -> Tenant:
    """Return the tenant with its newest keys; raise `WrongKey` if the root key does not open them."""
    opened = {
        (key.purpose, key.version): keystore.unwrap(
            key.wrapped, context=key_context(stored.origin, key.purpose, key.version)
        )
        for key in wrapped
    }
    keys = {purpose: secret for (purpose, _), secret in sorted(opened.items())}  # The newest comes last.
    if missing := [purpose for purpose in _PURPOSES if purpose not in keys]:
        raise WrongKey(f"Tenant {stored.name} has no {missing[0]} key: restore the database.")
    signing = Ed25519PrivateKey.from_private_bytes(keys[SIGNING])
    return Tenant(
        id=stored.id,
        name=stored.name,
        origin=stored.origin,
        signer=NoteSigner.from_private(stored.origin, signing),
        blind_index_key=keys[BLIND_INDEX],
        reference_key=reference_key(keys[BLIND_INDEX]),
        identifier_key=SealingKey(keys[IDENTIFIER]),
        token_key=keys[TOKEN],
        keyring=TenantKeyring(
            stored.origin,
            {
                version: SealingKey(secret)
                for (purpose, version), secret in opened.items()
                if purpose == VAULT
            },
        ),
        versions=frozenset(opened),
    )
