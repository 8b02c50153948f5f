"""Rotate keys while everything goes on. Each of these may be killed at any point and run again.

Ending an epoch: (1) a new root key of epochs; (2) a new tenant key under it, announced in the ledger, so that
everything is wrapped by it from then on; (3) what is wrapped by older ones is wrapped anew, in small
transactions; (4) the older tenant keys are deleted; (5) the other tenants' keys are wrapped by the new root
key; (6) the older root keys are destroyed in the keystore, and with them the profiles in every older copy.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from consent_service.domain.purpose import PurposeKey
from consent_service.errors import RotationOvertaken, SealBroken
from consent_service.observability import BROKEN_SEALS
from consent_service.operations.announce_key import AnnounceKey
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import KEYS_LOCK, Deployment
from consent_service.operations.tenant import FIRST_VERSION, ROOT, SIGNING, VAULT, Tenant
from consent_service.storage.ledger_store import lock_head, read_head
from consent_service.storage.rotation_store import (
    delete_tenant_keys_before,
    epoch_of,
    old_grants,
    old_subject_keys,
    rewrap_grants,
    rewrap_subject_keys,
    rewrap_tenant_key,
    wraps_before,
)
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import from_ms, lock_subjects, reseal_ids, sealed_ids
from consent_service.storage.tenant_store import WrappedKey
from consent_service.storage.vault_store import KeyGrant, SubjectKey, count_wraps, key_versions, tenant_keys
from consent_service.vault.keyring import TenantKeyring, epoch_is_over
from consent_service.vault.seal import SECRET_SIZE

Progress = Callable[[int, int], None]
Report = Callable[[int], None]
_SUBJECTS_AT_ONCE = 250


def silent(_done: int, _total: int) -> None:
    """Report no progress."""


def progress_from(before: int, total: int, progress: Progress) -> Report:
    """Return what reports one tenant's subjects as some of all, `before` of which are done."""
    return lambda subjects: progress(before + subjects, max(total, before + subjects))


def due_tenants(deployment: Deployment) -> list[Tenant]:
    """Return the tenants whose epoch is over, or whose last one did not end cleanly."""
    due = []
    for tenant in deployment.tenants():
        with deployment.reading(tenant) as scope:
            _, began_at_ms, wraps = epoch_of(scope, VAULT)
            unfinished = sum(key.purpose == VAULT for key in tenant_keys(scope)) > 1
        over = epoch_is_over(
            began_at=from_ms(began_at_ms),
            wraps=wraps,
            length=timedelta(days=deployment.settings.epoch_days),
            now=deployment.clock(),
        )
        if over or unfinished:
            due.append(tenant)
    return due


def end_epochs(
    deployment: Deployment, committer: Committer, tenants: Sequence[Tenant], *, progress: Progress = silent
) -> None:
    """End the epoch of these tenants; what was deleted in it is then irrecoverable everywhere.

    `progress` gets the subjects done and to do. Raises `KeystoreUnavailable`: nothing is lost, run it again.
    """
    with deployment.database.exclusively(KEYS_LOCK):
        _end_epochs(deployment, committer, tenants, progress)


def end_due_epochs(deployment: Deployment, committer: Committer) -> int:
    """End the epochs that are due; return of how many tenants. Raises as `end_epochs` does.

    None while somebody rotates: only when that is over it shows what is left to do.
    """
    with deployment.database.exclusively(KEYS_LOCK, wait=False) as held:
        due = due_tenants(deployment) if held else []
        if due:
            _end_epochs(deployment, committer, due, silent)
        return len(due)


def _end_epochs(
    deployment: Deployment, committer: Committer, tenants: Sequence[Tenant], progress: Progress
) -> None:
    root = _new_root(deployment)  # (1)
    total = sum(subjects_of(deployment, tenant) for tenant in tenants)
    done = 0
    for tenant in tenants:
        _begin_epoch(deployment, committer, tenant)  # (2)
        done += _finish_epoch(deployment, tenant, progress_from(done, total, progress))
    for tenant in deployment.tenants():
        rewrap_by_root(deployment, tenant, [VAULT], root)  # (5)
    deployment.roots.epoch.destroy_before(root)  # (6)


def _new_root(deployment: Deployment) -> str:
    """Return a root key of epochs that wraps nothing yet: one that a failed run left, or a new one.

    Raises `KeystoreUnavailable` before anything is changed where this one does not open every tenant's keys.
    """
    used = set()
    keystore = deployment.roots.epoch
    for tenant in deployment.tenants():
        with deployment.reading(tenant) as scope:
            deployment.refreshed(scope, tenant)
            used |= {keystore.version_of(key.wrapped) for key in tenant_keys(scope) if key.purpose == VAULT}
    current = keystore.current
    return keystore.rotate() if current in used else current


