"""Subjects and the projection of their consents."""

import json
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam

from consent_service.domain.consent import Consent, Status, SubjectState
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, scoped_update, table_of
from consent_service.storage.tables import SubjectRow

_COLUMNS = ("id", "ref", "blind_index", "sealed_id", "state", "last_index", "last_commitment", "linked_to")
_STORED = (*_COLUMNS, "look_at_ms")
_subject = table_of(SubjectRow)
_LOCK_ONE = (
    scoped_select(SubjectRow, "id", "state")
    .where(_subject.c.blind_index == bindparam("blind_index"))
    .with_for_update(key_share=True)
)
_RANGE = (
    scoped_select(SubjectRow, *_COLUMNS)
    .where(_subject.c.id >= bindparam("first"), _subject.c.id < bindparam("beyond"))
    .order_by(_subject.c.id)
)
_LINKED = scoped_select(SubjectRow, "id").where(
    _subject.c.linked_to == bindparam("known"), _subject.c.ref == bindparam("ref")
)
_LINK = (
    scoped_update(SubjectRow)
    .where(_subject.c.id == bindparam("subject"))
    .values(linked_to=bindparam("known"))
)
_LINKED_TO = scoped_select(SubjectRow, "id", "ref").where(_subject.c.linked_to == bindparam("known"))
_SEALED_IDS = scoped_select(SubjectRow, "id", "blind_index", "sealed_id").where(
    _subject.c.id >= bindparam("first"), _subject.c.id <= bindparam("last")
)
_RESEAL = (
    scoped_update(SubjectRow)
    .where(_subject.c.id == bindparam("subject"))
    .values(sealed_id=bindparam("sealed"))
)
_REINDEX = (
    scoped_update(SubjectRow)
    .where(_subject.c.id == bindparam("subject"), _subject.c.blind_index == bindparam("old_index"))
    .values(blind_index=bindparam("new_index"), sealed_id=bindparam("sealed"))
)
_LIVING = scoped_select(SubjectRow, "id").where(_subject.c.id.in_(bindparam("subjects", expanding=True)))
_HOLD = _LIVING.order_by(_subject.c.id).with_for_update(read=True, key_share=True, skip_locked=True)
_DELETE = scoped_delete(SubjectRow).where(_subject.c.id.in_(bindparam("subjects", expanding=True)))
_GPC, _BY_SIGNAL = 1, 2
_INDEX = 5
_ROOM = "\0"
"""Stands where an index goes: JSON has no such character."""
_STATUSES = {status.value: status for status in Status}
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_json_string = json.encoder.encode_basestring_ascii


class StateForm(NamedTuple):
    """How a state is stored whose consents all rest on one entry, with room for that entry's index.

    The first of its grants ends at `ends_ms`, if it has one.
    """

    parts: tuple[str, ...]
    ends_ms: int | None

    @classmethod
    def of(cls, state: SubjectState) -> "StateForm":
        """Return the form of a state."""
        return cls(tuple(_encoded(state, _ROOM).split(_ROOM)), _first_end_ms(state))

    def stored(self, index: int) -> str:
        """Return what `encode_state` gives for the state that rests on the entry at `index`."""
        return str(index).join(self.parts)


@dataclass(slots=True, kw_only=True)
class StoredSubject:
    """A subject's row; `last_commitment` is the end of her chain. Mutable: a batch moves it on.

    The sweep looks at her key grants at `look_at_ms`, or when the first of them expires, if that is before.
    `form` is that of her state, where it is known: all of it rests on the entry at `last_index`.
    """

    id: int
    ref: SubjectRef
    blind_index: bytes
    sealed_id: bytes
    state: SubjectState
    last_index: int = -1
    last_commitment: bytes | None = None
    linked_to: int | None = None
    look_at_ms: int | None = None
    form: StateForm | None = None

    def stand(self, state: SubjectState, form: StateForm | None = None) -> None:
        """Move on to another state."""
        self.state, self.form = state, form

    @property
    def stored_state(self) -> str:
        """The state as `encode_state` gives it."""
        return encode_state(self.state) if self.form is None else self.form.stored(self.last_index)

    @property
    def next_look_ms(self) -> int | None:
        """When the sweep has to look at her key grants: what is later already stays, and costs one look."""
        ends_ms = _first_end_ms(self.state) if self.form is None else self.form.ends_ms
        if ends_ms is None or self.look_at_ms is None:
            return self.look_at_ms if ends_ms is None else ends_ms
        return min(ends_ms, self.look_at_ms)


class Reindexed(NamedTuple):
    """A subject's row on its way from one blind-index key to the next."""

    subject: int
    old_index: bytes
    new_index: bytes
    sealed: bytes


