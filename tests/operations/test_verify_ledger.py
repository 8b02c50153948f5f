"""Whatever is changed behind the service's back, verification notices and names the first bad entry."""

# ruff: noqa: S608  # tables and columns to spoil are parameters of the tests

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from consent_service.domain.consent import Status
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import LedgerCorrupt
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import DecisionRecord, LinkRecord, NoticeRecord, Outcome
from consent_service.operations.batch import Batch
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.tenant import Subject
from consent_service.operations.verify_ledger import verify_ledger
from tests.builders import NOW, a_decision
from tests.installation import Installation, Tampering

# What tests/operations/conftest.py fills the ledger with.
SECOND_NOTICE, VISITOR, LINK, SIZE = 301, 302, 303, 604
COUPONS = PurposeKey("coupons")


def named_index(installation: Installation) -> int:
    with pytest.raises(LedgerCorrupt) as corrupt:
        installation.verify()
    return corrupt.value.index


def flip(spoil: Tampering, table: str, column: str, where: str, position: float) -> None:
    """Change one byte, at a position between 0.0 (the first) and 1.0 (the last)."""
    value = spoil.value(f'SELECT "{column}" FROM {table} WHERE {where}')
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[round(position * (len(data) - 1))] ^= 0x01
    changed = data.decode("latin-1") if isinstance(value, str) else bytes(data)
    assert spoil.run(f'UPDATE {table} SET "{column}" = :changed WHERE {where}', changed=changed) == 1


def test_a_ledger_nobody_touched_verifies(filled: Installation) -> None:
    verified = filled.verify()

    assert (verified.size, verified.subjects, verified.erased) == (SIZE, 101, 0)
    assert verified.checkpoints == 7


