"""Put a new key of the tenant into force: its row and its entry in the ledger, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consent_service.errors import RotationOvertaken
from consent_service.ledger.entry import Kind
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.record import KeyRecord
from consent_service.operations.batch import Batch
from consent_service.operations.tenant import FIRST_VERSION, Subject
from consent_service.storage.rotation_store import rewrap_tenant_key
from consent_service.storage.subject_store import to_ms
from consent_service.storage.tenant_store import WrappedKey
from consent_service.storage.vault_store import add_tenant_key, key_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceKey:
    """A new version of one of the tenant's keys, or of the root key; a signing key comes with its signer.

    With a new root key come the tenant's keys as they were and as it wraps them.

    The checkpoint over the entry is signed by the signing key before, and by a new one as well.
    """

    key: WrappedKey
    successor: NoteSigner | None = field(default=None, repr=False)
    rewrapped: Sequence[tuple[WrappedKey, bytes]] = field(default=(), repr=False)

    @property
    def subjects(self) -> Sequence[Subject]:
        """Nobody: a key is the tenant's."""
        return ()

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """None: the version says whether it was announced."""
        return ()

    def perform(self, batch: Batch) -> int:
        """Store the key and append its entry; raise `RotationOvertaken` where the version exists."""
        known = [version for purpose, version in key_versions(batch.scope) if purpose == self.key.purpose]
        newest = max(known, default=FIRST_VERSION)
        if newest != self.key.version - 1:
            raise RotationOvertaken(f"The {self.key.purpose} key has version {newest} already.")
        record = KeyRecord(
            what=self.key.purpose,
            version=self.key.version,
            recorded_at=batch.now,
            vkey=self.key.public or None,
            previous=batch.tenant.signer.vkey if self.key.public else None,
        )
        if self.successor is not None:
            batch.successors.append(self.successor)
        index = batch.append(Kind.KEY, record.encode())
        add_tenant_key(batch.scope, self.key, created_at_ms=to_ms(batch.now), index=index)
        for old, wrapped in self.rewrapped:
            rewrap_tenant_key(batch.scope, old, wrapped)
        return index
