"""Many requests, one commit; whoever fails, fails alone; what is not committed leaves no trace."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url

from consent_service.errors import DatabaseUnavailable, QueueFull, ShuttingDown, UnknownPurpose
from consent_service.operations.record_decision import DecisionAnswer
from tests.builders import NOW, a_decision
from tests.installation import Installation, Tampering
from tests.operations.waiting import BusyCommitter
from tests.postgres import PostgresServer
from tests.servers import wait_until


def test_decisions_that_wait_are_committed_together_in_the_order_they_came(
    installation: Installation,
) -> None:
    before = installation.verify()
    with BusyCommitter(installation) as busy:
        waiting = [busy.call(f"customer-{number}") for number in range(20)]

    answers = [future.result(30) for future in waiting]

    after = installation.verify()
    assert [answer.index for answer in answers if isinstance(answer, DecisionAnswer)] == list(range(1, 21))
    assert after.checkpoints == before.checkpoints + 1


def test_decisions_of_one_subject_in_one_commit_follow_each_other(installation: Installation) -> None:
    answers = installation.decide_all(
        [
            installation.request("customer-1", {"coupons": choice})
            for choice in ("granted", "granted", "denied", "denied", "granted")
        ]
    )

    recorded = [json.loads(answer.text) for answer in answers if isinstance(answer, DecisionAnswer)]
    assert [each["consents"]["coupons"]["status"] for each in recorded] == [
        "given",
        "renewed",
        "withdrawn",
        "refused",
        "given",
    ]


def test_one_that_is_refused_fails_alone(installation: Installation) -> None:
    requests = [installation.request(f"customer-{number}") for number in range(3)]
    requests[1] = installation.request(
        "customer-1", decision=a_decision({"cupons": "granted"}, notice=installation.current.digest)
    )

    first, second, third = installation.decide_all(requests)

    assert isinstance(first, DecisionAnswer)
    assert isinstance(second, UnknownPurpose)
    assert isinstance(third, DecisionAnswer)
    assert (first.index, third.index) == (1, 2)
    assert installation.size == 3


@pytest.fixture
def poisoned(installation: Installation, tampering: Tampering) -> Installation:
    """An installation whose database refuses every record of the method `poison`."""
    if installation.service.deployment.database.dialect == "sqlite":
        tampering.run(
            "CREATE TRIGGER poison BEFORE INSERT ON record WHEN CAST(NEW.body AS TEXT) LIKE '%\"poison\"%' "
            "BEGIN SELECT RAISE(ABORT, 'poisoned'); END"
        )
    else:
        tampering.run(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'poisoned'; END $$"
        )
        tampering.run(
            "CREATE TRIGGER poison BEFORE INSERT ON record FOR EACH ROW "
            "WHEN (position('\"poison\"'::bytea in NEW.body) > 0) EXECUTE FUNCTION poison()"
        )
    return installation


def test_one_that_the_database_refuses_fails_alone(poisoned: Installation) -> None:
    digest = poisoned.current.digest
    requests = [
        poisoned.request(
            f"customer-{number}",
            decision=a_decision(notice=digest, method="poison" if number in {2, 5} else "save"),
        )
        for number in range(8)
    ]

    answers = poisoned.decide_all(requests)

    assert [type(answer).__name__ for answer in answers if isinstance(answer, Exception)] == [
        type(answers[2]).__name__
    ] * 2
    assert isinstance(answers[2], Exception)
    assert [answer.index for answer in answers if isinstance(answer, DecisionAnswer)] == list(range(1, 7))
    assert poisoned.size == 7


@pytest.fixture
def uncommittable(installation: Installation, tampering: Tampering) -> Iterator[Installation]:
    """An installation whose database takes every statement and then refuses to commit."""
    tampering.run("CREATE TABLE orphan (parent INTEGER REFERENCES tenant (id) DEFERRABLE INITIALLY DEFERRED)")
    if installation.service.deployment.database.dialect == "sqlite":
        tampering.run(
            "CREATE TRIGGER spoil AFTER INSERT ON checkpoint BEGIN INSERT INTO orphan VALUES (-1); END"
        )
    else:
        tampering.run(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO orphan VALUES (-1); RETURN NULL; END $$"
        )
        tampering.run("CREATE TRIGGER spoil AFTER INSERT ON checkpoint FOR EACH ROW EXECUTE FUNCTION spoil()")
    yield installation
    tampering.run("DROP TABLE orphan")


def test_a_commit_that_fails_leaves_no_trace_and_the_caller_hears_of_it(
    uncommittable: Installation, tampering: Tampering
) -> None:
    requests = [uncommittable.request(f"customer-{number}", key=str(number)) for number in range(3)]

    answers = uncommittable.decide_all(requests)

    assert [type(answer).__name__ for answer in answers] == ["IntegrityError"] * 3
    assert uncommittable.size == 1
    for table in ("subject", "idempotency", "key_grant", "orphan"):
        assert tampering.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608  # the tables are listed here


def test_after_a_commit_that_failed_the_next_one_continues_the_log(
    uncommittable: Installation, tampering: Tampering
) -> None:
    uncommittable.decide_all([uncommittable.request("customer-1")])
    tampering.run(
        "DROP TRIGGER spoil"
        if uncommittable.service.deployment.database.dialect == "sqlite"
        else "DROP TRIGGER spoil ON checkpoint"
    )

    answer = uncommittable.decide("customer-1")

    assert answer.index == 1
    assert uncommittable.reasons("customer-1")["recommendations"] == "granted"


@pytest.fixture
def narrow(migrated_url: str, tmp_path: Path) -> Iterator[Installation]:
    """An installation in whose queue two requests may wait."""
    with Installation(
        home=tmp_path / "home", database_url=migrated_url, settings={"queue_limit": 2, "batch_limit": 1}
    ) as installation:
        installation.publish()
        yield installation
        installation.verify()


def test_more_than_may_wait_are_sent_away_and_told_when_to_come_back(narrow: Installation) -> None:
    with BusyCommitter(narrow) as busy:
        waiting = busy.call("customer-1")

        with pytest.raises(QueueFull) as full:
            narrow.decide("customer-2")

    assert full.value.retry_after >= 1
    assert isinstance(waiting.result(30), DecisionAnswer)
    assert narrow.decide("customer-2").index == 2


def test_closing_answers_what_waits_and_takes_nothing_new(installation: Installation) -> None:
    with ThreadPoolExecutor() as pool, BusyCommitter(installation) as busy:
        waiting = [busy.call(f"customer-{number}") for number in range(5)]
        closing = pool.submit(installation.service.committer.close)
        wait_until(lambda: not _accepts(installation), what="the committer to take nothing new")

        busy.release()

        closing.result(30)
        assert [answer.index for answer in (future.result(30) for future in waiting)] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]  # DecisionAnswer
    assert installation.size == 6


def _accepts(installation: Installation) -> bool:
    request = installation.request("late", notice="0" * 64)
    answers: list[BaseException] = []

    async def ask() -> None:
        try:
            async with asyncio.timeout(0):
                await installation.service.committer.submit(installation.tenant, request)
        except (ShuttingDown, TimeoutError) as error:
            answers.append(error)

    asyncio.run(ask())
    return not isinstance(answers[0], ShuttingDown)


def test_one_who_goes_away_is_recorded_and_disturbs_nobody(installation: Installation) -> None:
    requests = [installation.request(f"customer-{number}") for number in range(3)]

    async def ask() -> list[object]:
        committer = installation.service.committer
        with BusyCommitter(installation):
            tasks = [
                asyncio.create_task(committer.submit(installation.tenant, request)) for request in requests
            ]
            await asyncio.to_thread(wait_until, lambda: committer.waiting == 4, what="three to wait")
            tasks[1].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second, third = asyncio.run(ask())

    assert isinstance(first, DecisionAnswer)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, DecisionAnswer)
    assert installation.reasons("customer-1")["recommendations"] == "granted"


def test_a_batch_larger_than_one_transaction_is_answered_in_order(installation: Installation) -> None:
    digest = installation.current.digest

    answers = installation.decide_all(
        [installation.request(f"customer-{number % 7}", notice=digest) for number in range(1000)]
    )

    assert [answer.index for answer in answers if isinstance(answer, DecisionAnswer)] == list(range(1, 1001))


def test_nothing_submitted_is_nothing_answered(installation: Installation) -> None:
    assert installation.decide_all([]) == []


def test_while_the_database_is_away_every_caller_is_told_to_come_back(
    postgres_server: PostgresServer, postgresql_url: str, tmp_path: Path
) -> None:
    name = str(make_url(postgresql_url).database)
    with Installation(home=tmp_path / "home", database_url=postgresql_url) as installation:
        installation.publish()
        requests = [installation.request(f"customer-{number}") for number in range(3)]
        postgres_server.turn_away(name)

        answers = installation.decide_all(requests)

        assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3
        postgres_server.let_in(name)
        assert installation.decide("customer-1", decision=None).index == 1
        assert installation.size == 2


def test_a_clock_that_was_set_back_does_not_break_the_log(installation: Installation) -> None:
    installation.decide("customer-1")
    installation.clock.now = NOW.replace(year=2025)

    installation.decide("customer-1", {"recommendations": "denied"})

    assert installation.reasons("customer-1")["recommendations"] == "withdrawn"
