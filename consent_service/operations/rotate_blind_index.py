"""Replace the key under which subjects are found, while everything goes on. May be killed and run again.

(1) A new blind-index key is announced in the ledger: new subjects stand under it from then on, and everybody
is sought under both. (2) Each subject's sealed id is opened and gives her new index; her row is moved there,
a few in a transaction. (3) The older key is deleted. References stay what they are (ADR 0034).
"""

import secrets
from collections.abc import Sequence

from consent_service.errors import SealBroken
from consent_service.observability import BROKEN_SEALS
from consent_service.operations.announce_key import AnnounceKey
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import KEYS_LOCK, Deployment
from consent_service.operations.rotate_keys import Progress, Report, progress_from, silent, subjects_of
from consent_service.operations.tenant import BLIND_INDEX, VAULT, Tenant
from consent_service.storage.ledger_store import lock_head
from consent_service.storage.rotation_store import delete_tenant_keys_before
from consent_service.storage.subject_store import Reindexed, reindex_subjects, sealed_ids
from consent_service.storage.tenant_store import WrappedKey
from consent_service.storage.vault_store import count_wraps, key_versions
from consent_service.vault.blind_index import KEY_SIZE

_SUBJECTS_AT_ONCE = 250


def rotate_blind_index(
    deployment: Deployment, committer: Committer, tenants: Sequence[Tenant], *, progress: Progress = silent
) -> None:
    """Give these tenants a new blind-index key, in constant memory; `progress` gets subjects done and to do.

    Raises `SealBroken` where a sealed id does not open: that subject stays where she is, is found there, and
    the older key stays with her until she is restored or erased and this is run again.
    """
    with deployment.database.exclusively(KEYS_LOCK):
        _rotate(deployment, committer, tenants, progress)


def finish_blind_index(deployment: Deployment, committer: Committer) -> int:
    """Finish what a killed run began; return for how many tenants. Raises as `rotate_blind_index` does.

    None while somebody rotates.
    """
    with deployment.database.exclusively(KEYS_LOCK, wait=False) as held:
        begun = [each for each in deployment.tenants() if held and len(_versions(deployment, each)) > 1]
        _rotate(deployment, committer, begun, silent)
        return len(begun)


def _rotate(
    deployment: Deployment, committer: Committer, tenants: Sequence[Tenant], progress: Progress
) -> None:
    total = sum(subjects_of(deployment, tenant) for tenant in tenants)
    done = stuck = 0
    for tenant in tenants:
        stored = _begin(deployment, committer, tenant)  # (1)
        broken = _move_all(deployment, stored, progress_from(done, total, progress))  # (2)
        if not broken:
            _retire(deployment, stored)  # (3)
        stuck += broken
        done += subjects_of(deployment, tenant)
    if stuck:
        raise SealBroken(
            f"{stuck} subjects were not moved: their sealed ids are damaged (see consent ledger verify). The "
            "older key stays, and finds them. Restore or erase them, and run this again."
        )


def _begin(deployment: Deployment, committer: Committer, tenant: Tenant) -> Tenant:
    """Announce a new key, unless a run before this one did; return the tenant with every key."""
    versions = _versions(deployment, tenant)
    if len(versions) == 1:
        version = versions[0] + 1
        wrapped = deployment.roots.wrap(tenant.origin, BLIND_INDEX, version, secrets.token_bytes(KEY_SIZE))
        key = WrappedKey(purpose=BLIND_INDEX, version=version, wrapped=wrapped)
        committer.submit_blocking(tenant, AnnounceKey(key=key))
    with deployment.reading(tenant) as scope:
        return deployment.refreshed(scope, tenant)


def _versions(deployment: Deployment, tenant: Tenant) -> list[int]:
    with deployment.reading(tenant) as scope:
        return [version for purpose, version in key_versions(scope) if purpose == BLIND_INDEX]


def _move_all(deployment: Deployment, tenant: Tenant, report: Report) -> int:
    """Move every subject there is, for later ones stand under the new key; return how many are stuck."""
    end = subjects_of(deployment, tenant) + 1
    stuck = 0
    for first in range(1, end, _SUBJECTS_AT_ONCE):
        last = min(first + _SUBJECTS_AT_ONCE, end) - 1
        stuck += _move_range(deployment, tenant, first, last)
        report(last)
    return stuck


def _move_range(deployment: Deployment, tenant: Tenant, first: int, last: int) -> int:
    with deployment.reading(tenant) as scope:
        names = sealed_ids(scope, first, last)
    moved, stuck = [], 0
    for number, index, sealed in names:
        try:
            move = _move(tenant, number, index, sealed)
        except SealBroken:
            BROKEN_SEALS.labels("external_id").inc()
            stuck += 1
            continue
        if move is not None:
            moved.append(move)
    if moved:
        with deployment.writing(tenant) as scope:
            lock_head(scope)  # Decisions change the same rows: in turn, nobody waits for somebody who waits.
            reindex_subjects(scope, sorted(moved))
            count_wraps(scope, VAULT, tenant.keyring.version, len(moved))
    return stuck


def _move(tenant: Tenant, number: int, index: bytes, sealed: bytes) -> Reindexed | None:
    """Return where a subject's row goes, or `None` where it stands under the newest key already."""
    ring = tenant.keyring
    subject = tenant.named(ring.open_external_id(sealed, blind_index=index))
    if subject.blind_index == index:
        return None
    resealed = ring.seal_external_id(subject.external_id, blind_index=subject.blind_index)
    return Reindexed(subject=number, old_index=index, new_index=subject.blind_index, sealed=resealed)


def _retire(deployment: Deployment, tenant: Tenant) -> None:
    newest = max(version for purpose, version in tenant.versions if purpose == BLIND_INDEX)
    with deployment.writing(tenant) as scope:
        delete_tenant_keys_before(scope, BLIND_INDEX, newest)
    with deployment.reading(tenant) as scope:
        deployment.refreshed(scope, tenant)