class ProjectedSubject(NamedTuple):
    """A subject's row as it is stored, in the order of its columns; its `state` may be unreadable."""

    id: int
    ref: str
    blind_index: bytes
    sealed_id: bytes
    state: str
    last_index: int
    last_commitment: bytes
    linked_to: int | None


@lru_cache(maxsize=4096)  # The times of one decision repeat, and so do those of one commit.
def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return the moment in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def encode_state(state: SubjectState) -> str:
    """Return the stored form: JSON of {purpose: [status, version, since, decided, until, index, flags]}."""
    return _encoded(state, None)


def _encoded(state: SubjectState, room: str | None) -> str:
    """Return the stored form, with `room` in the place of each index if it is given."""
    consents = state.consents
    return "{%s}" % ",".join(  # noqa: UP031 - braces
        [_encode_consent(key, consents[key], room) for key in sorted(consents)]
    )


def _encode_consent(key: PurposeKey, consent: Consent, room: str | None) -> str:
    status, version, since, decided, until, index, gpc, by_signal = consent
    return (
        f'{_json_string(key)}:["{status!s}",{version},{to_ms(since)},{to_ms(decided)},{to_ms(until)},'
        f"{room or index},{gpc * _GPC | by_signal * _BY_SIGNAL}]"
    )


def _first_end_ms(state: SubjectState) -> int | None:
    moments = [to_ms(consent.valid_until) for consent in state.consents.values() if consent.granting]
    return min(moments, default=None)


def decode_state(text: str, only: Collection[str] | None = None) -> SubjectState:
    """Return the state that `encode_state` wrote; of the purposes in `only`, where those are enough."""
    [state] = _decode_states([text], only)
    return state


def _decode_states(texts: Sequence[str], only: Collection[str] | None) -> list[SubjectState]:
    decoded: list[Mapping[PurposeKey, Any]] = json.loads(f"[{','.join(texts)}]")  # One call for all of them.
    return [
        SubjectState(
            consents={key: _consent(row) for key, row in rows.items() if only is None or key in only}
        )
        for rows in decoded
    ]


def decode_decided_at(text: str, index: int) -> SubjectState:
    """Return of the state that `encode_state` wrote what rests on the entry at `index`."""
    rows: Mapping[str, Any] = json.loads(text)
    return SubjectState(
        consents={PurposeKey(key): _consent(row) for key, row in rows.items() if row[_INDEX] == index}
    )


def _consent(row: Sequence[Any]) -> Consent:  # as `encode_state` writes it
    status, version, since, decided, until, index, flags = row
    return Consent(  # By position, and no call of the enumeration: hot (ADR 0080).
        _STATUSES[status],
        version,
        _EPOCH + since * _MILLISECOND,
        _EPOCH + decided * _MILLISECOND,
        _EPOCH + until * _MILLISECOND,
        index,
        bool(flags & _GPC),
        bool(flags & _BY_SIGNAL),
    )


def find_subjects(scope: TenantScope, blind_indexes: Sequence[bytes]) -> dict[bytes, StoredSubject]:
    """Return the known ones of these subjects by blind index."""
    if not blind_indexes:
        return {}
    rows = scope.select_tuples(SubjectRow, _STORED, among=("blind_index", blind_indexes))
    return {subject.blind_index: subject for subject in map(_stored, rows)}


def find_states(scope: TenantScope, blind_indexes: Sequence[bytes]) -> dict[bytes, tuple[SubjectRef, str]]:
    """Return ref and encoded state of the known ones of these subjects by blind index."""
    rows = scope.select_tuples(
        SubjectRow, ("blind_index", "ref", "state"), among=("blind_index", blind_indexes)
    )
    return {blind_index: (SubjectRef(ref), state) for blind_index, ref, state in rows}


def find_known(
    scope: TenantScope, blind_indexes: Sequence[bytes], *, only: Collection[str] | None = None
) -> dict[bytes, tuple[int, SubjectState]]:
    """Return row number and state of the known ones of these subjects; of the purposes in `only` if given."""
    rows = scope.select_tuples(
        SubjectRow, ("blind_index", "id", "state"), among=("blind_index", blind_indexes)
    )
    states = _decode_states([state for _, _, state in rows], only)
    return {index: (number, state) for (index, number, _), state in zip(rows, states, strict=True)}


def lock_subject(scope: TenantScope, blind_indexes: Sequence[bytes]) -> tuple[int, SubjectState] | None:
    """Return number and state of the subject with one of these; nobody changes her or her keys meanwhile."""
    for blind_index in blind_indexes:
        row = scope.run(_LOCK_ONE, blind_index=blind_index).one_or_none()
        if row is not None:
            return row.id, decode_state(row.state)
    return None