def subjects_of(deployment: Deployment, tenant: Tenant) -> int:
    """Return how many subjects a tenant has had: the number of the last one."""
    with deployment.reading(tenant) as scope:
        return read_head(scope).next_subject_id - 1


def _begin_epoch(deployment: Deployment, committer: Committer, tenant: Tenant) -> None:
    with deployment.reading(tenant) as scope:
        versions = [key.version for key in tenant_keys(scope) if key.purpose == VAULT]
    if len(versions) > 1:  # A run before this one was killed after it began.
        return
    version = versions[0] + 1
    wrapped = deployment.roots.wrap(tenant.origin, VAULT, version, secrets.token_bytes(SECRET_SIZE))
    committer.submit_blocking(
        tenant, AnnounceKey(key=WrappedKey(purpose=VAULT, version=version, wrapped=wrapped))
    )


def _finish_epoch(deployment: Deployment, tenant: Tenant, report: Report) -> int:
    with deployment.reading(tenant) as scope:
        tenant = deployment.refreshed(scope, tenant)
    while True:
        subjects = rewrap_subjects(deployment, tenant, report)  # (3)
        try:
            with deployment.writing(tenant) as scope:
                delete_tenant_keys_before(scope, VAULT, tenant.keyring.version)  # (4)
                _require_nothing_older(scope, tenant.keyring.version)
        except RotationOvertaken:
            continue
        with deployment.reading(tenant) as scope:
            deployment.refreshed(scope, tenant)
        return subjects


def _require_nothing_older(scope: TenantScope, version: int) -> None:
    if wraps_before(scope, version):
        raise RotationOvertaken("Something was wrapped by the older key in the last moment.")


def rewrap_subjects(deployment: Deployment, tenant: Tenant, report: Report = lambda _subjects: None) -> int:
    """Wrap whatever older tenant keys wrap by the newest one, in constant memory; return the subjects seen.

    What does not open any more is marked and left as it is: nobody can open it later either.
    """
    with deployment.reading(tenant) as scope:
        end = read_head(scope).next_subject_id
    for first in range(1, end, _SUBJECTS_AT_ONCE):
        last = min(first + _SUBJECTS_AT_ONCE, end) - 1
        _rewrap_range(deployment, tenant, first, last)
        report(last)
    return end - 1


def _rewrap_range(deployment: Deployment, tenant: Tenant, first: int, last: int) -> None:
    ring = tenant.keyring
    with deployment.reading(tenant) as scope:
        grants = old_grants(scope, first, last, ring.version)
        keys = old_subject_keys(scope, first, last, ring.version)
        names = sealed_ids(scope, first, last)
    resealed = [
        (subject, sealed)
        for subject, blind_index, stored in names
        if (sealed := _resealed(ring, blind_index, stored)) != stored
    ]
    if not grants and not keys and not resealed:
        return
    wrapped_grants = [(grant, _rewrapped_grant(ring, grant)) for grant in grants]
    wrapped_keys = [(key, _rewrapped_key(ring, key)) for key in keys]
    with deployment.writing(tenant) as scope:
        lock_head(scope)  # Decisions move the same rows: in turn, neither waits for the other's second row.
        lock_subjects(scope, range(first, last + 1))  # A profile's writer reads key grants of one version.
        rewrap_grants(scope, wrapped_grants, ring.version)
        rewrap_subject_keys(scope, wrapped_keys, ring.version)
        reseal_ids(scope, resealed)
        count_wraps(scope, VAULT, ring.version, len(grants) + len(keys) + len(resealed))


def _rewrapped_grant(ring: TenantKeyring, grant: KeyGrant) -> bytes:
    subject, category, purpose = str(grant.subject_id), grant.category, PurposeKey(grant.purpose)
    try:
        secret = ring.unwrap_for_purpose(grant.wrapped, subject=subject, category=category, purpose=purpose)
    except SealBroken:
        BROKEN_SEALS.labels("key_grant").inc()
        return grant.wrapped
    return ring.wrap_for_purpose(secret, subject=subject, category=category, purpose=purpose)


def _rewrapped_key(ring: TenantKeyring, key: SubjectKey) -> bytes:
    try:
        own = ring.unwrap_subject_key(key.wrapped, subject=str(key.subject_id))
    except SealBroken:
        BROKEN_SEALS.labels("subject_key").inc()
        return key.wrapped
    return ring.wrap_subject_key(own.secret, subject=str(key.subject_id))


def _resealed(ring: TenantKeyring, blind_index: bytes, sealed: bytes) -> bytes:
    try:
        if ring.version_of(sealed) == ring.version:
            return sealed
        return ring.seal_external_id(
            ring.open_external_id(sealed, blind_index=blind_index), blind_index=blind_index
        )
    except SealBroken:
        BROKEN_SEALS.labels("external_id").inc()
        return sealed


