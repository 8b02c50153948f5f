import copy
import pickle

import pytest
from consent_sdk import Reason, Verdict


@pytest.mark.parametrize("reason", Reason)
def test_only_a_grant_is_true(reason: Reason) -> None:
    verdict = Verdict.of(reason)

    assert bool(verdict) is verdict.allowed is (reason is Reason.GRANTED)


def test_equal_verdicts_are_one_object() -> None:
    assert Verdict.of(Reason.GRANTED, 5, 7) is Verdict.of(Reason.GRANTED, 5, 7)


def test_however_many_verdicts_are_made_few_are_remembered() -> None:
    for index in range(10_000):
        Verdict.of(Reason.GRANTED, 5, index)

    assert Verdict.of(Reason.GRANTED, 5, 9_999) == Verdict(Reason.GRANTED, until=5, index=9_999)


@pytest.mark.parametrize("name", ["reason", "allowed", "until", "anything"])
def test_a_verdict_cannot_be_changed(name: str) -> None:
    verdict = Verdict.of(Reason.REFUSED)

    with pytest.raises(AttributeError):
        setattr(verdict, name, Reason.GRANTED)

    assert not verdict


def test_a_verdict_survives_copying_and_pickling() -> None:
    verdict = Verdict.of(Reason.GRANTED, 1_893_456_000, 7)

    assert pickle.loads(pickle.dumps(verdict)) == copy.deepcopy(verdict) == verdict  # noqa: S301  # our own bytes
