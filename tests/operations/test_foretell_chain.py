"""What is foretold is what `apply` and the encoders of records and states give, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.consent import NOBODY, DecisionEntry, apply
from consent_service.domain.decision import Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.entry import Kind, leaf
from consent_service.ledger.record import DecisionRecord, LinkRecord, decode_record
from consent_service.operations.effect import outcomes_of
from consent_service.operations.foretell_chain import Foreteller, ForetoldChain
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.storage.subject_store import ProjectedSubject, encode_state
from tests.builders import NOW, ChoiceName, a_decision, a_notice

REF = SubjectRef("s_mXyq0b3nWkzF6jvTt9dQeG1A")
ORIGIN = "shop.example/default"
ENDING = leaf(ORIGIN, Kind.DECISION, bytes(32))[50:]
PURPOSES = ("ai_assistance", "coupons", "recommendations", "support_context")
NOTICES = {
    NoticeDigest("0" * 64): a_notice(),
    NoticeDigest("1" * 64): a_notice(
        {
            "purposes/coupons/version": 2,
            "purposes/support_context/validity": "P1Y",
            "purposes/coupons/validity": "P13D",
        }
    ),
}
HALF_DAYS = NoticeDigest("2" * 64)


def a_book() -> NoticeBook:
    book = NoticeBook()
    for number, (digest, notice) in enumerate(
        {**NOTICES, HALF_DAYS: a_notice({"purposes/coupons/validity": "PT12H"})}.items()
    ):
        book = book.publish(
            PublishedNotice(
                notice=notice,
                digest=digest,
                document=canonical_json({}),
                index=number,
                published_at=NOW,
            )
        )
    return book


BOOK = a_book()
Act = tuple[Decision, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A subject's honest records with their leaves, and her row."""

    entries: list[tuple[int, bytes, bytes]]
    row: ProjectedSubject


def told(acts: Sequence[Act], *, first: int = 3) -> Told:
    """Return what the service stores when these acts are recorded one after the other."""
    state, prev, entries = NOBODY, None, []
    for index, (decision, recorded_at) in enumerate(acts, first):
        notice = BOOK.find(decision.notice).notice
        state = apply(
            state, DecisionEntry(decision=decision, notice=notice, recorded_at=recorded_at, index=index)
        )
        record = DecisionRecord(
            subject=REF,
            decision=decision,
            consents=outcomes_of(state, decision.choices),
            recorded_at=recorded_at,
            prev=prev,
        )
        prev = index.to_bytes(32)
        entries.append((index, leaf(ORIGIN, Kind.DECISION, prev), record.encode()))
    return Told(
        entries=entries,
        row=ProjectedSubject(
            id=1,
            ref=REF,
            blind_index=bytes(32),
            sealed_id=b"",
            state=encode_state(state),
            last_index=first + len(acts) - 1,
            last_commitment=prev or b"",
            linked_to=None,
        ),
    )


def follows(
    foreteller: Foreteller, entries: Sequence[tuple[int, bytes, bytes]], row: ProjectedSubject
) -> bool:
    """Say whether every entry and the row are what they have to be."""
    chain = ForetoldChain(foreteller, row.ref)
    return all(chain.follow(*entry) for entry in entries) and chain.ends_as(row)


def a_grant(choice: ChoiceName = "granted", *, days: float = 0, late: float = 0) -> Act:
    """Return an act about coupons some days later, and recorded so many days after it."""
    decided_at = NOW + timedelta(days=days)
    return a_decision({"coupons": choice}, decided_at=decided_at), decided_at + timedelta(days=late)


moments = st.integers(0, 900 * 86_400_000).map(lambda ms: NOW + timedelta(milliseconds=ms))


@st.composite
def acts(draw: st.DrawFn) -> list[Act]:
    """Some acts in the order of our clock; the subject's clock is before it, after it or years off."""
    made = []
    for recorded_at in sorted(draw(st.lists(moments, min_size=1, max_size=6))):
        choices: dict[str, ChoiceName] = draw(
            st.dictionaries(st.sampled_from(PURPOSES), st.sampled_from(("granted", "denied")), min_size=1)
        )
        decision = a_decision(
            choices,
            notice=draw(st.sampled_from(sorted(NOTICES))),
            decided_at=draw(st.one_of(moments, st.just(recorded_at))),
            method=draw(st.sampled_from(("save", "gpc"))),
            gpc=draw(st.booleans()),
        )
        made.append((decision, recorded_at))
    return made


@given(st.lists(acts(), min_size=1, max_size=5))
def test_whatever_was_decided_is_foretold(histories: list[list[Act]]) -> None:
    foreteller = Foreteller(BOOK, ENDING)

    for history in histories:
        honest = told(history)
        assert follows(foreteller, honest.entries, honest.row)