def rotate_root(
    deployment: Deployment, committer: Committer, *, destroy: bool = False, progress: Progress = silent
) -> None:
    """Wrap every tenant's lasting keys by a new root key, and say so in each ledger; may be run again.

    After a run that was killed the next one goes on with that one's root key. With `destroy` the older root
    keys are destroyed: backups of the database from before then open with a backup of the keystore only.
    `progress` gets the tenants done and to do.
    """
    with deployment.database.exclusively(KEYS_LOCK):
        keystore = deployment.roots.lasting
        behind = _behind_root(deployment)
        root = keystore.current if behind else keystore.rotate()
        _follow_root(deployment, committer, behind or deployment.tenants(), progress)
        if destroy:
            keystore.destroy_before(root)


def finish_root(deployment: Deployment, committer: Committer) -> int:
    """Finish what a killed run began; return for how many tenants. Raises as the keystore does.

    None while somebody rotates. Older root keys stay: only who ran it knows whether they were to go.
    """
    with deployment.database.exclusively(KEYS_LOCK, wait=False) as held:
        behind = _behind_root(deployment) if held else []
        _follow_root(deployment, committer, behind, silent)
        return len(behind)


def _behind_root(deployment: Deployment) -> list[Tenant]:
    """Return the tenants that have a key under an older lasting root key than the newest."""
    keystore = deployment.roots.lasting
    current = keystore.current
    return [
        tenant
        for tenant in deployment.tenants()
        if any(keystore.version_of(key.wrapped) != current for key in _lasting_keys(deployment, tenant))
    ]


def _lasting_keys(deployment: Deployment, tenant: Tenant) -> list[WrappedKey]:
    with deployment.reading(tenant) as scope:
        keys = tenant_keys(scope)
    return [key for key in keys if key.purpose != VAULT and deployment.roots.wraps(key)]


def _follow_root(
    deployment: Deployment, committer: Committer, tenants: Sequence[Tenant], progress: Progress
) -> None:
    """Wrap these tenants' lasting keys by the newest root key, each with its entry in one transaction."""
    for done, tenant in enumerate(tenants, start=1):
        rewrapped = [
            (key, _wrapped_anew(deployment, tenant, key)) for key in _lasting_keys(deployment, tenant)
        ]
        with deployment.reading(tenant) as scope:
            versions = [version for purpose, version in key_versions(scope) if purpose == ROOT]
        version = max(versions, default=FIRST_VERSION) + 1
        announced = WrappedKey(purpose=ROOT, version=version, wrapped=b"")  # It never leaves its keystore.
        committer.submit_blocking(tenant, AnnounceKey(key=announced, rewrapped=rewrapped))
        with deployment.reading(tenant) as scope:
            deployment.refreshed(scope, tenant)
        progress(done, len(tenants))


def _wrapped_anew(deployment: Deployment, tenant: Tenant, key: WrappedKey) -> bytes:
    secret = deployment.roots.unwrap(tenant.origin, key)
    return deployment.roots.wrap(tenant.origin, key.purpose, key.version, secret)


def rewrap_by_root(deployment: Deployment, tenant: Tenant, kinds: Collection[str], root: str) -> None:
    """Wrap a tenant's keys of these kinds by the current root key, where it is not `root` already."""
    with deployment.reading(tenant) as scope:
        keys = [key for key in tenant_keys(scope) if key.purpose in kinds]
    for key in keys:
        if deployment.roots.wraps(key) and deployment.roots.of(key.purpose).version_of(key.wrapped) != root:
            wrapped = _wrapped_anew(deployment, tenant, key)
            with deployment.writing(tenant) as scope:
                rewrap_tenant_key(scope, key, wrapped)


def rotate_signing_key(deployment: Deployment, committer: Committer, tenant: Tenant) -> str:
    """Put a new signing key into force and destroy the one before; return the new verifier key.

    The old key signs the checkpoint over the entry that names the new one: who trusts it can follow.
    """
    with deployment.database.exclusively(KEYS_LOCK):
        with deployment.reading(tenant) as scope:
            keys = [key for key in tenant_keys(scope) if key.purpose == SIGNING]
        version = max(key.version for key in keys) + 1
        key = deployment.roots.new_signing_key(tenant.origin, version)
        successor = deployment.roots.signer(tenant.origin, key)
        committer.submit_blocking(tenant, AnnounceKey(key=key, successor=successor))
        for old in keys:
            with deployment.writing(tenant) as scope:
                rewrap_tenant_key(scope, old, b"")
        return key.public