def lock_subjects(scope: TenantScope, subject_ids: Iterable[int]) -> None:
    """Keep everybody else from these subjects' rows, keys and values; the caller holds the head's lock."""
    subjects = list(subject_ids)
    if subjects:
        scope.select_tuples(SubjectRow, ("id",), among=("id", subjects), lock=True)


def stream_projection(scope: TenantScope, first: int, beyond: int) -> Generator[ProjectedSubject]:
    """Yield the rows of the subjects numbered from `first` to before `beyond`, in their order."""
    for row in scope.stream(_RANGE, first=first, beyond=beyond):
        yield ProjectedSubject._make(row)


def _stored(row: Sequence[Any]) -> StoredSubject:  # a row of `_STORED`
    number, ref, blind_index, sealed_id, state, last_index, last_commitment, linked_to, look_at_ms = row
    return StoredSubject(
        id=number,
        ref=SubjectRef(ref),
        blind_index=blind_index,
        sealed_id=sealed_id,
        state=decode_state(state),
        last_index=last_index,
        last_commitment=last_commitment,
        linked_to=linked_to,
        look_at_ms=look_at_ms,
    )


def insert_subjects(scope: TenantScope, subjects: Sequence[StoredSubject]) -> None:
    """Store new subjects."""
    scope.insert_tuples(
        SubjectRow,
        _STORED,
        [
            (
                subject.id,
                subject.ref,
                subject.blind_index,
                subject.sealed_id,
                subject.stored_state,
                subject.last_index,
                subject.last_commitment,
                subject.linked_to,
                subject.next_look_ms,
            )
            for subject in subjects
        ],
    )


def move_subjects(scope: TenantScope, subjects: Sequence[StoredSubject]) -> None:
    """Store where these subjects' chains and states have moved on to."""
    if len(subjects) > 1:
        lock_subjects(scope, [subject.id for subject in subjects])
    scope.update_tuples(
        SubjectRow,
        ("state", "last_index", "last_commitment", "look_at_ms"),
        [
            (
                subject.stored_state,
                subject.last_index,
                subject.last_commitment,
                subject.next_look_ms,
                subject.id,
            )
            for subject in subjects
        ],
        found_by=("id",),
    )


def link_subject(scope: TenantScope, *, anonymous: int, known: int) -> None:
    """Remember that the anonymous subject is the known one."""
    scope.run(_LINK, subject=anonymous, known=known)


def hold_subjects(scope: TenantScope, subject_ids: Sequence[int]) -> list[int]:
    """Return those of these subjects that exist; none of them is erased before the transaction ends.

    Waits for nobody: a subject who is being erased, or moved to a new blind-index key, is left out.
    """
    return [row.id for row in scope.run(_HOLD, subjects=list(subject_ids))]


def living_subjects(scope: TenantScope, subject_ids: Sequence[int]) -> list[int]:
    """Return those of these subjects that exist, whatever others are about to do with them."""
    if not subject_ids:
        return []
    return [row.id for row in scope.run(_LIVING, subjects=list(subject_ids))]


def sealed_ids(scope: TenantScope, first: int, last: int) -> list[tuple[int, bytes, bytes]]:
    """Return row number, blind index and sealed external id of subjects from `first` to `last`."""
    rows = scope.run(_SEALED_IDS, first=first, last=last)
    return [(row.id, row.blind_index, row.sealed_id) for row in rows]


def reindex_subjects(scope: TenantScope, moved: Sequence[Reindexed]) -> None:
    """Store blind indexes and sealed ids of a new blind-index key, of subjects who are still there."""
    scope.run_many(_REINDEX, [each._asdict() for each in moved])


def reseal_ids(scope: TenantScope, resealed: Sequence[tuple[int, bytes]]) -> None:
    """Store sealed external ids anew, by row number."""
    scope.run_many(_RESEAL, [{"subject": subject, "sealed": sealed} for subject, sealed in resealed])


def linked_to(scope: TenantScope, subject_id: int) -> list[tuple[int, SubjectRef]]:
    """Return row number and ref of the anonymous subjects that were linked to a known one."""
    return [(row.id, SubjectRef(row.ref)) for row in scope.run(_LINKED_TO, known=subject_id)]


def delete_subjects(scope: TenantScope, subject_ids: Sequence[int]) -> int:
    """Delete subjects' rows; return how many."""
    return scope.run(_DELETE, subjects=list(subject_ids)).rowcount


def find_linked(scope: TenantScope, ref: SubjectRef, known: int) -> int | None:
    """Return the number of the anonymous subject of this ref that was linked to the known one."""
    subject_id: int | None = scope.run(_LINKED, ref=ref, known=known).scalar_one_or_none()
    return subject_id