def test_a_chain_too_long_to_be_held_is_read_again(
    filled: Installation, spoil: Tampering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consent_service.operations.verify_chains._MOST_HELD", 2)

    assert filled.verify().size == SIZE
    spoil.run(f"UPDATE subject SET state = '{{}}' WHERE {ONE}")
    assert named_index(filled) == 505


def test_an_empty_ledger_verifies(unchecked_installation: Installation) -> None:
    assert unchecked_installation.verify().size == 0


def test_progress_is_reported_up_to_the_whole(filled: Installation) -> None:
    reported: list[tuple[int, int]] = []

    verify_ledger(
        filled.service.deployment, filled.tenant, progress=lambda done, total: reported.append((done, total))
    )

    assert reported[-1] == (SIZE, SIZE)


@pytest.mark.parametrize("position", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("index", [0, 1, 256, LINK, SIZE - 1])
@pytest.mark.parametrize(("table", "column"), [("entry", "leaf"), ("record", "body"), ("record", "opening")])
def test_one_changed_byte_of_an_entry_is_named_by_its_index(
    filled: Installation, spoil: Tampering, table: str, column: str, index: int, position: float
) -> None:
    flip(spoil, table, column, f'"index" = {index}', position)

    assert named_index(filled) == index


@pytest.mark.parametrize("column", ["body", "opening"])
def test_a_record_cut_short_is_named_by_its_index(
    filled: Installation, spoil: Tampering, column: str
) -> None:
    spoil.run(f'UPDATE record SET {column} = substr({column}, 1, 31) WHERE "index" = 7')

    assert named_index(filled) == 7


@dataclass(frozen=True, slots=True)
class TileByte:
    """A byte of a stored tile, and the first entry that it speaks of."""

    level: int
    n: int
    byte: int
    index: int


@pytest.mark.parametrize(
    "place",
    [
        TileByte(0, 0, 0, 0),
        TileByte(0, 0, 32 * 255 + 31, 255),
        TileByte(0, 1, 32 * 7 + 3, 256 + 7),
        TileByte(0, 2, 32 * 10, 512 + 10),
        TileByte(1, 0, 5, 0),
        TileByte(1, 0, 32 + 5, 256),
        TileByte(-1, 0, 0, 0),
        TileByte(-1, 0, 1, 0),
        TileByte(-1, 0, 40, 0),
        TileByte(-1, 1, 0, 256),
    ],
    ids=str,
)
def test_one_changed_byte_of_a_tile_is_named_by_the_entry_it_hashes(
    filled: Installation, spoil: Tampering, place: TileByte
) -> None:
    where = f"level = {place.level} AND n = {place.n}"
    data = bytearray(spoil.value(f"SELECT data FROM tile WHERE {where}"))
    data[place.byte] ^= 0x80
    spoil.run(f"UPDATE tile SET data = :data WHERE {where}", data=bytes(data))

    assert named_index(filled) == place.index


@pytest.mark.parametrize(
    ("n", "byte", "index"), [(0, 0, 0), (0, 31, 0), (0, 32, 16), (0, 511, 240), (1, 32 * 7 + 5, 256 + 112)]
)
def test_one_changed_byte_of_a_tiles_nodes_is_named_by_the_first_entry_under_it(
    filled: Installation, spoil: Tampering, n: int, byte: int, index: int
) -> None:
    where = f"level = 0 AND n = {n}"
    nodes = bytearray(spoil.value(f"SELECT nodes FROM tile WHERE {where}"))
    nodes[byte] ^= 0x80
    spoil.run(f"UPDATE tile SET nodes = :nodes WHERE {where}", nodes=bytes(nodes))

    assert named_index(filled) == index


@pytest.mark.parametrize(("level", "n", "index"), [(0, 0, 240), (0, 2, 512), (1, 0, 0), (-1, 1, 256)])
def test_nodes_that_a_tile_does_not_have_are_noticed(
    filled: Installation, spoil: Tampering, level: int, n: int, index: int
) -> None:
    where = f"level = {level} AND n = {n}"
    more = spoil.value(f"SELECT nodes FROM tile WHERE {where}") + bytes(32)
    spoil.run(f"UPDATE tile SET nodes = :nodes WHERE {where}", nodes=more)

    assert named_index(filled) == index


def test_one_changed_byte_at_the_end_of_a_bundle_is_named_by_its_last_entry(
    filled: Installation, spoil: Tampering
) -> None:
    flip(spoil, "tile", "data", "level = -1 AND n = 1", 1.0)

    assert named_index(filled) == 511


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("DELETE FROM tile WHERE level = 0 AND n = 1", 256),
        ("DELETE FROM tile WHERE level = 0 AND n = 2", 512),
        ("DELETE FROM tile WHERE level = 1", 0),
        ("DELETE FROM tile WHERE level = -1 AND n = 1", 256),
        ("UPDATE tile SET width = 91 WHERE level = 0 AND n = 2", 512 + 91),
        ("UPDATE tile SET n = 9 WHERE level = 0 AND n = 0", 0),
        ("UPDATE tile SET data = substr(data, 1, 64) WHERE level = 0 AND n = 0", 2),
    ],
)
def test_a_tile_that_is_gone_or_cut_is_noticed(
    filled: Installation, spoil: Tampering, statement: str, index: int
) -> None:
    spoil.run(statement)

    assert named_index(filled) == index


