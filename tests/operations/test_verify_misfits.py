"""Verification names what somebody puts beside a ledger, or in the place of a value that could be read."""

from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from consent_service.errors import LedgerCorrupt
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.read_history import read_history
from consent_service.operations.rotate_keys import rotate_signing_key
from tests.installation import Installation, Tampering
from tests.shop import Shop

# What tests/operations/conftest.py fills the ledger with; customer-0 is the first subject.
LINK, SIZE = 303, 604
COPY_OF_A_RECORD = (
    'INSERT INTO record SELECT tenant_id, {at}, {subject}, opening, body FROM record WHERE "index" = 2'
)


def named_index(installation: Installation) -> int:
    with pytest.raises(LedgerCorrupt) as corrupt:
        installation.verify()
    return corrupt.value.index


@pytest.mark.parametrize("subject", ["subject_id", "NULL"])
@pytest.mark.parametrize(("at", "index"), [(SIZE, SIZE), (5000, 5000), (-1, 0)])
def test_a_record_without_an_entry_is_noticed(
    filled: Installation, spoil: Tampering, at: int, index: int, subject: str
) -> None:
    spoil.run(COPY_OF_A_RECORD.format(at=at, subject=subject))

    assert named_index(filled) == index


def test_a_record_without_an_entry_would_be_shown_as_history(filled: Installation, spoil: Tampering) -> None:
    """That is why verification looks for one."""
    customer = filled.tenant.subject("customer-1")
    before = read_history(filled.service.deployment, filled.tenant, customer)
    spoil.run(COPY_OF_A_RECORD.format(at=5000, subject="subject_id"))

    after = read_history(filled.service.deployment, filled.tenant, customer)

    assert [entry.index for entry in after] == [*(entry.index for entry in before), 5000]


@pytest.mark.parametrize(("level", "n"), [(0, 7), (2, 0), (-1, 9), (-2, 0)])
def test_a_tile_or_bundle_of_no_entries_is_noticed(
    filled: Installation, spoil: Tampering, level: int, n: int
) -> None:
    spoil.run(
        "INSERT INTO tile SELECT tenant_id, :level, :n, width, data, nodes FROM tile WHERE level = 1",
        level=level,
        n=n,
    )

    assert named_index(filled) == SIZE - 1


def test_a_head_that_is_gone_is_noticed(filled: Installation, spoil: Tampering) -> None:
    spoil.run("DELETE FROM head")

    assert named_index(filled) == 0


def test_a_state_that_cannot_be_read_of_a_linked_subject_is_noticed(
    filled: Installation, spoil: Tampering
) -> None:
    spoil.run("UPDATE subject SET state = '{' WHERE linked_to IS NOT NULL")

    assert named_index(filled) == LINK - 1


@pytest.mark.parametrize(
    ("change", "index"),
    [
        ('entry SET leaf = CAST(leaf AS TEXT) WHERE "index" = 7', 7),
        ('entry SET leaf = 1.5 WHERE "index" = 7', 7),
        ('record SET body = CAST(body AS TEXT) WHERE "index" = 7', 7),
        ("record SET opening = CAST(opening AS TEXT) || 'x' WHERE \"index\" = 7", 7),
        ("tile SET data = CAST(data AS TEXT) || 'x' WHERE level = 1", SIZE - 1),
        ("tile SET width = 'x' WHERE level = 1", SIZE - 1),
        ("head SET frontier = CAST(frontier || x'ff' AS TEXT)", SIZE - 1),
        ("head SET size = 'x'", 0),
        ('notice SET document = 1.5 WHERE "index" = 0', 0),
        ("subject SET last_index = 'x' WHERE id = 2", SIZE - 1),
    ],
)
def test_a_value_of_another_type_is_noticed_where_a_database_takes_it(
    filled: Installation, spoil: Tampering, change: str, index: int
) -> None:
    if spoil.dialect == "postgresql":
        with pytest.raises(DBAPIError):
            spoil.run(f"UPDATE {change}")
        return
    spoil.run(f"UPDATE {change}")

    assert named_index(filled) == index


def test_a_record_that_was_destroyed_in_an_earlier_erasures_name_is_noticed(
    filled: Installation, spoil: Tampering
) -> None:
    """An erased subject's rows, put back, would account for as many records of somebody who came later."""
    committer = filled.service.committer
    erased = committer.submit_blocking(
        filled.tenant, EraseSubject(subject=filled.tenant.subject("customer-0"))
    )
    assert isinstance(erased, ErasureAnswer)
    for _ in range(6):
        filled.decide("late", {"coupons": "denied"})
    spoil.run("DELETE FROM record WHERE subject_id = (SELECT max(id) FROM subject)")
    spoil.run("DELETE FROM subject WHERE id = (SELECT max(id) FROM subject)")
    for table, number in (("record", "subject_id"), ("subject", "id")):
        spoil.run(f"INSERT INTO {table} SELECT * FROM saved_{table} WHERE {number} = 1")  # noqa: S608  # two tables

    assert named_index(filled) == erased.index


def test_a_key_that_names_another_entry_than_its_own_is_noticed(migrated_url: str, tmp_path: Path) -> None:
    shop = Shop(migrated_url, tmp_path / "home")
    rotate_signing_key(shop.service.deployment, shop.service.committer, shop.tenant)
    decided = shop.decide("customer-1", {"coupons": "granted"})
    tampering = Tampering(migrated_url)
    changed = tampering.run('UPDATE tenant_key SET "index" = :at WHERE "index" IS NOT NULL', at=decided)

    with pytest.raises(LedgerCorrupt) as corrupt:
        shop.check_ledger()
    tampering.close()
    shop.close()

    assert (changed, corrupt.value.index) == (1, decided)