@given(acts(), st.data())
def test_a_changed_record_is_foretold_only_if_it_is_that_of_another_act(
    history: list[Act], data: st.DataObject
) -> None:
    foreteller, honest = Foreteller(BOOK, ENDING), told(history)
    assert follows(foreteller, honest.entries, honest.row)
    at = data.draw(st.integers(0, len(history) - 1))
    index, stored, body = honest.entries[at]
    byte, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.sampled_from((1, 2, 4, 0x20, 0x80)))
    changed = body[:byte] + bytes([body[byte] ^ bit]) + body[byte + 1 :]

    if follows(
        foreteller, [*honest.entries[:at], (index, stored, changed), *honest.entries[at + 1 :]], honest.row
    ):  # Another language or method, say: its commitment tells.
        record = decode_record(changed)
        assert isinstance(record, DecisionRecord)
        other = told([*history[:at], (record.decision, record.recorded_at), *history[at + 1 :]])
        assert other.entries[at][2] == changed
        assert other.row == honest.row


@given(acts())
def test_another_row_or_a_chain_without_its_beginning_is_not_foretold(history: list[Act]) -> None:
    foreteller, honest = Foreteller(BOOK, ENDING), told(history)
    row = honest.row
    assert follows(foreteller, honest.entries, row)

    assert not follows(foreteller, honest.entries[1:], row)
    for other in (
        row._replace(state=row.state.replace("1", "2")),
        row._replace(state=row.state + " "),
        row._replace(last_index=row.last_index + 1),
        row._replace(last_commitment=bytes(31) + b"\xff"),
        row._replace(ref=row.ref.swapcase()),
    ):
        assert not follows(foreteller, honest.entries, other)


@pytest.mark.parametrize(
    "second",
    [
        a_grant("granted", days=1),
        a_grant("denied", days=1),
        a_grant("denied", days=200),
        a_grant("granted", days=-2, late=3),
        a_grant("granted", days=0.5, late=0.5),
    ],
)
@pytest.mark.parametrize("first", [a_grant("granted"), a_grant("denied"), a_grant("denied", days=-1, late=1)])
def test_what_followed_in_one_case_is_not_expected_in_another(first: Act, second: Act) -> None:
    foreteller = Foreteller(BOOK, ENDING)
    for choice in ("granted", "denied"):
        for days in (1, 200):
            learned = told([a_grant(), a_grant(choice, days=days)])
            assert follows(foreteller, learned.entries, learned.row)

    honest = told([first, second])

    assert follows(foreteller, honest.entries, honest.row)


def test_a_leaf_of_another_kind_is_not_foretold() -> None:
    honest = told([a_grant()])
    [(index, _, body)] = honest.entries

    assert not follows(
        Foreteller(BOOK, ENDING), [(index, leaf(ORIGIN, Kind.LINK, index.to_bytes(32)), body)], honest.row
    )


@pytest.mark.parametrize(
    "decision",
    [
        a_decision(notice="f" * 64),
        a_decision({"nonsense": "granted"}),
        a_decision({"coupons": "granted"}, notice=HALF_DAYS),
    ],
    ids=["unknown notice", "unknown purpose", "a validity of half a day"],
)
def test_what_cannot_be_foretold_is_left_to_the_slow_way(decision: Decision) -> None:
    record = DecisionRecord(subject=REF, decision=decision, consents={}, recorded_at=NOW, prev=None)

    chain = ForetoldChain(Foreteller(BOOK, ENDING), REF)

    assert not chain.follow(3, leaf(ORIGIN, Kind.DECISION, bytes(32)), record.encode())


def test_a_link_is_left_to_the_slow_way() -> None:
    link = LinkRecord(subject=REF, linked=REF, actor="backend", consents={}, recorded_at=NOW, prev=None)

    chain = ForetoldChain(Foreteller(BOOK, ENDING), REF)

    assert not chain.follow(3, leaf(ORIGIN, Kind.LINK, bytes(32)), link.encode())


def test_cases_are_learned_only_as_long_as_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent_service.operations.foretell_chain._LEARNED_AT_ONCE", 1)
    foreteller = Foreteller(BOOK, ENDING)
    grant, denial = told([a_grant()]), told([a_grant("denied")])

    assert follows(foreteller, grant.entries, grant.row)
    assert not follows(foreteller, denial.entries, denial.row)
    for _ in range(200):
        assert follows(foreteller, grant.entries, grant.row)
    assert follows(foreteller, denial.entries, denial.row)


def test_the_memory_is_begun_anew_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent_service.operations.foretell_chain._MOST_LEARNED", 3)
    foreteller = Foreteller(BOOK, ENDING)

    for days in range(1, 6):
        honest = told([a_grant(days=day) for day in range(days)])
        assert follows(foreteller, honest.entries, honest.row)