@pytest.mark.parametrize("position", [0.0, 0.12, 0.15, 0.3, 0.5, 0.55, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("size", [0, 1, SECOND_NOTICE, SIZE])
def test_one_changed_byte_of_a_checkpoint_is_named_by_the_last_entry_it_covers(
    filled: Installation, spoil: Tampering, size: int, position: float
) -> None:
    flip(spoil, "checkpoint", "note", f"size = {size}", position)

    assert named_index(filled) == max(0, size - 1)


def test_a_checkpoint_under_another_size_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run("UPDATE checkpoint SET size = 17 WHERE size = 1")

    assert named_index(filled) == 16


def test_a_checkpoint_beyond_the_log_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run(f"UPDATE checkpoint SET size = {SIZE + 1} WHERE size = 1")

    assert named_index(filled) == SIZE


def test_a_last_checkpoint_that_is_gone_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run(f"DELETE FROM checkpoint WHERE size = {SIZE}")

    assert named_index(filled) == SIZE - 1


@pytest.mark.parametrize("position", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("column", ["frontier", "checkpoint"])
def test_one_changed_byte_of_the_head_is_noticed(
    filled: Installation, spoil: Tampering, column: str, position: float
) -> None:
    flip(spoil, "head", column, "tenant_id = 1", position)

    assert named_index(filled) == SIZE - 1


@pytest.mark.parametrize(
    ("change", "index"),
    [
        ("size = size - 1", SIZE - 1),
        ("size = size + 1", SIZE),
        ("size = 0", 0),
        ("notice_index = 0", SIZE - 1),
        ("notice_index = NULL", SIZE - 1),
        ("next_subject_id = 101", SIZE - 1),
    ],
)
def test_a_head_that_points_elsewhere_is_noticed(
    filled: Installation, spoil: Tampering, change: str, index: int
) -> None:
    spoil.run(f"UPDATE head SET {change}")

    assert named_index(filled) == index


@pytest.mark.parametrize("index", [0, SECOND_NOTICE])
@pytest.mark.parametrize(
    ("column", "position"), [("document", 0.0), ("document", 0.6), ("document", 1.0), ("digest", 0.5)]
)
def test_one_changed_byte_of_a_notice_is_named_by_its_index(
    filled: Installation, spoil: Tampering, column: str, position: float, index: int
) -> None:
    flip(spoil, "notice", column, f'"index" = {index}', position)

    assert named_index(filled) == index


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (f'UPDATE notice SET published_at_ms = published_at_ms + 1 WHERE "index" = {SECOND_NOTICE}', 301),
        (f'UPDATE notice SET "index" = 300 WHERE "index" = {SECOND_NOTICE}', 300),
        ('DELETE FROM notice WHERE "index" = 0', 0),
        (f'DELETE FROM notice WHERE "index" = {SECOND_NOTICE}', SECOND_NOTICE),
        (f'DELETE FROM record WHERE "index" = {SECOND_NOTICE}', SECOND_NOTICE),
    ],
)
def test_a_notice_that_is_moved_or_gone_is_noticed(
    filled: Installation, spoil: Tampering, statement: str, index: int
) -> None:
    spoil.run(statement)

    assert named_index(filled) == index


# customer-1 has the entries 2, 102, 202, 305, 405 and 505.
ONE = 'id = (SELECT subject_id FROM record WHERE "index" = 2 AND tenant_id = 1)'


@pytest.mark.parametrize(
    ("column", "position", "index"),
    [
        ("ref", 0.0, 2),
        ("ref", 1.0, 2),
        ("blind_index", 0.5, 2),
        ("sealed_id", 0.0, 2),
        ("sealed_id", 1.0, 2),
        ("last_commitment", 0.5, 505),
        ("state", 0.0, 505),
        ("state", 0.3, 505),
        ("state", 0.5, 505),
        ("state", 0.9, 505),
    ],
)
def test_one_changed_byte_of_a_subjects_row_is_named_by_her_entries(
    filled: Installation, spoil: Tampering, column: str, position: float, index: int
) -> None:
    flip(spoil, "subject", column, ONE, position)

    assert named_index(filled) == index


@pytest.mark.parametrize("column", ["ref", "blind_index", "sealed_id"])
def test_two_subjects_that_changed_places_are_noticed(
    filled: Installation, spoil: Tampering, column: str
) -> None:
    other = ONE.replace("= 2 ", "= 3 ")
    first, second = (spoil.value(f"SELECT {column} FROM subject WHERE {which}") for which in (ONE, other))
    spoil.run(f"UPDATE subject SET {column} = :parked WHERE {ONE}", parked=first[:1])
    spoil.run(f"UPDATE subject SET {column} = :value WHERE {other}", value=first)
    spoil.run(f"UPDATE subject SET {column} = :value WHERE {ONE}", value=second)

    assert named_index(filled) == 2


def test_grants_under_another_subjects_whole_identity_are_noticed(
    filled: Installation, spoil: Tampering
) -> None:
    other = ONE.replace("= 2 ", "= 3 ")
    columns = ("ref", "blind_index", "sealed_id")
    rows = [
        [spoil.value(f"SELECT {column} FROM subject WHERE {which}") for column in columns]
        for which in (ONE, other)
    ]
    spoil.run(f"UPDATE subject SET blind_index = :parked WHERE {ONE}", parked=b"parked")
    for which, values in ((other, rows[0]), (ONE, rows[1])):
        for column, value in zip(columns, values, strict=True):
            spoil.run(f"UPDATE subject SET {column} = :value WHERE {which}", value=value)

    assert named_index(filled) == 2


# customer-1 and customer-4 chose the same on every occasion: 305 and 308, 405 and 408, 505 and 508.
def test_the_state_of_another_subject_with_the_same_choices_is_noticed(
    filled: Installation, spoil: Tampering
) -> None:
    alike = ONE.replace("= 2 ", "= 5 ")
    states = [spoil.value(f"SELECT state FROM subject WHERE {which}") for which in (ONE, alike)]
    assert states[0].replace("505", "508") == states[1]
    spoil.run(f"UPDATE subject SET state = :state WHERE {ONE}", state=states[1])

    assert named_index(filled) == 505


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (f"UPDATE subject SET last_index = 404 WHERE {ONE}", 505),
        (f"UPDATE subject SET state = '{{}}' WHERE {ONE}", 505),
        (f"UPDATE subject SET state = 'nonsense' WHERE {ONE}", 505),
        (f"UPDATE subject SET linked_to = 3 WHERE {ONE}", 505),
        ("UPDATE subject SET linked_to = NULL WHERE linked_to IS NOT NULL", LINK),
        ("UPDATE subject SET linked_to = 3 WHERE linked_to IS NOT NULL", LINK),
        (f"DELETE FROM subject WHERE {ONE}", 2),
    ],
)
def test_a_subjects_row_that_says_something_else_is_noticed(
    filled: Installation, spoil: Tampering, statement: str, index: int
) -> None:
    spoil.run(statement)

    assert named_index(filled) == index


