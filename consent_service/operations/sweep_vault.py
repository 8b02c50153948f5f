"""Delete what closed long enough ago, with all that lived by it only, and what is older than its retention.

Gate and vault refuse an expired or outdated grant at once; its keys stay for a grace, so that a late renewal,
or a notice that was published by mistake and taken back, finds the profile as it was.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.retention import next_look, outlived
from consent_service.domain.uses import day_of
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.tenant import Tenant
from consent_service.storage.evidence_store import prune_evidence
from consent_service.storage.ledger_store import lock_head, read_head
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import from_ms, lock_subjects, to_ms
from consent_service.storage.sweep_store import (
    Aged,
    Outdated,
    delete_outlived,
    due_subjects,
    look_again,
    look_at_subjects_later,
    look_later,
    outdated_subjects,
    prune_uses,
    values_to_look_at,
)
from consent_service.storage.tenant_store import find_reckoned, find_swept, store_reckoned, store_swept
from consent_service.storage.vault_store import (
    KeyGrant,
    delete_categories,
    delete_derived,
    delete_grants,
    find_grants,
    look_at_categories,
    prune_tombstones,
)

TOMBSTONE_DAYS = 7
"""Days that followers may ask whom an erasure was about."""

_SUBJECTS_AT_ONCE = 200
_SUBJECTS_A_LOOK = 5000
_VALUES_AT_ONCE = _DAYS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many rows went."""

    key_grants: int
    days_of_uses: int
    tombstones: int
    values: int = 0
    evidence: int = 0

    @property
    def rows(self) -> int:
        """How many rows went in all."""
        return self.key_grants + self.values + self.days_of_uses + self.tombstones + self.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What closed before `until`: by expiry, and by what the notices published until then say.

    `newest` is the index of the last of those notices, `versions` has the version below which a purpose's
    grants are outdated, `offered` the categories a purpose may still use; a purpose that is not in `offered`
    is retired.
    """

    until: datetime
    newest: int | None = None
    versions: Mapping[PurposeKey, int] = field(default_factory=dict)
    offered: Mapping[PurposeKey, frozenset[CategoryKey]] = field(default_factory=dict)

    @classmethod
    def before(cls, publications: Sequence[PublishedNotice], until: datetime) -> "Closed":
        """Return what was closed by the notices of that time and is still closed by every later one."""
        past = [published for published in publications if published.published_at <= until]
        if not past:
            return cls(until=until)
        since = publications[len(past) - 1 :]
        versions: dict[PurposeKey, int] = {}
        for published in past:
            for key, purpose in published.notice.purposes.items():
                versions[key] = max(purpose.version, versions.get(key, 0))
        offered: dict[PurposeKey, frozenset[CategoryKey]] = {}
        for published in since:
            for key, purpose in published.notice.purposes.items():
                offered[key] = offered.get(key, frozenset()) | frozenset(purpose.categories)
        return cls(until=until, newest=past[-1].index, versions=versions, offered=offered)

    def closes(self, grant: KeyGrant) -> bool:
        """Say whether a key grant's time is over."""
        return (
            grant.valid_until_ms < to_ms(self.until)
            or grant.purpose_version < self.versions.get(grant.purpose, 0)
            or (bool(self.versions) and grant.category not in self.offered.get(grant.purpose, frozenset()))
        )

    def outdated(self) -> list[Outdated]:
        """Return the same as conditions on rows."""
        return [
            Outdated(purpose=key, below=version, categories=sorted(self.offered.get(key, frozenset())))
            for key, version in self.versions.items()
        ]


def sweep_vault(deployment: Deployment, tenant: Tenant) -> Swept:
    """Delete what is past its grace or its retention, in small transactions; return how much went."""
    now = deployment.clock()
    settings, grace = deployment.settings, timedelta(days=deployment.grace_days(tenant))
    with deployment.reading(tenant) as scope:
        publications = deployment.book(scope).publications
        closed = Closed.before(publications, now - grace)
    grants = _sweep_outdated(deployment, tenant, closed) + _sweep_expired(deployment, tenant, closed)
    _reckon_anew(deployment, tenant)
    values = _sweep_outlived(deployment, tenant, now)
    uses = _prune_uses(deployment, tenant, day_of(now - timedelta(days=settings.uses_days)))
    with deployment.writing(tenant) as scope:
        evidence = prune_evidence(scope, now_ms=to_ms(now))
        tombstones = prune_tombstones(scope, before_ms=to_ms(now - timedelta(days=TOMBSTONE_DAYS)))
    return Swept(
        key_grants=grants, values=values, days_of_uses=uses, tombstones=tombstones, evidence=evidence
    )


def _sweep_outdated(deployment: Deployment, tenant: Tenant, closed: Closed) -> int:
    """Once after the grace of each publication, look at every key grant: it may be closed by that notice."""
    with deployment.database.reading() as connection:
        end = read_head(TenantScope(connection, tenant.id)).next_subject_id
        known = find_swept(connection, tenant.id)
    if closed.newest is None or (known is not None and known >= closed.newest):
        return 0
    deleted = 0
    for first in range(1, end, _SUBJECTS_A_LOOK):
        last = min(first + _SUBJECTS_A_LOOK, end) - 1
        with deployment.reading(tenant) as scope:
            due = outdated_subjects(scope, first, last, closed.outdated())
        for start in range(0, len(due), _SUBJECTS_AT_ONCE):
            with deployment.writing(tenant) as scope:
                deleted += _sweep(scope, closed, due[start : start + _SUBJECTS_AT_ONCE])
    with deployment.database.writing() as connection:
        store_swept(connection, tenant.id, closed.newest)
    return deleted


