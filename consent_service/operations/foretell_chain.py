"""Foretells a subject's records and her row, word for word: the fast way of steps (6) and (7).

What a decision leaves depends on its choices and words, on what stood before, and on which of their moments
came first; not on the moments themselves. So the domain's `apply` is asked once for each such case, and what
it says is kept with room for moments. A record is sound when it is, to the last byte, what it has to be. If
it is not, or cannot be foretold (a link), nothing is said about it: the slow way looks at the whole chain.
"""

from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from consent_service.domain.consent import Consent, DecisionEntry, Status, SubjectState, apply
from consent_service.domain.decision import Decision
from consent_service.domain.duration import Duration
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import EvidenceError, InvalidEntry, UnknownNotice, UnknownPurpose
from consent_service.ledger.record import DecisionRecord, Outcome, decode_record, format_time, outcomes_text
from consent_service.ledger.record_frame import (
    Calendar,
    Frame,
    Moment,
    Places,
    find_places,
    put_together,
    read_moment,
    take_apart,
)
from consent_service.operations.effect import outcomes_of
from consent_service.operations.notice_book import NoticeBook
from consent_service.storage.subject_store import ProjectedSubject, encode_state, from_ms, to_ms

_MOST_LEARNED = 4096
_LEARNED_AT_ONCE, _WORTH_LEARNING = 128, 64
"""To learn a case takes as long as following some records the slow way: one for every 64 records pays."""
_COMMITMENT = slice(6, 50)
_UNFORETOLD = (ValueError, KeyError, OverflowError, EvidenceError, UnknownNotice, UnknownPurpose)
_Facts: TypeAlias = tuple[tuple[bool, bool], ...]
"""For each end of a validity that stands: was it decided before that began, recorded before that ends?"""


class _Stamp(NamedTuple):
    """The moments and the index of one decision; validities begin at `starts`."""

    since: Moment
    decided: Moment
    starts: Moment
    index: int  # type: ignore[assignment]  # nobody searches a stamp: an index is an entry's place


class _Standing(NamedTuple):
    """A consent but for its moments: which of a subject's stamps has them, and how long it is valid."""

    key: PurposeKey
    status: Status
    purpose_version: int
    gpc: bool
    by_signal: bool
    validity: Duration
    stamp: int

    def consent(self, stamps: Sequence[_Stamp]) -> Consent:
        """Return the consent, by the domain's own calendar."""
        stamp = stamps[self.stamp]
        return Consent(
            status=self.status,
            purpose_version=self.purpose_version,
            since=from_ms(stamp.since[0]),
            decided_at=from_ms(stamp.decided[0]),
            valid_until=self.validity.after(from_ms(stamp.starts[0])),
            index=stamp.index,
            gpc=self.gpc,
            by_signal=self.by_signal,
        )


class _Form(NamedTuple):
    """A text with room between its `parts`: `ends` says whose moments go where."""

    parts: tuple[str, ...]
    ends: tuple[int, ...]

    def filled(self, moments: Sequence[str]) -> str:
        """Return the text with the moments of each end put in."""
        if len(moments) == 1:
            return moments[0].join(self.parts)
        text = self.parts[0]
        for end, part in zip(self.ends, self.parts[1:], strict=True):
            text += moments[end] + part
        return text


_NOTHING = _Form(("{}",), ())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """What decisions of one frame say, all but when."""

    decision: Decision
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shape:
    """All consents of a subject but for their moments: `ends` are the validities that may end apart.

    `form` is the state as it is stored, `steps` are the decisions that were seen to follow.
    """

    standings: tuple[_Standing, ...] = ()
    ends: tuple[tuple[int, Calendar], ...] = ()
    form: _Form = _NOTHING
    steps: "dict[tuple[_Known, _Facts], _Step]" = field(default_factory=dict)

    def state(self, stamps: Sequence[_Stamp]) -> SubjectState:
        """Return the state with the moments put in."""
        return SubjectState(consents={each.key: each.consent(stamps) for each in self.standings})

    def ending(self, stamps: Sequence[_Stamp]) -> list[Moment]:
        """Return when each of the ends is."""
        return [calendar.after(stamps[stamp].starts) for stamp, calendar in self.ends]

    def stored(self, stamps: Sequence[_Stamp], ending: Sequence[Moment]) -> str:
        """Return the state as it is stored."""
        moments = []
        for (number, _), (until, _) in zip(self.ends, ending, strict=True):
            since, decided, _, index = stamps[number]
            moments.append(_stored_moments(since[0], decided[0], until, index))
        return self.form.filled(moments)


