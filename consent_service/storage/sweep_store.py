"""Find the key grants that closed long ago, and the values whose retention may be over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, bindparam, or_

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, scoped_update, table_of
from consent_service.storage.tables import KeyGrantRow, ProfileValueRow, SubjectRow, UseDayRow

_grant, _value = table_of(KeyGrantRow), table_of(ProfileValueRow)
_subject, _use = table_of(SubjectRow), table_of(UseDayRow)
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
_DUE_SUBJECTS = (
    scoped_select(SubjectRow, "id")
    .where(_subject.c.look_at_ms < bindparam("until"))
    .order_by(_subject.c.look_at_ms)
    .limit(bindparam("most"))
)
_LOOK_AT_SUBJECT = (
    scoped_update(SubjectRow)
    .where(_subject.c.id == bindparam("subject"))
    .values(look_at_ms=bindparam("later"))
)
_OLD_USES = (
    scoped_select(UseDayRow, "subject_id", "day")
    .where(_use.c.day < bindparam("before"))
    .order_by(_use.c.day)
    .limit(bindparam("most"))
)
_DELETE_USES = scoped_delete(UseDayRow).where(
    _use.c.subject_id == bindparam("subject"), _use.c.day == bindparam("of_day")
)
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


def due_subjects(scope: TenantScope, *, until_ms: int, most: int) -> list[int]:
    """Return the subjects whose moment has come, `most` at a time, the longest waiting first."""
    return [subject for (subject,) in scope.run(_DUE_SUBJECTS, until=until_ms, most=most)]


def look_at_subjects_later(scope: TenantScope, later: Mapping[int, int | None]) -> None:
    """Look at these subjects' key grants at another moment, or not at all."""
    scope.run_many(
        _LOOK_AT_SUBJECT, [{"subject": subject, "later": moment} for subject, moment in later.items()]
    )


def outdated_subjects(scope: TenantScope, first: int, last: int, outdated: Sequence[Outdated]) -> list[int]:
    """Return those from `first` to `last` who have a key grant that is outdated by a notice."""
    conditions = [
        and_(
            _grant.c.purpose == each.purpose,
            or_(_grant.c.purpose_version < each.below, _grant.c.category.not_in(each.categories)),
        )
        for each in outdated
    ]
    statement = (
        scoped_select(KeyGrantRow, "subject_id")
        .where(_grant.c.subject_id >= bindparam("first"), _grant.c.subject_id <= bindparam("last"))
        .where(or_(*conditions))
        .distinct()
        .order_by(_grant.c.subject_id)
    )
    return [subject for (subject,) in scope.run(statement, first=first, last=last)]


def prune_uses(scope: TenantScope, *, before_day: int, most: int) -> int:
    """Delete the oldest uses before a day, those of `most` days of subjects; return of how many."""
    old = [
        {"subject": subject, "of_day": day}
        for subject, day in scope.run(_OLD_USES, before=before_day, most=most)
    ]
    scope.run_many(_DELETE_USES, old)
    return len(old)
