"""Key grants, sealed values, subject keys and uses: bytes in, bytes out, nothing here can open them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, CursorResult, bindparam

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.storage.scope import (
    TenantScope,
    scoped_delete,
    scoped_select,
    scoped_update,
    table_of,
)
from consent_service.storage.tables import (
    KeyGrantRow,
    ProfileValueRow,
    SubjectKeyRow,
    TenantKeyRow,
    TombstoneRow,
    UseDayRow,
)
from consent_service.storage.tenant_store import WrappedKey

_grant, _value = table_of(KeyGrantRow), table_of(ProfileValueRow)
_own_key, _use, _tenant_key = table_of(SubjectKeyRow), table_of(UseDayRow), table_of(TenantKeyRow)

GRANT_COLUMNS = (
    "subject_id",
    "purpose",
    "category",
    "purpose_version",
    "valid_until_ms",
    "key_version",
    "wrapped",
)
_VALUE_COLUMNS = (
    "subject_id",
    "category",
    "field_tag",
    "source",
    "source_index",
    "stored_at_ms",
    "sealed",
)
_OF_SUBJECTS: BindParameter[Any] = bindparam("subjects", expanding=True)
_OWN_GRANTS = scoped_select(KeyGrantRow, *GRANT_COLUMNS).where(_grant.c.subject_id == bindparam("subject"))
_PURPOSE_GRANTS = scoped_select(KeyGrantRow, "subject_id", "category", "key_version", "wrapped").where(
    _grant.c.subject_id.in_(_OF_SUBJECTS), _grant.c.purpose == bindparam("purpose")
)
_DELETE_GRANT = scoped_delete(KeyGrantRow).where(
    _grant.c.subject_id == bindparam("subject"),
    _grant.c.purpose == bindparam("purpose"),
    _grant.c.category == bindparam("category"),
)
_VALUES = scoped_select(
    ProfileValueRow, "subject_id", "category", "field_tag", "source", "source_index", "sealed"
).where(
    _value.c.subject_id.in_(_OF_SUBJECTS),
    _value.c.category.in_(bindparam("categories", expanding=True)),
)
_ALL_VALUES = scoped_select(ProfileValueRow, *_VALUE_COLUMNS).where(_value.c.subject_id.in_(_OF_SUBJECTS))
_OF_CATEGORY = (
    _value.c.subject_id == bindparam("subject"),
    _value.c.category == bindparam("of_category"),
)
_DELETE_CATEGORY = scoped_delete(ProfileValueRow).where(*_OF_CATEGORY)
_DELETE_FIELD = scoped_delete(ProfileValueRow).where(*_OF_CATEGORY, _value.c.field_tag == bindparam("tag"))
_LOOK_AT_CATEGORY = scoped_update(ProfileValueRow).where(*_OF_CATEGORY).values(look_at_ms=0)
_DELETE_DERIVED = scoped_delete(ProfileValueRow).where(
    _value.c.subject_id == bindparam("subject"), _value.c.source == bindparam("purpose")
)
_SUBJECT_KEYS = scoped_select(SubjectKeyRow, "subject_id", "key_version", "wrapped").where(
    _own_key.c.subject_id.in_(_OF_SUBJECTS)
)
_LOCK_SUBJECT_KEYS = _SUBJECT_KEYS.order_by(_own_key.c.subject_id).with_for_update()
_DAYS = scoped_select(UseDayRow, "subject_id", "day", "sealed").where(
    _use.c.subject_id.in_(_OF_SUBJECTS), _use.c.day.in_(bindparam("days", expanding=True))
)
_USES = (
    scoped_select(UseDayRow, "subject_id", "day", "sealed")
    .where(_use.c.subject_id.in_(_OF_SUBJECTS))
    .order_by(_use.c.subject_id, _use.c.day)
)
_tombstone = table_of(TombstoneRow)
_PRUNE_TOMBSTONES = scoped_delete(TombstoneRow).where(_tombstone.c.erased_at_ms < bindparam("before"))
_ERASE = tuple(
    (row.__tablename__, scoped_delete(row).where(table_of(row).c.subject_id.in_(_OF_SUBJECTS)))
    for row in (KeyGrantRow, ProfileValueRow, SubjectKeyRow, UseDayRow)
)
_TENANT_KEYS = scoped_select(TenantKeyRow, "purpose", "version", "wrapped", "public").order_by(
    _tenant_key.c.purpose, _tenant_key.c.version
)
_OF_KEY = (_tenant_key.c.purpose == bindparam("kind"), _tenant_key.c.version == bindparam("at"))
_HOLD_TENANT_KEY = (
    scoped_select(TenantKeyRow, "version").where(*_OF_KEY).with_for_update(read=True, key_share=True)
)


class KeyGrant(NamedTuple):
    """A category key wrapped for one purpose of one subject, and until when that purpose is granted.

    A tuple in the order of its columns: hot, and so stored and read as it is.
    """

    subject_id: int
    purpose: PurposeKey
    category: CategoryKey
    purpose_version: int
    valid_until_ms: int
    key_version: int
    wrapped: bytes


class SealedValue(NamedTuple):
    """A field of a profile as it is stored: a tuple in the order of its columns."""

    subject_id: int
    category: CategoryKey
    field_tag: bytes
    source: str
    source_index: int | None
    stored_at_ms: int
    sealed: bytes


PurposeGrant = tuple[int, CategoryKey, int, bytes]
"""Of a key grant: subject, category, version of the tenant key and the wrapped key. Plain, for it is hot."""

ValueRow = tuple[int, CategoryKey, bytes, str, int | None, bytes]
"""Of a sealed value: subject, category, tag, source, its index, and what is sealed. Plain, as it is hot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectKey:
    """A subject's own key under the tenant key of `key_version`."""

    subject_id: int
    key_version: int
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UseDay:
    """One day of uses of one subject's data, sealed."""

    subject_id: int
    day: int
    sealed: bytes


