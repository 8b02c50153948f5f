"""Find subjects' rows, also while the blind-index key under which they stand is being replaced."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from consent_service.domain.consent import SubjectState
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.change_store import erased_among
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import StoredSubject, find_subjects

_Row = TypeVar("_Row")
Find = Callable[[TenantScope, Sequence[bytes]], Mapping[bytes, _Row]]


def look_up(
    deployment: Deployment,
    scope: TenantScope,
    tenant: Tenant,
    subjects: Sequence[Subject],
    find: Find[_Row],
) -> dict[bytes, _Row]:
    """Return what `find` has of these subjects, by the blind index that each came with.

    Another process may have replaced the key since these indexes were made. So whoever is not found is sought
    once more under the keys that are stored as of this transaction: one small query, for strangers only.
    """
    rows = _sought(scope, find, {subject.blind_index: subject.indexes for subject in subjects})
    missing = [subject for subject in subjects if subject.blind_index not in rows]
    if not missing:
        return rows
    stored = deployment.refreshed(scope, tenant)
    again = {subject.blind_index: stored.named(subject.external_id).indexes for subject in missing}
    changed = {subject.blind_index for subject in missing if again[subject.blind_index] != subject.indexes}
    if changed:
        rows |= _sought(scope, find, {given: again[given] for given in changed})
    return rows


def look_up_one(
    deployment: Deployment, scope: TenantScope, tenant: Tenant, subject: Subject
) -> StoredSubject | None:
    """Return a subject's row, or `None` where she has none."""
    return look_up(deployment, scope, tenant, [subject], find_subjects).get(subject.blind_index)


def absent_states(
    scope: TenantScope, tenant: Tenant, subjects: Iterable[Subject]
) -> dict[bytes, SubjectState]:
    """Return the states of subjects who have no row, by blind index: an erasure is remembered for a week."""
    refs = {subject.blind_index: tenant.ref(subject) for subject in subjects}
    erased = erased_among(scope, list(refs.values())) if refs else frozenset()
    return {index: SubjectState(erased=ref in erased) for index, ref in refs.items()}


def _sought(
    scope: TenantScope, find: Find[_Row], sought: Mapping[bytes, tuple[bytes, ...]]
) -> dict[bytes, _Row]:
    found = find(scope, [index for indexes in sought.values() for index in indexes])
    return {given: found[index] for given, indexes in sought.items() for index in indexes if index in found}