class _Step(NamedTuple):
    """What a decision leaves: which of the stamps before and its own are still needed, and its outcomes."""

    shape: _Shape
    stamps: tuple[int, ...]
    outcomes: _Form


class Foreteller:
    """What was learned from the chains before: a bounded memory, begun anew when it is full.

    `leaf_ending` is what follows the commitment in the leaf of a decision.
    """

    def __init__(self, book: NoticeBook, leaf_ending: bytes) -> None:
        self.leaf_ending = leaf_ending
        self._book = book
        self.nobody = _Shape()
        self._learned = self._asked = 0
        self._known: dict[Frame, _Known] = {}
        self._shapes: dict[tuple[_Standing, ...], _Shape] = {}
        self._calendars: dict[Duration, Calendar] = {}
        self._places: dict[int, Places] = {}

    def _make_room(self) -> None:
        if self._learned > _LEARNED_AT_ONCE + self._asked // _WORTH_LEARNING:
            raise ValueError("not worth learning")
        self._learned += 1
        if self._learned > _MOST_LEARNED:  # What is still in use is learned again.
            self.nobody, self._learned, self._asked = _Shape(), 0, 0
            for memory in (self._known, self._shapes, self._calendars, self._places):
                memory.clear()

    def known(self, text: str, body: bytes) -> tuple[_Known, Frame, str, str]:
        """Return what decisions of this record's frame say, and the record taken apart.

        The first of a frame is read as the slow way reads it. Records of one length mostly have the same
        places, and in other places no known frame stands.
        """
        self._asked += 1
        places = self._places.get(len(text))
        if places is not None:
            frame, decided, recorded = take_apart(text, places)
            known = self._known.get(frame)
            if known is not None:
                return known, frame, decided, recorded
        places = find_places(text)
        frame, decided, recorded = take_apart(text, places)
        known = self._known.get(frame) or self._learn_frame(frame, body)
        self._places[len(text)] = places
        return known, frame, decided, recorded

    def _learn_frame(self, frame: Frame, body: bytes) -> _Known:
        self._make_room()
        record = decode_record(body)
        if not isinstance(record, DecisionRecord):
            raise InvalidEntry("A record is of another kind than a decision.")
        notice = self._book.find(record.decision.notice).notice
        if not notice.purposes.keys() >= record.decision.choices.keys():
            raise UnknownPurpose("A decision names a purpose that its notice does not have.")
        return self._known.setdefault(frame, _Known(decision=record.decision, notice=notice))

    def learn(self, before: _Shape, stamps: tuple[_Stamp, ...], known: _Known, own: _Stamp) -> _Step:
        """Return what the domain's `apply` makes of a decision, with room for moments.

        Raises `ValueError` where these moments in that room do not give the same again.
        """
        self._make_room()
        state = before.state(stamps)
        entry = DecisionEntry(
            decision=replace(known.decision, decided_at=from_ms(own.decided[0])),
            notice=known.notice,
            recorded_at=from_ms(own.since[0]),
            index=own.index,
        )
        after = apply(state, entry)
        outcomes = outcomes_of(after, known.decision.choices)
        standings = _standings(before, state, after, known.notice, len(stamps))
        used = sorted({each.stamp for each in standings})
        kept = [(*stamps, own)[number] for number in used]
        shape = self._shape(tuple(each._replace(stamp=used.index(each.stamp)) for each in standings), after)
        step = _Step(shape, tuple(used), _outcomes_form(shape, outcomes))
        ending = shape.ending(kept)
        foretold = shape.stored(kept, ending), step.outcomes.filled([text for _, text in ending])
        if foretold != (encode_state(after), outcomes_text(outcomes)):
            raise ValueError(foretold)
        return step

    def _shape(self, standings: tuple[_Standing, ...], state: SubjectState) -> _Shape:
        shape = self._shapes.get(standings)
        if shape is None:
            ends = list(dict.fromkeys((each.stamp, each.validity) for each in standings))
            texts = [_around_stored(each.key, state.consents[each.key]) for each in standings]
            places = tuple(ends.index((each.stamp, each.validity)) for each in standings)
            shape = self._shapes[standings] = _Shape(
                standings=standings,
                ends=tuple((stamp, self._calendar(validity)) for stamp, validity in ends),
                form=_form(texts, places),
            )
        return shape

    def _calendar(self, validity: Duration) -> Calendar:
        return self._calendars.setdefault(validity, Calendar(validity))