def key_versions(scope: TenantScope) -> frozenset[tuple[str, int]]:
    """Return which keys the tenant has: kind and version."""
    return frozenset(scope.select_tuples(TenantKeyRow, ("purpose", "version")))


def tenant_keys(scope: TenantScope) -> list[WrappedKey]:
    """Return the tenant's wrapped keys, every version."""
    return [
        WrappedKey(purpose=purpose, version=version, wrapped=wrapped, public=public)
        for purpose, version, wrapped, public in scope.run(_TENANT_KEYS)
    ]


def add_tenant_key(scope: TenantScope, key: WrappedKey, *, created_at_ms: int, index: int) -> None:
    """Store a new version of a key of the tenant, which the entry at `index` announces."""
    row = {
        "purpose": key.purpose,
        "version": key.version,
        "wrapped": key.wrapped,
        "public": key.public,
        "created_at_ms": created_at_ms,
        "wraps": 0,
        "index": index,
    }
    scope.insert(TenantKeyRow, [row])


def hold_tenant_key(scope: TenantScope, purpose: str, version: int) -> bool:
    """Return whether this version exists; if so, nobody deletes it before the transaction ends."""
    return scope.run(_HOLD_TENANT_KEY, kind=purpose, at=version).first() is not None


def count_wraps(scope: TenantScope, purpose: str, version: int, wraps: int) -> None:
    """Add to the number of wraps that a version of a tenant key has made."""
    if wraps:
        scope.increase(TenantKeyRow, "wraps", wraps, (purpose, version))


def find_grants(scope: TenantScope, subject_ids: Iterable[int]) -> list[KeyGrant]:
    """Return every key grant of these subjects."""
    subjects = list(subject_ids)
    if not subjects:
        return []
    found = scope.select_tuples(KeyGrantRow, GRANT_COLUMNS, among=("subject_id", subjects))
    return [KeyGrant._make(row) for row in found]


def own_grants(scope: TenantScope, subject_id: int) -> list[KeyGrant]:
    """Return every key grant of one subject."""
    return grants_of(scope.run(_OWN_GRANTS, subject=subject_id))


def purpose_grants(scope: TenantScope, subject_ids: Sequence[int], purpose: PurposeKey) -> list[PurposeGrant]:
    """Return what one purpose holds of each of these subjects, in no particular order."""
    return scope.tuples(_PURPOSE_GRANTS, subjects=subject_ids, purpose=purpose)


def grants_of(found: CursorResult[*tuple[Any, ...]]) -> list[KeyGrant]:
    """Return the key grants in rows of `GRANT_COLUMNS`."""
    return [KeyGrant._make(row) for row in found.all()]


def insert_grants(scope: TenantScope, grants: Sequence[KeyGrant]) -> None:
    """Store the first key grants of new subjects."""
    scope.insert_tuples(KeyGrantRow, GRANT_COLUMNS, grants)


def store_grants(scope: TenantScope, grants: Sequence[KeyGrant]) -> None:
    """Store key grants, in place of those of the same purpose and category."""
    scope.upsert_tuples(KeyGrantRow, GRANT_COLUMNS, grants)


def renew_grants(scope: TenantScope, renewed: Mapping[tuple[int, PurposeKey], tuple[int, int]]) -> None:
    """Store version and validity's end (ms) of purposes that were granted again: the wraps stay."""
    scope.update_tuples(
        KeyGrantRow,
        ("purpose_version", "valid_until_ms"),
        [(version, until_ms, *place) for place, (version, until_ms) in renewed.items()],
        found_by=("subject_id", "purpose"),
    )


def delete_grants(scope: TenantScope, gone: Iterable[tuple[int, PurposeKey, CategoryKey]]) -> None:
    """Delete key grants: without the last one of a category, its values are unreadable."""
    scope.run_many(
        _DELETE_GRANT,
        [
            {"subject": subject, "purpose": purpose, "category": category}
            for subject, purpose, category in gone
        ],
    )


def delete_categories(scope: TenantScope, gone: Iterable[tuple[int, CategoryKey]]) -> None:
    """Delete the values of a subject's categories."""
    scope.run_many(
        _DELETE_CATEGORY, [{"subject": subject, "of_category": category} for subject, category in gone]
    )


