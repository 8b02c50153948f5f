"""Note every use of a subject's data, for her to see: gathered in memory, sealed and stored behind the reads.

A read never waits for it. What cannot be kept (the buffer is full, the subject was erased) is counted and
dropped; what a killed process had not yet stored, at most about a second's worth, is lost.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Day, Feature, UseCount, UseKind, Uses, added, day_of
from consent_service.errors import ConsentToolkitError, SealBroken
from consent_service.observability import BROKEN_SEALS, USES, logger
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import VAULT, Tenant
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import hold_subjects, living_subjects
from consent_service.storage.vault_store import (
    SubjectKey,
    UseDay,
    count_wraps,
    find_days,
    find_subject_keys,
    hold_tenant_key,
    lock_subject_keys,
    store_missing_subject_keys,
    store_uses,
)
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.places import own_place
from consent_service.vault.seal import SealingKey, open_sealed, seal
from consent_service.vault.use_days import decode_uses, encode_uses

_INTERVAL_S = 1.0
_SUBJECTS_AT_ONCE = 200

_Days = dict[tuple[int, Day], dict[UseKind, UseCount]]


class UsesRecorder:
    """Gathers uses and stores them about once a second, on a thread of its own.

    At most `limit` distinct counts wait; beyond that new ones are dropped and counted.
    """

    def __init__(self, deployment: Deployment, *, limit: int) -> None:
        self._deployment = deployment
        self._limit = limit
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: dict[int, _Days] = {}
        self._counts = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uses", daemon=True)
        self._thread.start()

    def note(
        self,
        tenant: Tenant,
        subject_id: int,
        uses: Iterable[tuple[UseKind, int]],
        at: datetime,
    ) -> None:
        """Count uses of one subject's data; never waits for the database, never raises."""
        with self._lock:
            self._count(self._pending.setdefault(tenant.id, {}), subject_id, uses, at)

    def note_reads(
        self,
        tenant: Tenant,
        read: tuple[PurposeKey, Feature],
        subjects: Iterable[tuple[int, Iterable[CategoryKey]]],
    ) -> None:
        """Count one read of these categories of each subject for a purpose, by a feature."""
        purpose, feature = read
        at = self._deployment.clock()
        kinds: dict[CategoryKey, tuple[UseKind, int]] = {}
        with self._lock:
            days = self._pending.setdefault(tenant.id, {})
            for subject_id, categories in subjects:
                for category in categories:
                    if category not in kinds:
                        kinds[category] = UseKind(purpose=purpose, feature=feature, category=category), 1
                self._count(days, subject_id, [kinds[category] for category in categories], at)

    def _count(self, days: _Days, subject_id: int, uses: Iterable[tuple[UseKind, int]], at: datetime) -> None:
        key = subject_id, day_of(at)
        for kind, times in uses:
            counts = days.get(key, {})
            known = counts.get(kind)
            if known is None and self._counts >= self._limit:
                USES.labels("dropped").inc(times)
                continue
            self._counts += known is None
            count = UseCount(times=times, last=at)
            days.setdefault(key, counts)[kind] = count if known is None else known.plus(count)

    def flush(self) -> None:
        """Store what has been noted until now; raise what the database says, and keep the uses then."""
        with self._flushing:
            with self._lock:
                pending, self._pending, self._counts = self._pending, {}, 0
            for tenant_id in list(pending):
                days = pending[tenant_id]
                while days:
                    subjects = sorted({subject for subject, _ in days})[:_SUBJECTS_AT_ONCE]
                    part = {key: days[key] for key in days if key[0] in set(subjects)}
                    try:
                        self._store(self._deployment.tenant(tenant_id), part)
                    except Exception:
                        self._put_back(pending)
                        raise
                    for key in part:
                        del days[key]

    def close(self) -> None:
        """Store what is left, and stop."""
        self._stop.set()
        self._thread.join()
        with suppress(ConsentToolkitError):
            self.flush()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            with self._lock:
                idle = not self._pending
            if idle:
                continue
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001  # kept in memory, and tried again with the next ones
                logger.warning("uses", error=type(error).__name__, exc_info=error)

    def _put_back(self, pending: Mapping[int, _Days]) -> None:
        with self._lock:
            for tenant_id, days in pending.items():
                waiting = self._pending.setdefault(tenant_id, {})
                for key, counts in days.items():
                    before = waiting.get(key, {})
                    waiting[key] = added(before, counts)
                    self._counts += len(waiting[key]) - len(before)

    def _store(self, tenant: Tenant, days: _Days) -> None:
        with self._deployment.writing(tenant) as scope:
            ring = self._deployment.refreshed(scope, tenant).keyring
            subjects = sorted({subject for subject, _ in days})
            alive = hold_subjects(scope, subjects)
            busy = set(living_subjects(scope, sorted(set(subjects).difference(alive))))
            made = make_missing_keys(scope, ring, alive)
            locked = lock_subject_keys(scope, alive)
            # Asked again: only now nobody wraps these keys by a newer one any more.
            keyring = self._deployment.refreshed(scope, tenant).keyring
            keys = own_keys(keyring, locked)
            kept = {key: counts for key, counts in days.items() if key[0] in keys}
            stored = {
                (day.subject_id, day.day): day.sealed
                for day in find_days(scope, keys, {day for _, day in kept})
            }
            store_uses(scope, [_sealed(keyring, keys, key, counts, stored) for key, counts in kept.items()])
            count_wraps(scope, VAULT, ring.version, made)
        self._put_back({tenant.id: {key: counts for key, counts in days.items() if key[0] in busy}})
        for key, counts in days.items():
            if key[0] in busy:  # Somebody else has her row: she is erased by the next time, or free.
                continue
            outcome = "stored" if key in kept else "dropped"
            USES.labels(outcome).inc(sum(count.times for count in counts.values()))