def _standings(
    before: _Shape, state: SubjectState, after: SubjectState, notice: Notice, own: int
) -> list[_Standing]:
    """Return what stands after a decision, by purpose: as before, or by its own stamp."""
    earlier = {each.key: each for each in before.standings}
    return [
        earlier[key]
        if consent is state.consents.get(key)
        else _Standing(
            key=key,
            status=consent.status,
            purpose_version=consent.purpose_version,
            gpc=consent.gpc,
            by_signal=consent.by_signal,
            validity=notice.purposes[key].validity,
            stamp=own,
        )
        for key, consent in sorted(after.consents.items())
    ]


def _outcomes_form(shape: _Shape, outcomes: Mapping[PurposeKey, Outcome]) -> _Form:
    ends = dict(zip([each.key for each in shape.standings], shape.form.ends, strict=True))
    texts = [
        _around(format_time(outcomes[key].valid_until), outcomes_text({key: outcomes[key]}))
        for key in sorted(outcomes)
    ]
    return _form(texts, tuple(ends[key] for key in sorted(outcomes)))


def _form(members: Sequence[tuple[str, str]], ends: tuple[int, ...]) -> _Form:
    """Return the form of a JSON object from its members, each as the text before and after its moments."""
    parts = ["{"]
    for before, after in members:
        parts[-1] += before
        parts.append(f"{after},")
    parts[-1] = f"{parts[-1].removesuffix(',')}}}"
    return _Form(tuple(parts), ends)


def _around_stored(key: PurposeKey, consent: Consent) -> tuple[str, str]:
    since, decided, until = to_ms(consent.since), to_ms(consent.decided_at), to_ms(consent.valid_until)
    moments = _stored_moments(since, decided, until, consent.index)
    return _around(moments, encode_state(SubjectState(consents={key: consent})))


def _stored_moments(since: int, decided: int, until: int, index: int) -> str:
    return f"{since},{decided},{until},{index}"


def _around(moments: str, encoded: str) -> tuple[str, str]:
    """Return what an encoder writes before and after moments, inside the braces of a single member."""
    before, after = encoded[1:-1].split(moments)
    return before, after


class ForetoldChain:
    """The entries of one subject, each compared with what it has to be after those before."""

    __slots__ = ("_ending", "_foreteller", "_last_index", "_prev", "_ref", "_shape", "_stamps")

    def __init__(self, foreteller: Foreteller, ref: str) -> None:
        self._foreteller = foreteller
        self._ref = ref
        self._shape = foreteller.nobody
        self._stamps: tuple[_Stamp, ...] = ()
        self._ending: list[Moment] = []
        self._prev = "null"
        self._last_index = -1

    def follow(self, index: int, leaf: bytes, body: bytes) -> bool:
        """Say whether the next entry is what it has to be; with `False` this chain has said all it can."""
        foreteller = self._foreteller
        try:
            text = body.decode()
            known, frame, decided_text, recorded_text = foreteller.known(text, body)
            decided, recorded = read_moment(decided_text), read_moment(recorded_text)
            own = _Stamp(recorded, decided, min(decided, recorded), index)
            step = self._step(known, own)
            stamps = (*self._stamps, own)
            self._stamps = tuple([stamps[number] for number in step.stamps])
            self._shape = step.shape
            self._ending = step.shape.ending(self._stamps)
        except _UNFORETOLD:
            return False
        outcomes = step.outcomes.filled([until for _, until in self._ending])
        foretold = put_together(frame, outcomes, decided_text, self._prev, recorded_text, self._ref)
        self._prev = f'"{leaf[_COMMITMENT].decode()}"'
        self._last_index = index
        return foretold == text and leaf[_COMMITMENT.stop :] == foreteller.leaf_ending

    def _step(self, known: _Known, own: _Stamp) -> _Step:
        facts = tuple(
            [
                (own.decided < self._stamps[stamp].starts, own.since < end)
                for (stamp, _), end in zip(self._shape.ends, self._ending, strict=True)
            ]
        )
        step = self._shape.steps.get((known, facts))
        if step is None:
            step = self._foreteller.learn(self._shape, self._stamps, known, own)
            self._shape.steps[known, facts] = step
        return step

    def ends_as(self, row: ProjectedSubject) -> bool:
        """Say whether the subject's row is what her entries add up to."""
        return (
            row.last_index == self._last_index
            and row.state == self._shape.stored(self._stamps, self._ending)
            and row.last_commitment == a2b_base64(self._prev)
        )