def look_at_categories(scope: TenantScope, shared: Iterable[tuple[int, CategoryKey]]) -> None:
    """Let the sweep look at the values of a subject's categories: fewer purposes hold them than before."""
    scope.run_many(
        _LOOK_AT_CATEGORY, [{"subject": subject, "of_category": category} for subject, category in shared]
    )


def delete_derived(scope: TenantScope, gone: Iterable[tuple[int, PurposeKey]]) -> None:
    """Delete the values that were derived for these purposes."""
    scope.run_many(_DELETE_DERIVED, [{"subject": subject, "purpose": purpose} for subject, purpose in gone])


def delete_fields(scope: TenantScope, subject_id: int, gone: Iterable[tuple[CategoryKey, bytes]]) -> None:
    """Delete single fields of a subject's profile, by their tags."""
    scope.run_many(
        _DELETE_FIELD,
        [{"subject": subject_id, "of_category": category, "tag": tag} for category, tag in gone],
    )


def find_values(
    scope: TenantScope, subject_ids: Sequence[int], categories: Sequence[CategoryKey]
) -> list[ValueRow]:
    """Return the sealed values of these subjects in these categories, in no particular order."""
    return scope.tuples(_VALUES, subjects=subject_ids, categories=categories)


def all_values(scope: TenantScope, subject_id: int) -> list[SealedValue]:
    """Return every sealed value of a subject."""
    return [SealedValue._make(row) for row in scope.run(_ALL_VALUES, subjects=[subject_id])]


def store_values(scope: TenantScope, values: Iterable[tuple[SealedValue, int]]) -> None:
    """Store sealed values, in place of those of the same field, and when to look at their age."""
    scope.upsert_tuples(
        ProfileValueRow, (*_VALUE_COLUMNS, "look_at_ms"), [(*value, moment) for value, moment in values]
    )


def find_subject_keys(scope: TenantScope, subject_ids: Iterable[int]) -> dict[int, SubjectKey]:
    """Return the own keys of those of these subjects that have one."""
    subjects = list(subject_ids)
    if not subjects:
        return {}
    return {
        subject: SubjectKey(subject_id=subject, key_version=version, wrapped=wrapped)
        for subject, version, wrapped in scope.run(_SUBJECT_KEYS, subjects=subjects)
    }


def lock_subject_keys(scope: TenantScope, subject_ids: Iterable[int]) -> dict[int, SubjectKey]:
    """Return subjects' own keys, and keep others from counting their uses until the transaction ends."""
    subjects = list(subject_ids)
    if not subjects:
        return {}
    return {
        subject: SubjectKey(subject_id=subject, key_version=version, wrapped=wrapped)
        for subject, version, wrapped in scope.run(_LOCK_SUBJECT_KEYS, subjects=subjects)
    }


def store_missing_subject_keys(scope: TenantScope, keys: Sequence[SubjectKey]) -> None:
    """Store subjects' own keys where another transaction has not done so before."""
    scope.insert_missing(
        SubjectKeyRow,
        [
            {"subject_id": key.subject_id, "key_version": key.key_version, "wrapped": key.wrapped}
            for key in keys
        ],
    )


def find_uses(scope: TenantScope, subject_ids: Iterable[int]) -> list[UseDay]:
    """Return the days of uses of these subjects, oldest first."""
    subjects = list(subject_ids)
    if not subjects:
        return []
    return [UseDay(subject_id=s, day=d, sealed=b) for s, d, b in scope.run(_USES, subjects=subjects)]


def find_days(scope: TenantScope, subject_ids: Iterable[int], days: Iterable[int]) -> list[UseDay]:
    """Return what is stored of these subjects on these days."""
    subjects, wanted = list(subject_ids), list(days)
    if not subjects or not wanted:
        return []
    rows = scope.run(_DAYS, subjects=subjects, days=wanted)
    return [UseDay(subject_id=s, day=d, sealed=b) for s, d, b in rows]


def store_uses(scope: TenantScope, days: Sequence[UseDay]) -> None:
    """Store days of uses, in place of what was there."""
    scope.upsert_tuples(
        UseDayRow,
        ("subject_id", "day", "sealed"),
        [(day.subject_id, day.day, day.sealed) for day in days],
    )


def store_tombstones(
    scope: TenantScope, index: int, refs: Iterable[SubjectRef], *, erased_at_ms: int
) -> None:
    """Remember for a while, for followers, whom the erasure at this index was about."""
    rows = [{"index": index, "ref": ref, "erased_at_ms": erased_at_ms} for ref in refs]
    scope.insert(TombstoneRow, rows)


def prune_tombstones(scope: TenantScope, *, before_ms: int) -> int:
    """Forget whom erasures before a moment were about; return how many."""
    return scope.run(_PRUNE_TOMBSTONES, before=before_ms).rowcount


def erase_vault(scope: TenantScope, subject_ids: Iterable[int]) -> dict[str, int]:
    """Delete all that these subjects have in the vault; return the number of rows by table."""
    subjects = list(subject_ids)
    return {str(table): scope.run(statement, subjects=subjects).rowcount for table, statement in _ERASE}