def _sweep_expired(deployment: Deployment, tenant: Tenant, closed: Closed) -> int:
    deleted = 0
    while True:
        with deployment.reading(tenant) as scope:
            due = due_subjects(scope, until_ms=to_ms(closed.until), most=_SUBJECTS_AT_ONCE)
        if due:
            with deployment.writing(tenant) as scope:
                deleted += _sweep(scope, closed, due)
        if len(due) < _SUBJECTS_AT_ONCE:
            return deleted


def _prune_uses(deployment: Deployment, tenant: Tenant, before_day: int) -> int:
    deleted = 0
    while True:
        with deployment.writing(tenant) as scope:
            some = prune_uses(scope, before_day=before_day, most=_DAYS_AT_ONCE)
        deleted += some
        if some < _DAYS_AT_ONCE:
            return deleted


def _reckon_anew(deployment: Deployment, tenant: Tenant) -> None:
    """Once after each publication, let every value be looked at: retention is what the newest notice says."""
    with deployment.database.reading() as connection:
        head = read_head(TenantScope(connection, tenant.id))
        known = find_reckoned(connection, tenant.id)
    if head.notice_index is None or head.notice_index == known:
        return
    for first in range(1, head.next_subject_id, _SUBJECTS_AT_ONCE):
        with deployment.writing(tenant) as scope:
            _lock(scope, range(first, first + _SUBJECTS_AT_ONCE))
            look_again(scope, first, first + _SUBJECTS_AT_ONCE - 1)
    with deployment.database.writing() as connection:
        store_reckoned(connection, tenant.id, head.notice_index)


def _sweep_outlived(deployment: Deployment, tenant: Tenant, now: datetime) -> int:
    """Delete the values that no purpose which holds them keeps any longer, by the current notice."""
    deleted = 0
    while True:
        with deployment.reading(tenant) as scope:
            due = values_to_look_at(scope, now_ms=to_ms(now), most=_VALUES_AT_ONCE)
        if due:
            with deployment.writing(tenant) as scope:
                deleted += _look_at(deployment, scope, due, now)
        if len(due) < _VALUES_AT_ONCE:
            return deleted


def _look_at(deployment: Deployment, scope: TenantScope, due: Sequence[Aged], now: datetime) -> int:
    """Delete those of these values that are outlived, and say of the others when that may be."""
    subjects = sorted({value.subject for value in due})
    _lock(scope, subjects)
    purposes = deployment.book(scope).catalogue.purposes
    holding: dict[tuple[int, CategoryKey], list[PurposeKey]] = defaultdict(list)
    for grant in find_grants(scope, subjects):
        holding[grant.subject_id, grant.category].append(grant.purpose)
    gone: list[Aged] = []
    later: list[tuple[Aged, int]] = []
    for value in due:
        stored_at, held = from_ms(value.stored), holding[value.subject, value.of_category]
        if outlived(stored_at, held, purposes, now):
            gone.append(value)
        else:
            later.append((value, to_ms(next_look(stored_at, held, purposes, now))))
    delete_outlived(scope, gone)
    look_later(scope, later)
    return len(gone)


def _lock(scope: TenantScope, subject_ids: Iterable[int]) -> None:
    lock_head(scope)  # No decision moves these keys meanwhile: one that came first renewed them.
    lock_subjects(scope, subject_ids)  # Nor does anybody store a value under a key that goes.


def _sweep(scope: TenantScope, closed: Closed, subject_ids: Sequence[int]) -> int:
    _lock(scope, subject_ids)
    grants = find_grants(scope, subject_ids)
    gone = [grant for grant in grants if closed.closes(grant)]
    kept = [grant for grant in grants if not closed.closes(grant)]
    categories = {(grant.subject_id, grant.category) for grant in kept}
    purposes = {(grant.subject_id, grant.purpose) for grant in kept}
    delete_grants(scope, [(grant.subject_id, grant.purpose, grant.category) for grant in gone])
    lost = {(grant.subject_id, grant.category) for grant in gone}
    delete_categories(scope, lost - categories)
    look_at_categories(scope, lost & categories)
    delete_derived(scope, {(grant.subject_id, grant.purpose) for grant in gone} - purposes)
    look_at_subjects_later(scope, _next_looks(subject_ids, kept))
    return len(gone)


def _next_looks(subject_ids: Iterable[int], kept: Iterable[KeyGrant]) -> dict[int, int | None]:
    """Return when the first of the key grants that are left expires, of each subject."""
    looks: dict[int, int | None] = dict.fromkeys(subject_ids)
    for grant in kept:
        known = looks[grant.subject_id]
        looks[grant.subject_id] = grant.valid_until_ms if known is None else min(known, grant.valid_until_ms)
    return looks
