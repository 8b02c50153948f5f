"""Whom each entry of a range was about, and where they stand now: what a follower needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select

from consent_service.domain.subject import SubjectRef
from consent_service.storage.scope import SCOPED, TenantScope, own_rows, scoped_select, table_of
from consent_service.storage.tables import EntryRow, HeadRow, RecordRow, SubjectRow, TombstoneRow

_head, _entry, _record = table_of(HeadRow), table_of(EntryRow), table_of(RecordRow)
_subject, _tombstone = table_of(SubjectRow), table_of(TombstoneRow)
_its_record = and_(_record.c.tenant_id == _entry.c.tenant_id, _record.c.index == _entry.c.index)
_its_subject = and_(_subject.c.tenant_id == _record.c.tenant_id, _subject.c.id == _record.c.subject_id)
_CHANGES = (
    select(_entry.c.index, _entry.c.leaf, _subject.c.ref, _subject.c.state)
    .select_from(_entry.outerjoin(_record, _its_record).outerjoin(_subject, _its_subject))
    .where(own_rows(_entry), _entry.c.index >= bindparam("start"), _entry.c.index < bindparam("stop"))
    .order_by(_entry.c.index)
    .execution_options(**SCOPED)
)
_GLANCE = (
    select(
        _head.c.size, _head.c.notice_index, _entry.c.index, _entry.c.leaf, _subject.c.ref, _subject.c.state
    )
    .select_from(
        _head.outerjoin(
            _entry,
            and_(
                _entry.c.tenant_id == _head.c.tenant_id,
                _entry.c.index >= bindparam("start"),
                _entry.c.index < bindparam("stop"),
            ),
        )
        .outerjoin(_record, _its_record)
        .outerjoin(_subject, _its_subject)
    )
    .where(own_rows(_head))
    .order_by(_entry.c.index)
    .execution_options(**SCOPED)
)
_STATES = scoped_select(SubjectRow, "ref", "state").order_by(_subject.c.id)
_ERASED = (
    scoped_select(TombstoneRow, "index", "ref")
    .where(_tombstone.c.index >= bindparam("start"), _tombstone.c.index < bindparam("stop"))
    .order_by(_tombstone.c.index, _tombstone.c.ref)
)
_REMEMBERED = scoped_select(TombstoneRow, "ref").where(
    _tombstone.c.ref.in_(bindparam("refs", expanding=True))
)


@dataclass(frozen=True, slots=True)
class StoredChange:
    """The entry at `index` and its subject's state as stored; neither ref nor state if it names nobody."""

    index: int
    leaf: bytes
    ref: SubjectRef | None
    state: str | None


@dataclass(frozen=True, slots=True)
class Glance:
    """What one statement says: the ledger's size, its latest publication, and changes of a range."""

    size: int
    notice_index: int | None
    changes: Sequence[StoredChange]


def glance_at_changes(scope: TenantScope, start: int, stop: int) -> Glance:
    """Return the head with what `read_changes` gives, in one statement."""
    rows = scope.run(_GLANCE, start=start, stop=stop).all()
    changes = [_change(*row[2:]) for row in rows if row[2] is not None]
    size, notice_index, *_ = rows[0]
    return Glance(size, notice_index, changes)


def read_changes(scope: TenantScope, start: int, stop: int) -> Sequence[StoredChange]:
    """Return the entries from `start` up to, not including, `stop`, in order."""
    return [_change(*row) for row in scope.run(_CHANGES, start=start, stop=stop)]


def read_erased(scope: TenantScope, start: int, stop: int) -> Sequence[tuple[int, SubjectRef]]:
    """Return whom the erasures in this range were about, as long as that is remembered (a week)."""
    return [(index, SubjectRef(ref)) for index, ref in scope.run(_ERASED, start=start, stop=stop)]


def erased_among(scope: TenantScope, refs: Sequence[SubjectRef]) -> frozenset[SubjectRef]:
    """Return whom of these an erasure was about, as long as that is remembered (a week)."""
    return frozenset(SubjectRef(ref) for (ref,) in scope.run(_REMEMBERED, refs=refs))


def stream_states(scope: TenantScope) -> Iterator[tuple[SubjectRef, str]]:
    """Yield ref and stored state of every subject."""
    for ref, state in scope.stream(_STATES):
        yield SubjectRef(ref), state


def _change(index: int, leaf: bytes, ref: str | None, state: str | None) -> StoredChange:
    return StoredChange(index, leaf, None if ref is None else SubjectRef(ref), state)