@pytest.mark.parametrize("index", [2, 102, 505, VISITOR])
def test_a_record_that_is_gone_is_named_by_its_index(
    filled: Installation, spoil: Tampering, index: int
) -> None:
    spoil.run(f'DELETE FROM record WHERE "index" = {index}')

    assert named_index(filled) == index


@pytest.mark.parametrize("index", [0, 2, SIZE - 1])
def test_an_entry_that_is_gone_is_named_by_its_index(
    filled: Installation, spoil: Tampering, index: int
) -> None:
    spoil.run(f'DELETE FROM entry WHERE "index" = {index}')

    assert named_index(filled) == index


def swap(spoil: Tampering, table: str, columns: Sequence[str], first: int, second: int) -> None:
    where = 'WHERE "index" = :at'
    values = {
        at: {name: spoil.value(f"SELECT {name} FROM {table} {where}", at=at) for name in columns}
        for at in (first, second)
    }
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    for at, other in ((first, second), (second, first)):
        spoil.run(f"UPDATE {table} SET {changes} {where}", at=at, **values[other])


@pytest.mark.parametrize(
    "columns", [("body", "opening"), ("body", "opening", "subject_id"), ("subject_id",)], ids=str
)
def test_two_subjects_records_that_changed_places_are_noticed(
    filled: Installation, spoil: Tampering, columns: Sequence[str]
) -> None:
    swap(spoil, "record", columns, 102, 103)

    assert named_index(filled) == 102


def test_two_whole_entries_of_one_subject_in_another_order_are_noticed(
    filled: Installation, spoil: Tampering
) -> None:
    swap(spoil, "entry", ("leaf",), 102, 202)
    swap(spoil, "record", ("body", "opening"), 102, 202)

    assert named_index(filled) == 102


def test_a_record_of_a_subject_said_to_be_nobodys_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run('UPDATE record SET subject_id = NULL WHERE "index" = 102')

    assert named_index(filled) == 102


def test_two_faults_are_named_by_the_first(filled: Installation, spoil: Tampering) -> None:
    spoil.run(f"UPDATE subject SET state = '{{}}' WHERE {ONE}")
    spoil.run('DELETE FROM record WHERE "index" = 104')

    assert named_index(filled) == 104


def test_a_record_deleted_without_a_certificate_is_noticed_beside_an_erasure(
    filled: Installation, spoil: Tampering
) -> None:
    filled.service.committer.submit_blocking(
        filled.tenant, EraseSubject(subject=filled.tenant.subject("customer-0"))
    )
    assert filled.verify().erased == 6
    spoil.run('DELETE FROM record WHERE "index" = 102')

    assert named_index(filled) == 102


