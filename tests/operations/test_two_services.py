"""Two services on one database: one log, dense indexes, nothing lost, each sees the other's at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from consent_service.operations.manage_tenants import create_tenant
from tests.builders import a_notice
from tests.installation import Installation, check_ledger
from tests.operations.waiting import BusyCommitter
from tests.servers import wait_until


@pytest.fixture
def second(installation: Installation) -> Iterator[Installation]:
    """Another service on the same database, with a clock of its own that runs a little behind."""
    with Installation(home=installation.home, database_url=installation.database_url) as second:
        second.clock.advance(seconds=-1)
        yield second


def test_decisions_at_two_services_make_one_dense_log(
    installation: Installation, second: Installation
) -> None:
    digest = installation.current.digest
    with ThreadPoolExecutor(24) as pool:
        answers = list(
            pool.map(
                lambda number: (installation, second)[number % 2].service.committer.submit_blocking(
                    installation.tenant, installation.request(f"customer-{number % 10}", notice=digest)
                ),
                range(200),
            )
        )

    assert sorted(answer.index for answer in answers) == list(range(1, 201))  # type: ignore[attr-defined]  # DecisionAnswer
    assert installation.size == 201


def test_services_that_take_turns_continue_each_others_log(
    installation: Installation, second: Installation
) -> None:
    digest = installation.current.digest
    installation.decide_all([installation.request("customer-1", notice=digest) for _ in range(250)])

    indexes = [(installation, second)[number % 2].decide("customer-1").index for number in range(12)]

    assert indexes == list(range(251, 263))  # past the end of a tile


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_what_comes_while_the_other_writes_is_committed_together(
    installation: Installation, second: Installation
) -> None:
    before = installation.verify()
    with ThreadPoolExecutor(5) as pool, BusyCommitter(installation):
        answers = [pool.submit(second.decide, f"customer-{number}") for number in range(5)]
        wait_until(lambda: second.service.committer.waiting == 5, what="five decisions to wait")
        assert not any(answer.done() for answer in answers)

    assert sorted(answer.result(30).index for answer in answers) == list(range(1, 6))
    assert installation.verify().checkpoints == before.checkpoints + 1


def test_a_withdrawal_at_one_closes_the_gate_at_the_other(
    installation: Installation, second: Installation
) -> None:
    installation.decide("customer-1", {"coupons": "granted"})
    opened = second.reasons("customer-1")["coupons"]

    second.decide("customer-1", {"coupons": "denied"})

    assert opened == "granted"
    assert installation.reasons("customer-1")["coupons"] == "withdrawn"


def test_a_notice_published_at_one_is_known_at_the_other_at_once(
    installation: Installation, second: Installation
) -> None:
    installation.decide("customer-1", {"coupons": "granted"})

    published = second.publish(a_notice({"purposes/coupons/version": 2}))

    assert installation.current.digest == published.digest
    assert installation.reasons("customer-1")["coupons"] == "notice_outdated"
    installation.decide("customer-1", {"coupons": "granted"})
    assert second.reasons("customer-1")["coupons"] == "granted"


def test_a_tenant_created_at_one_is_served_by_the_other(
    installation: Installation, second: Installation
) -> None:
    tenant = create_tenant(installation.service.deployment, "new")

    published = second.publish(tenant=tenant)

    assert published.index == 0
    assert [verified.size for verified in check_ledger(installation.service)] == [1, 1]


def test_tenants_logs_grow_apart(installation: Installation) -> None:
    other = installation.another_tenant("other")
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda number: installation.decide("customer-1", tenant=other if number % 2 else None).index,
                range(100),
            )
        )

    assert sorted(answers) == sorted([*range(1, 51), *range(1, 51)])
    assert [verified.size for verified in check_ledger(installation.service)] == [51, 51]