def _sealed(
    keyring: TenantKeyring,
    keys: Mapping[int, SealingKey],
    key: tuple[int, Day],
    counts: Uses,
    stored: Mapping[tuple[int, int], bytes],
) -> UseDay:
    subject_id, day = key
    own = keys[subject_id]
    if key in stored:
        try:
            counts = added(open_day(keyring.tenant, own, subject_id, day, stored[key]), counts)
        except SealBroken:
            BROKEN_SEALS.labels("use_day").inc()  # The day begins anew: counting goes on.
    sealed = seal(own, encode_uses(counts), use_place(keyring.tenant, subject_id, day))
    return UseDay(subject_id=subject_id, day=day, sealed=sealed)


def open_day(
    tenant: str, own: SealingKey, subject_id: int, day: int, sealed: bytes
) -> dict[UseKind, UseCount]:
    """Return the uses of one day; raise `SealBroken`."""
    return decode_uses(open_sealed(own, sealed, use_place(tenant, subject_id, day)))


def use_place(tenant: str, subject_id: int, day: int) -> bytes:
    """Return the place of a day of uses."""
    return own_place(tenant=tenant, subject=str(subject_id), name=f"uses/{day}")


def make_missing_keys(scope: TenantScope, keyring: TenantKeyring, subject_ids: Sequence[int]) -> int:
    """Store a key of their own for those of these subjects who have none; return how many were wrapped.

    They are stored before any is locked, both in order: so no two processes wait for each other.
    """
    known = find_subject_keys(scope, subject_ids)
    missing = [subject_id for subject_id in subject_ids if subject_id not in known]
    if not missing or not hold_tenant_key(scope, VAULT, keyring.version):  # Its epoch is ending: next time.
        return 0
    store_missing_subject_keys(
        scope,
        [
            SubjectKey(
                subject_id=subject_id,
                key_version=keyring.version,
                wrapped=keyring.wrap_subject_key(SealingKey.generate().secret, subject=str(subject_id)),
            )
            for subject_id in missing
        ],
    )
    return len(missing)


def own_keys(keyring: TenantKeyring, wrapped: Mapping[int, SubjectKey]) -> dict[int, SealingKey]:
    """Return these subjects' own keys; a damaged one is left out."""
    keys: dict[int, SealingKey] = {}
    for subject_id, key in wrapped.items():
        try:
            keys[subject_id] = keyring.unwrap_subject_key(key.wrapped, subject=str(subject_id))
        except SealBroken:
            BROKEN_SEALS.labels("subject_key").inc()
    return keys