def test_a_subject_deleted_without_a_certificate_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run(f"DELETE FROM record WHERE subject_id = (SELECT id FROM subject WHERE {ONE})")
    spoil.run("DELETE FROM subject WHERE NOT EXISTS (SELECT 1 FROM record WHERE subject_id = subject.id)")

    assert named_index(filled) == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """A record that the log's own key signs, as an insider could: appended without any check."""

    kind: Kind
    record: Callable[[Batch, DecisionRecord], DecisionRecord | LinkRecord | NoticeRecord]
    subject: Subject

    @property
    def subjects(self) -> Sequence[Subject]:
        return (self.subject,)

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        return ()

    def perform(self, batch: Batch) -> int:
        known = batch.subject(self.subject)
        assert known is not None
        honest = DecisionRecord(
            subject=known.ref,
            decision=a_decision({"coupons": "granted"}, notice=batch.book.require_current().digest),
            consents={COUPONS: Outcome(status=Status.RENEWED, valid_until=NOW)},
            recorded_at=batch.now,
            prev=known.last_commitment,
        )
        return batch.append(self.kind, self.record(batch, honest).encode(), known)


def with_one_day_more(batch: Batch, honest: DecisionRecord) -> DecisionRecord:
    """A renewal like those of many others before, but for one digit of its validity."""
    purpose = batch.book.require_current().notice.purposes[COUPONS]
    until = purpose.validity.after(honest.decision.decided_at) + timedelta(days=1)
    return replace(honest, consents={COUPONS: Outcome(status=Status.GIVEN, valid_until=until)})


def with_unknown_purpose(_batch: Batch, honest: DecisionRecord) -> DecisionRecord:
    return replace(
        honest, decision=a_decision({"nonsense": "granted"}, notice=honest.decision.notice), consents={}
    )


def with_unknown_notice(_batch: Batch, honest: DecisionRecord) -> DecisionRecord:
    return replace(honest, decision=replace(honest.decision, notice=NoticeDigest("f" * 64)))


def of_a_link(_batch: Batch, honest: DecisionRecord) -> LinkRecord:
    return LinkRecord(
        subject=honest.subject,
        linked=honest.subject,
        actor="backend",
        consents={},
        recorded_at=honest.recorded_at,
        prev=honest.prev,
    )


def of_a_notice(_batch: Batch, honest: DecisionRecord) -> NoticeRecord:
    return NoticeRecord(notice=honest.decision.notice, supersedes=None, recorded_at=honest.recorded_at)


FORGERIES: dict[
    str, tuple[Kind, Callable[[Batch, DecisionRecord], DecisionRecord | LinkRecord | NoticeRecord]]
] = {
    "a chain that forgets an entry": (Kind.DECISION, lambda _batch, honest: replace(honest, prev=None)),
    "a chain that invents one": (Kind.DECISION, lambda _batch, honest: replace(honest, prev=bytes(32))),
    "a validity of a day more": (Kind.DECISION, with_one_day_more),
    "a status that does not follow": (Kind.DECISION, lambda _batch, honest: honest),
    "a purpose the notice does not have": (Kind.DECISION, with_unknown_purpose),
    "a notice that was never published": (Kind.DECISION, with_unknown_notice),
    "a link to nobody": (Kind.LINK, of_a_link),
    "a link said to be a decision": (Kind.DECISION, of_a_link),
    "a decision said to be a link": (Kind.LINK, lambda _batch, honest: honest),
    "a decision said to be a notice": (Kind.NOTICE, lambda _batch, honest: honest),
    "a notice in a subject's chain": (Kind.NOTICE, of_a_notice),
    "a notice said to be a decision": (Kind.DECISION, of_a_notice),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_that_the_logs_own_key_signed_must_still_follow(
    filled: Installation, spoil: Tampering, forgery: str
) -> None:
    kind, record = FORGERIES[forgery]
    index = filled.service.committer.submit_blocking(
        filled.tenant, Forgery(kind=kind, record=record, subject=filled.tenant.subject("customer-1"))
    )

    assert index == SIZE
    assert named_index(filled) == SIZE
