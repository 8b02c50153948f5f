"""Rows beside the log that nothing in it accounts for: what a denial or an erasure had to take.

Each is one query of sets, in constant memory: verification asks them once a ledger.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Select, Text, and_, cast, exists, func, literal, or_, select
from sqlmodel import SQLModel

from consent_service.storage.scope import SCOPED, TenantScope, own_rows, scoped_select, table_of
from consent_service.storage.tables import (
    EvidenceRow,
    IdempotencyRow,
    KeyGrantRow,
    ProfileValueRow,
    RecordRow,
    SubjectKeyRow,
    SubjectRow,
    TombstoneRow,
    UseDayRow,
)

_subject, _record = table_of(SubjectRow), table_of(RecordRow)
_grant, _value, _answer = table_of(KeyGrantRow), table_of(ProfileValueRow), table_of(IdempotencyRow)


@dataclass(frozen=True, slots=True)
class Stray:
    """Something that should not be there; `index` is the entry that it speaks for, if there is one."""

    what: str
    index: int | None


@dataclass(frozen=True, slots=True)
class Accounted:
    """A row that speaks for an erasure: the moment that it states, and the record of the entry it names."""

    table: str
    index: int
    stated_ms: int
    body: bytes | None


def _of_nobody(model: type[SQLModel]) -> Select[Any]:
    """Return the query for one row whose subject is not there."""
    table = table_of(model)
    hers = exists().where(own_rows(_subject), _subject.c.id == table.c.subject_id)
    return select(table.c.subject_id).where(own_rows(table), ~hers).limit(1).execution_options(**SCOPED)


_OF_NOBODY = {
    "A value of a profile": _of_nobody(ProfileValueRow),
    "A subject's own key": _of_nobody(SubjectKeyRow),
    "A day of uses": _of_nobody(UseDayRow),
}
_WITHOUT_KEY = (
    select(func.min(_subject.c.last_index))
    .select_from(_value.join(_subject, _subject.c.id == _value.c.subject_id))
    .where(own_rows(_value), own_rows(_subject))
    .where(
        ~exists().where(
            own_rows(_grant),
            _grant.c.subject_id == _value.c.subject_id,
            _grant.c.category == _value.c.category,
        )
    )
    .execution_options(**SCOPED)
)
_WITHOUT_RECORD = (
    select(func.min(_answer.c.index))
    .where(own_rows(_answer))
    .where(~exists().where(own_rows(_record), _record.c.index == _answer.c.index))
    .execution_options(**SCOPED)
)


def _ungranted(dialect: str) -> Select[Any]:
    """Return the query for a key grant that its subject's state does not account for.

    It gives -1 where there is no subject. In the state (`encode_state`) a purpose has
    `["given",version,since,decided,until,…]`, or the same renewed.
    """
    found: ColumnElement[Any]
    if dialect == "sqlite":  # Its `->` is younger than some that Python is built with.
        found = func.json_extract(_subject.c.state, literal('$."') + _grant.c.purpose + literal('"'))
    else:
        found = cast(cast(_subject.c.state, JSON).op("->")(_grant.c.purpose), Text)
    standing = func.coalesce(found, "")
    version, until = cast(_grant.c.purpose_version, Text), cast(_grant.c.valid_until_ms, Text)
    granted = [
        standing.like(literal(f'["{status}",') + version + literal(",%,%,") + until + literal(",%"))
        for status in ("renewed", "given")
    ]
    return (
        select(func.min(func.coalesce(_subject.c.last_index, -1)))
        .select_from(
            _grant.outerjoin(_subject, and_(own_rows(_subject), _subject.c.id == _grant.c.subject_id))
        )
        .where(own_rows(_grant), ~or_(*granted))
        .execution_options(**SCOPED)
    )


_UNGRANTED = {dialect: _ungranted(dialect) for dialect in ("sqlite", "postgresql")}


def first_stray(scope: TenantScope) -> Stray | None:
    """Return the first row that no entry and no subject's state accounts for."""
    for what, statement in _OF_NOBODY.items():
        if scope.run(statement).first() is not None:
            return Stray(f"{what} belongs to no subject.", None)
    for what, statement in (
        ("A key grant is none that its subject gave.", _UNGRANTED[scope.dialect]),
        ("A value of a profile has no key grant left.", _WITHOUT_KEY),
        ("An answer is kept of an entry that has no record.", _WITHOUT_RECORD),
    ):
        index = scope.run(statement).scalar_one()
        if index is not None:
            return Stray("A key grant belongs to no subject.", None) if index < 0 else Stray(what, index)
    return None


def _erasures(model: type[SQLModel], moment: str) -> Select[Any]:
    table = table_of(model)
    return (
        scoped_select(model, "index", moment)
        .add_columns(_record.c.body)
        .select_from(table.outerjoin(_record, and_(own_rows(_record), _record.c.index == table.c.index)))
        .order_by(table.c.index)
    )


_SPEAKING = {
    "tombstone": _erasures(TombstoneRow, "erased_at_ms"),
    "sealed proof": _erasures(EvidenceRow, "keep_until_ms"),
}


def stream_accounted(scope: TenantScope) -> Generator[Accounted]:
    """Yield every tombstone and every sealed proof with the record of the erasure that it names."""
    for table, statement in _SPEAKING.items():
        for row in scope.stream(statement):
            yield Accounted(table, *row)
