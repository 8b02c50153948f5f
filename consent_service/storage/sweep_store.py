"""Find the key grants that closed long ago, and the values whose retention may be over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, bindparam, or_

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, scoped_update, table_of
from consent_service.storage.tables import KeyGrantRow, ProfileValueRow

_grant, _value = table_of(KeyGrantRow), table_of(ProfileValueRow)
_DUE = (
    scoped_select(ProfileValueRow, "subject_id", "category", "field_tag", "stored_at_ms")
    .where(_value.c.look_at_ms <= bindparam("now"))
    .order_by(_value.c.look_at_ms)
    .limit(bindparam("most"))
)
_AS_IT_WAS = (
    _value.c.subject_id == bindparam("subject"),
    _value.c.category == bindparam("of_category"),
    _value.c.field_tag == bindparam("tag"),
    _value.c.stored_at_ms == bindparam("stored"),
)
_DELETE_OUTLIVED = scoped_delete(ProfileValueRow).where(*_AS_IT_WAS)
_LOOK_LATER = scoped_update(ProfileValueRow).where(*_AS_IT_WAS).values(look_at_ms=bindparam("later"))
_LOOK_AGAIN = (
    scoped_update(ProfileValueRow)
    .where(_value.c.subject_id >= bindparam("first"), _value.c.subject_id <= bindparam("last"))
    .values(look_at_ms=0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """Key grants of a purpose that are below a version, or of a category that it does not use any more."""

    purpose: PurposeKey
    below: int
    categories: Sequence[CategoryKey]


class Aged(NamedTuple):
    """A value whose time may be over, as it was stored."""

    subject: int
    of_category: CategoryKey
    tag: bytes
    stored: int


def values_to_look_at(scope: TenantScope, *, now_ms: int, most: int) -> list[Aged]:
    """Return the values whose moment has come, `most` at a time, the longest waiting first."""
    return [Aged._make(row) for row in scope.run(_DUE, now=now_ms, most=most)]


def delete_outlived(scope: TenantScope, outlived: Sequence[Aged]) -> None:
    """Delete these values, except those that were stored anew meanwhile."""
    scope.run_many(_DELETE_OUTLIVED, [value._asdict() for value in outlived])


def look_later(scope: TenantScope, later: Sequence[tuple[Aged, int]]) -> None:
    """Look at these values at another moment, except those that were stored anew meanwhile."""
    scope.run_many(_LOOK_LATER, [{**value._asdict(), "later": moment} for value, moment in later])


def look_again(scope: TenantScope, first: int, last: int) -> None:
    """Look at all values of subjects from `first` to `last` as soon as may be."""
    scope.run(_LOOK_AGAIN, first=first, last=last)


def due_subjects(scope: TenantScope, *, until_ms: int, outdated: Sequence[Outdated]) -> list[int]:
    """Return the subjects who have a key grant that expired before a moment, or is outdated by a notice."""
    conditions = [
        and_(
            _grant.c.purpose == each.purpose,
            or_(_grant.c.purpose_version < each.below, _grant.c.category.not_in(each.categories)),
        )
        for each in outdated
    ]
    statement = (
        scoped_select(KeyGrantRow, "subject_id")
        .where(or_(_grant.c.valid_until_ms < bindparam("until"), *conditions))
        .distinct()
        .order_by(_grant.c.subject_id)
    )
    return [subject for (subject,) in scope.run(statement, until=until_ms)]
