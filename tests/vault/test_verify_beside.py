"""Verification notices what stands beside the log and no entry accounts for, on both databases."""

# ruff: noqa: S608  # tables and columns to spoil are parameters of the tests

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from consent_service.errors import LedgerCorrupt
from consent_service.operations.link_subjects import LinkSubjects
from tests.installation import Tampering
from tests.shop import Shop

COPY_OF_A_GRANT = (
    "INSERT INTO key_grant (tenant_id, subject_id, purpose, category, purpose_version, valid_until_ms, "
    "key_version, wrapped) SELECT tenant_id, {subject}, '{purpose}', category, purpose_version, "
    "valid_until_ms, key_version, wrapped FROM key_grant WHERE purpose = 'coupons' AND subject_id = 1"
)


@pytest.fixture
def spoil(migrated_url: str) -> Iterator[Tampering]:
    """A way into the shop's database behind the service's back."""
    with closing(Tampering(migrated_url)) as tampering:
        tampering.drop_triggers()
        yield tampering


@pytest.fixture
def held(tampered_shop: Shop) -> Shop:
    """A shop that holds ana's purchases for coupons; she denied recommendations. Its ledger verifies."""
    shop = tampered_shop
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}})
    shop.pass_time(timedelta(minutes=1))
    shop.deny("ana", "recommendations")
    shop.pass_time(timedelta(minutes=1))
    shop.grant("ben", "coupons")
    shop.check_ledger()
    return shop


def fault(shop: Shop) -> tuple[str, int]:
    with pytest.raises(LedgerCorrupt) as corrupt:
        shop.check_ledger()
    return str(corrupt.value), corrupt.value.index


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (COPY_OF_A_GRANT.format(subject=1, purpose="recommendations"), "A key grant is none that"),
        (COPY_OF_A_GRANT.format(subject=1, purpose="ai_assistance"), "A key grant is none that"),
        ("UPDATE key_grant SET purpose_version = 7 WHERE subject_id = 1", "A key grant is none that"),
        (
            "UPDATE key_grant SET valid_until_ms = valid_until_ms + 1 WHERE subject_id = 1",
            "A key grant is none",
        ),
        ("DELETE FROM key_grant WHERE subject_id = 1", "A value of a profile has no key grant"),
    ],
)
def test_keys_and_values_without_a_grant_are_named_by_their_subjects_last_entry(
    held: Shop, spoil: Tampering, change: str, what: str
) -> None:
    spoil.run(change)

    said, index = fault(held)

    assert said.startswith(what)
    assert index == 2  # Ana's denial; ben's decision is the last entry.


@pytest.mark.parametrize("table", ["key_grant", "profile_value"])
def test_what_is_kept_of_nobody_is_noticed(held: Shop, spoil: Tampering, table: str) -> None:
    spoil.run(f"UPDATE {table} SET subject_id = 99 WHERE subject_id = 1")

    said, index = fault(held)

    assert "belongs to no subject" in said
    assert index == 3


def test_a_key_grant_that_outlived_an_erasure_is_noticed(held: Shop, spoil: Tampering) -> None:
    spoil.run("CREATE TABLE kept AS SELECT * FROM key_grant WHERE subject_id = 1")
    index = held.erase("ana").index
    held.check_ledger()
    spoil.run("INSERT INTO key_grant SELECT * FROM kept")

    assert fault(held) == ("A key grant belongs to no subject.", index)


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE tombstone SET "index" = 1',
        'UPDATE tombstone SET "index" = 2',
        'UPDATE tombstone SET "index" = 9000',
        "UPDATE tombstone SET erased_at_ms = erased_at_ms + 1",
    ],
)
def test_a_tombstone_of_no_erasure_is_noticed(held: Shop, spoil: Tampering, change: str) -> None:
    erasure = held.erase("ana").index
    held.check_ledger()
    spoil.run(change)

    said, index = fault(held)

    assert said == "A tombstone says something else than the erasure that it names."
    assert index == (erasure if "erased_at" in change else int(change.rpartition(" ")[2]))


def test_an_answer_of_an_erased_entry_is_noticed(held: Shop, spoil: Tampering) -> None:
    spoil.run(
        'INSERT INTO idempotency (tenant_id, key_digest, request_digest, "index", answer, created_at_ms) '
        "SELECT tenant_id, opening, opening, 5000, '{}', 0 FROM record WHERE \"index\" = 1"
    )

    assert fault(held) == ("An answer is kept of an entry that has no record.", 5000)


@pytest.mark.parametrize("size", [2, 3])
def test_a_checkpoint_between_two_moments_that_is_gone_is_noticed(
    held: Shop, spoil: Tampering, size: int
) -> None:
    spoil.run(f"DELETE FROM checkpoint WHERE size = {size}")

    assert fault(held) == ("A checkpoint is missing after this entry.", size - 1)


def test_what_expired_and_what_a_link_narrowed_verifies(held: Shop) -> None:
    held.grant("visitor", "coupons")
    held.pass_time(timedelta(days=1))
    held.grant("ben", "coupons")
    link = LinkSubjects(anonymous=held.subject("visitor"), known=held.subject("ben"), actor="backend")
    held.service.committer.submit_blocking(held.tenant, link)
    held.check_ledger()
    held.pass_time(timedelta(days=500))
    held.check_ledger()
    held.grant("ana", "coupons")

    held.check_ledger()
