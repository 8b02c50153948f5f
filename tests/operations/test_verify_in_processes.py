"""A ledger verified by several processes: in one snapshot, with the same answer as by one."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from consent_service.errors import LedgerCorrupt, Unavailable
from consent_service.operations.verify_ledger import verify_ledger
from tests.builders import a_decision
from tests.installation import Installation, Tampering


def test_a_ledger_that_grows_meanwhile_verifies_in_two_processes(
    filled: Installation, spoil: Tampering
) -> None:
    before, enough = filled.verify(), threading.Event()

    def keep_deciding() -> None:
        while not enough.is_set():
            filled.decide("visitor", {"coupons": "granted"})

    deciding = threading.Thread(target=keep_deciding)
    deciding.start()
    try:
        verified = verify_ledger(filled.service.deployment, filled.tenant, processes=2)
    finally:
        enough.set()
        deciding.join()

    assert before.size < verified.size < filled.verify().size
    assert (verified.subjects, verified.erased) == (before.subjects, before.erased)
    assert spoil.value(f"SELECT note FROM checkpoint WHERE size = {verified.size}") == verified.checkpoint  # noqa: S608


def test_two_processes_name_the_first_of_three_faults(filled: Installation, spoil: Tampering) -> None:
    for index in (600, 300, 520):
        spoil.run('UPDATE record SET opening = body WHERE "index" = :at', at=index)

    with pytest.raises(LedgerCorrupt) as corrupt:
        verify_ledger(filled.service.deployment, filled.tenant, processes=2)

    assert corrupt.value.index == 300


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)
def test_a_process_that_cannot_open_the_installation_ends_the_verification(filled: Installation) -> None:
    key_file = next(filled.home.glob("*.key"))
    moved = key_file.rename(key_file.with_suffix(".moved"))
    try:
        with pytest.raises(Unavailable, match="ended early"):
            verify_ledger(filled.service.deployment, filled.tenant, processes=2)
    finally:
        moved.rename(key_file)


def test_a_decision_by_a_clock_of_another_offset_verifies_where_it_was_not_made(
    installation: Installation,
) -> None:
    installation.clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    first_of_the_month = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    made = a_decision(
        {"coupons": "granted"}, notice=installation.current.digest, decided_at=first_of_the_month
    )

    installation.decide("customer-1", decision=made)

    verify_ledger(installation.service.deployment, installation.tenant, processes=2)
