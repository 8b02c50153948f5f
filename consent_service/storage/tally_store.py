"""What is counted over a tenant's records and subjects, for people who are shown counts only."""

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from consent_service.storage.scope import SCOPED, TenantScope, own_rows, scoped_select, table_of
from consent_service.storage.tables import RecordRow, SubjectRow

_SUBJECTS_AT_ONCE = 500
_record, _subject = table_of(RecordRow), table_of(SubjectRow)
_UNLINKED = _subject.c.linked_to.is_(None)
"""Whoever was linked to somebody else is that one person."""


def _segments(number: ColumnElement[int], last: ColumnElement[int]) -> Select[int, int, int]:
    segment = (number // bindparam("width", type_=BigInteger)).label("segment")
    return select(segment, func.count(), func.max(last)).group_by(segment).execution_options(**SCOPED)


_RECORD_SEGMENTS = _segments(_record.c.index, _record.c.index).where(own_rows(_record))
_PEOPLE_SEGMENTS = _segments(_subject.c.id, _subject.c.last_index).where(own_rows(_subject), _UNLINKED)
_RECORDS = (
    scoped_select(RecordRow, "index", "subject_id", "body")
    .where(_record.c.index >= bindparam("start"), _record.c.index < bindparam("stop"))
    .order_by(_record.c.index)
)
_OF_SUBJECTS = (
    scoped_select(RecordRow, "subject_id", "index", "body")
    .where(_record.c.subject_id.in_(bindparam("subjects", expanding=True)))
    .order_by(_record.c.index)
)
_STATES = scoped_select(SubjectRow, "state").where(
    _subject.c.id >= bindparam("start"), _subject.c.id < bindparam("stop"), _UNLINKED
)


class Segment(NamedTuple):
    """A stretch of rows: how many there still are, and the highest index that is told in them.

    Rows come and go, and a change brings a higher index along: two segments that are equal hold the same.
    """

    rows: int
    last: int


def record_segments(scope: TenantScope, width: int) -> dict[int, Segment]:
    """Return by number what every stretch of `width` entries still has of records."""
    return _found(scope, _RECORD_SEGMENTS, width)


def people_segments(scope: TenantScope, width: int) -> dict[int, Segment]:
    """Return by number what every stretch of `width` subjects still has of people."""
    return _found(scope, _PEOPLE_SEGMENTS, width)


def _found(scope: TenantScope, statement: Select[int, int, int], width: int) -> dict[int, Segment]:
    return {number: Segment(rows, last) for number, rows, last in scope.run(statement, width=width)}


def records_between(scope: TenantScope, start: int, stop: int) -> Generator[tuple[int, int | None, bytes]]:
    """Yield index, subject number and record from `start` up to, not including, `stop`."""
    yield from scope.stream(_RECORDS, start=start, stop=stop)


def records_of(scope: TenantScope, subject_ids: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
    """Yield subject number, index and record of these subjects; those of one subject in their order."""
    for first in range(0, len(subject_ids), _SUBJECTS_AT_ONCE):
        some = list(subject_ids[first : first + _SUBJECTS_AT_ONCE])
        yield from scope.run(_OF_SUBJECTS, subjects=some)


def states_between(scope: TenantScope, start: int, stop: int) -> Generator[str]:
    """Yield the stored state of each person from number `start` up to, not including, `stop`."""
    for (state,) in scope.stream(_STATES, start=start, stop=stop):
        yield state
