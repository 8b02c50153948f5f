"""Find the key grants that closed long ago, and the values that nobody keeps any longer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, exists, or_

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, table_of
from consent_service.storage.tables import KeyGrantRow, ProfileValueRow

_grant, _value = table_of(KeyGrantRow), table_of(ProfileValueRow)
_DELETE_OUTLIVED = scoped_delete(ProfileValueRow).where(
    _value.c.subject_id == bindparam("subject"),
    _value.c.category == bindparam("of_category"),
    _value.c.field_tag == bindparam("tag"),
    _value.c.stored_at_ms == bindparam("stored"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """Key grants of a purpose that are below a version, or of a category that it does not use any more."""

    purpose: PurposeKey
    below: int
    categories: Sequence[CategoryKey]


class Outlived(NamedTuple):
    """A value whose time is over, as it was stored."""

    subject: int
    of_category: CategoryKey
    tag: bytes
    stored: int


def outlived_values(scope: TenantScope, kept_since: Mapping[PurposeKey, int], *, most: int) -> list[Outlived]:
    """Return values that every purpose which holds their key keeps no longer, `most` at a time.

    `kept_since` has the moment in milliseconds since which each purpose keeps values. A purpose that is not
    in it holds everything: its keys go when their grace is over.
    """
    if not kept_since:
        return []
    since = case(kept_since, value=_grant.c.purpose, else_=0)
    holding = exists().where(
        _grant.c.tenant_id == _value.c.tenant_id,
        _grant.c.subject_id == _value.c.subject_id,
        _grant.c.category == _value.c.category,
        _value.c.stored_at_ms >= since,
    )
    statement = (
        scoped_select(ProfileValueRow, "subject_id", "category", "field_tag", "stored_at_ms")
        .where(_value.c.stored_at_ms < max(kept_since.values()), ~holding)
        .limit(most)
    )
    return [Outlived._make(row) for row in scope.run(statement)]


def delete_outlived(scope: TenantScope, outlived: Sequence[Outlived]) -> None:
    """Delete these values, except those that were stored anew meanwhile."""
    scope.run_many(_DELETE_OUTLIVED, [value._asdict() for value in outlived])


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
