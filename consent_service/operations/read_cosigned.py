"""Read checkpoints with what witnesses signed under them."""

from dataclasses import dataclass
from itertools import groupby

from consent_service.errors import UnknownEntry
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.storage.cosignature_store import (
    ALL,
    StoredCosignature,
    checkpoint_at,
    cosignatures_at,
    last_cosigned,
    newest_cosignatures,
)
from consent_service.storage.ledger_store import read_head
from consent_service.storage.scope import TenantScope
from consent_service.verifier.verify import Policy

_LOOK_BACK = 1024
"""Cosignatures among which the last quorum is looked for, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessStatus:
    """How far a witness of the policy has followed: `size` 0 and `cosigned_at` `None` if it never cosigned.

    `cosigned_at` is the witness's POSIX second, `lag` the entries that it has not seen.
    """

    name: str
    vkey: str
    address: str | None
    size: int
    cosigned_at: int | None
    lag: int


def with_cosignatures(scope: TenantScope, size: int, note: bytes, *, seen: int = ALL) -> bytes:
    """Return a checkpoint with every cosignature on it, after the log's own signature."""
    return note + b"".join(each.line.encode() for each in cosignatures_at(scope, size, seen=seen))


def last_quorum(
    scope: TenantScope, policy: Policy | None, *, least: int = 0, seen: int = ALL
) -> tuple[int, bytes] | None:
    """Return size and note of the largest checkpoint of `least` entries or more that has the policy's quorum.

    Without a policy one cosignature of anybody is a quorum. `None` where there is no such checkpoint.
    """
    newest = newest_cosignatures(scope, most=_LOOK_BACK, least=least, seen=seen)
    for size, cosignatures in groupby(newest, key=lambda each: each.size):
        if quorum(policy, list(cosignatures)):
            note = checkpoint_at(scope, size)
            return None if note is None else (size, with_cosignatures(scope, size, note, seen=seen))
    return None


def quorum(policy: Policy | None, cosignatures: list[StoredCosignature]) -> bool:
    """Say whether the cosignatures on one checkpoint are what the policy asks for."""
    if policy is None:
        return True
    vkeys = {each.vkey for each in cosignatures}
    return policy.satisfied({name for name, vkey in policy.witnesses.items() if vkey in vkeys})


def read_cosigned_checkpoint(deployment: Deployment, tenant: Tenant) -> bytes:
    """Return the latest checkpoint that the policy's witnesses cosigned; raise `UnknownEntry` if none did."""
    with deployment.reading(tenant) as scope:
        found = last_quorum(scope, deployment.policy)
    if found is None:
        raise UnknownEntry("No checkpoint has been cosigned by enough witnesses yet.")
    return found[1]


def witness_statuses(deployment: Deployment, tenant: Tenant) -> list[WitnessStatus]:
    """Return how far each witness of the policy has followed this ledger."""
    policy = deployment.policy
    if policy is None:
        return []
    with deployment.reading(tenant) as scope:
        head = read_head(scope).size
        last = {name: last_cosigned(scope, vkey) for name, vkey in policy.witnesses.items()}
    return [
        WitnessStatus(
            name=name,
            vkey=policy.witnesses[name],
            address=policy.addresses.get(name),
            size=0 if cosignature is None else cosignature.size,
            cosigned_at=None if cosignature is None else cosignature.cosigned_at,
            lag=head - (0 if cosignature is None else cosignature.size),
        )
        for name, cosignature in last.items()
    ]
