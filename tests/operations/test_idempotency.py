"""One key, one entry: however often and wherever the request comes again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from consent_service.errors import IdempotencyKeyReused, UnknownPurpose
from consent_service.operations.prune_answers import AnswerPruner, prune_idempotency
from consent_service.operations.record_decision import DecisionAnswer
from tests.builders import a_decision
from tests.installation import Installation, Tampering
from tests.operations.waiting import BusyCommitter
from tests.servers import wait_until


def test_a_request_that_comes_again_gets_its_first_answer(installation: Installation) -> None:
    first = installation.decide("customer-1", key="k")
    installation.clock.advance(hours=1)

    again = installation.decide("customer-1", key="k")

    assert (again.index, again.text) == (first.index, first.text)
    assert (first.replayed, again.replayed) == (False, True)
    assert installation.size == 2


def test_a_replay_does_not_bring_back_what_was_withdrawn_meanwhile(installation: Installation) -> None:
    installation.decide("customer-1", {"coupons": "granted"}, key="k")
    installation.decide("customer-1", {"coupons": "denied"})

    installation.decide("customer-1", {"coupons": "granted"}, key="k")

    assert installation.reasons("customer-1")["coupons"] == "withdrawn"


def test_a_key_with_another_body_is_refused(installation: Installation) -> None:
    installation.decide("customer-1", {"coupons": "denied"}, key="k", body=b"denied")

    with pytest.raises(IdempotencyKeyReused):
        installation.decide("customer-1", {"coupons": "granted"}, key="k", body=b"granted")

    assert installation.reasons("customer-1")["coupons"] == "refused"
    assert installation.size == 2


def test_the_same_request_many_times_in_one_commit_is_recorded_once(installation: Installation) -> None:
    with BusyCommitter(installation) as busy:
        waiting = [busy.call("customer-1", key="k") for _ in range(10)]

    answers = [future.result(30) for future in waiting]

    assert [answer.index for answer in answers if isinstance(answer, DecisionAnswer)] == [1] * 10
    assert sum(answer.replayed for answer in answers if isinstance(answer, DecisionAnswer)) == 9
    assert installation.size == 2


def test_a_key_with_another_body_in_the_same_commit_is_refused(installation: Installation) -> None:
    first, second = installation.decide_all(
        [
            installation.request("customer-1", {"coupons": "denied"}, key="k", body=b"1"),
            installation.request("customer-1", {"coupons": "granted"}, key="k", body=b"2"),
        ]
    )

    assert isinstance(first, DecisionAnswer)
    assert isinstance(second, IdempotencyKeyReused)


def test_the_same_request_at_two_services_is_recorded_once(installation: Installation) -> None:
    with (
        Installation(home=installation.home, database_url=installation.database_url) as second,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(
            pool.map(
                lambda number: (installation, second)[number % 2].decide(
                    f"customer-{number // 8}", key=f"k{number // 8}"
                ),
                range(64),
            )
        )

    assert sum(not answer.replayed for answer in answers) == 8
    assert len({answer.index for answer in answers}) == 8
    assert installation.size == 9


def test_a_refusal_is_not_remembered(installation: Installation) -> None:
    wrong = a_decision({"cupons": "granted"}, notice=installation.current.digest)
    with pytest.raises(UnknownPurpose):
        installation.decide("customer-1", decision=wrong, key="k")

    answer = installation.decide("customer-1", key="k")

    assert not answer.replayed


def test_a_key_may_be_used_anew_when_its_answer_is_not_kept_any_longer(installation: Installation) -> None:
    installation.decide("customer-1", key="k", body=b"1")
    installation.clock.advance(seconds=installation.settings.idempotency_seconds)
    kept = installation.decide("customer-1", key="k", body=b"1")
    installation.clock.advance(milliseconds=1)

    anew = installation.decide("customer-1", key="k", body=b"2")
    again = installation.decide("customer-1", key="k", body=b"2")

    assert kept.replayed
    assert (anew.replayed, again.replayed, again.index) == (False, True, anew.index)


def test_tenants_do_not_share_keys(installation: Installation) -> None:
    first = installation.decide("customer-1", key="k", body=b"1")
    other = installation.another_tenant("other")

    answer = installation.decide("customer-1", key="k", body=b"2", tenant=other)

    assert not answer.replayed
    assert (first.index, answer.index) == (1, 1)


def test_only_answers_that_are_too_old_are_pruned(installation: Installation, tampering: Tampering) -> None:
    installation.decide("customer-1", key="old")
    installation.clock.advance(days=1)
    installation.decide("customer-1", key="new")
    installation.clock.now += timedelta(seconds=installation.settings.idempotency_seconds, hours=-1)

    pruned = prune_idempotency(installation.service.deployment)

    assert pruned == 1
    assert tampering.value("SELECT count(*) FROM idempotency") == 1
    assert installation.decide("customer-1", key="new").replayed


def test_old_answers_are_pruned_at_the_start(installation: Installation, tampering: Tampering) -> None:
    installation.decide("customer-1", key="old")
    installation.clock.advance(days=8)

    with Installation(
        home=installation.home, database_url=installation.database_url, clock=installation.clock
    ):
        assert tampering.value("SELECT count(*) FROM idempotency") == 0


def test_old_answers_are_pruned_while_the_service_runs(
    installation: Installation, tampering: Tampering
) -> None:
    installation.decide("customer-1", key="old")
    installation.clock.advance(days=8)

    pruner = AnswerPruner(installation.service.deployment, every_seconds=0.01)

    wait_until(lambda: tampering.value("SELECT count(*) FROM idempotency") == 0, what="the pruner")
    pruner.close()


def test_pruning_goes_on_after_a_failure(sqlite_url: str, tmp_path: Path) -> None:
    with Installation(home=tmp_path / "home", database_url=sqlite_url) as installation:
        installation.publish()
        installation.decide("customer-1", key="old")
        installation.clock.advance(days=8)
        tampering = Tampering(sqlite_url)
        tampering.run("ALTER TABLE idempotency RENAME TO away")
        pruner = AnswerPruner(installation.service.deployment, every_seconds=0.01)
        tampering.run("ALTER TABLE away RENAME TO idempotency")

        wait_until(lambda: tampering.value("SELECT count(*) FROM idempotency") == 0, what="the pruner")
        pruner.close()
        tampering.close()
