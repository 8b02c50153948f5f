"""Find the key grants that closed long ago."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, or_

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.storage.scope import TenantScope, scoped_select, table_of
from consent_service.storage.tables import KeyGrantRow

_grant = table_of(KeyGrantRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """Key grants of a purpose that are below a version, or of a category that it does not use any more."""

    purpose: PurposeKey
    below: int
    categories: Sequence[CategoryKey]


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
