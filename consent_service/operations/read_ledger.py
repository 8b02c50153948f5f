"""Read the transparency log: checkpoint, tiles and proofs, all from stored tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.errors import InvalidInput, UnknownEntry
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.handoff import Handoff
from consent_service.ledger.merkle import consistency_proof, inclusion_proof, tree_root
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.tiles import TilePath
from consent_service.operations.deployment import Deployment
from consent_service.operations.read_cosigned import with_cosignatures
from consent_service.operations.tenant import SIGNING, Tenant
from consent_service.storage.ledger_store import (
    Head,
    covering_checkpoint,
    read_bundle,
    read_head,
    read_record,
    read_tile,
    subtrees,
)
from consent_service.storage.rotation_store import announced_at
from consent_service.storage.scope import TenantScope

_ENTRIES = "entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """An RFC 9162 inclusion proof: hashes of 32 bytes, from the leaf up."""

    index: int
    size: int
    leaf_hash: bytes
    proof: list[bytes]
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """An RFC 9162 consistency proof between two sizes of one log."""

    old_size: int
    new_size: int
    proof: list[bytes]
    old_root: bytes
    new_root: bytes


def read_checkpoint(deployment: Deployment, tenant: Tenant) -> bytes:
    """Return the latest signed checkpoint (C2SP tlog-checkpoint), with the cosignatures it has so far."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        return with_cosignatures(scope, head.size, head.checkpoint)


def read_keys(deployment: Deployment, tenant: Tenant) -> tuple[str, ...]:
    """Return the log's verifier keys, newest first, also where another process replaced one just now."""
    with deployment.reading(tenant) as scope:
        return deployment.refreshed(scope, tenant).vkeys[::-1]


def read_handoffs(deployment: Deployment, tenant: Tenant) -> list[Handoff]:
    """Return how each signing key of the log was followed by the next, oldest first."""
    with deployment.reading(tenant) as scope:
        keys = [NoteVerifier.parse(vkey) for vkey in deployment.refreshed(scope, tenant).vkeys]
        return [_handoff(scope, tenant, index, keys) for index in announced_at(scope, SIGNING)]


def _handoff(scope: TenantScope, tenant: Tenant, index: int, keys: Sequence[NoteVerifier]) -> Handoff:
    note, stored = covering_checkpoint(scope, index), read_record(scope, index)
    size = open_checkpoint(note, *keys, origin=tenant.origin).size
    steps = tuple(inclusion_proof(index, size, subtrees(scope, size)))
    proof = TlogProof(index=index, hashes=steps, checkpoint=note)
    return Handoff(opening=stored.opening, record=stored.body, proof=proof.encode())


def read_tile_at(deployment: Deployment, tenant: Tenant, path: TilePath) -> bytes:
    """Return a tile or an entry bundle (C2SP tlog-tiles); raise `UnknownEntry`."""
    with deployment.reading(tenant) as scope:
        if path.level == _ENTRIES:
            return read_bundle(scope, path.n, path.width)
        return read_tile(scope, int(path.level), path.n, path.width)


def prove_inclusion(
    deployment: Deployment, tenant: Tenant, *, index: int, size: int | None = None
) -> InclusionProof:
    """Return the proof that the entry at `index` is in the log of `size` entries (the head's by default)."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        size = _known_size(head, size)
        if not 0 <= index < size:
            raise UnknownEntry(f"The log of {size} entries has none at that index.")
        subtree = subtrees(scope, size, head)
        return InclusionProof(
            index=index,
            size=size,
            leaf_hash=subtree(0, index),
            proof=inclusion_proof(index, size, subtree),
            root=tree_root(size, subtree),
        )


def prove_consistency(
    deployment: Deployment, tenant: Tenant, *, old_size: int, new_size: int | None = None
) -> ConsistencyProof:
    """Return the proof that the log of `new_size` entries begins with the one of `old_size`."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        new_size = _known_size(head, new_size)
        if not 0 <= old_size <= new_size:
            raise InvalidInput("A consistency proof leads from a smaller size to a larger one.")
        subtree = subtrees(scope, new_size, head)
        return ConsistencyProof(
            old_size=old_size,
            new_size=new_size,
            proof=consistency_proof(old_size, new_size, subtree),
            old_root=tree_root(old_size, subtree),
            new_root=tree_root(new_size, subtree),
        )


def _known_size(head: Head, size: int | None) -> int:
    if size is None:
        return head.size
    if not 0 <= size <= head.size:
        raise InvalidInput(f"The log has {head.size} entries, not yet that many.")
    return size
