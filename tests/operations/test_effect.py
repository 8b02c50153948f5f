"""Decisions that share one object leave of new subjects what each of them would leave alone."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.errors import UnknownPurpose
from consent_service.ledger.record import DecisionRecord, decode_record
from consent_service.operations.batch import Request
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.record_decision import DecisionAnswer, RecordDecision
from consent_service.storage.ledger_store import read_record
from consent_service.storage.subject_store import find_subjects
from consent_service.storage.vault_store import find_grants
from tests.builders import NOW, ChoiceName, a_decision, a_notice
from tests.installation import Installation

MIXED: Mapping[str, ChoiceName] = {
    "support_context": "denied",
    "recommendations": "granted",
    "coupons": "granted",
}
SHORTER = a_notice({"purposes/recommendations/validity": "P1M", "purposes/coupons/version": 2})


def alike(
    installation: Installation, subjects: list[str], choices: Mapping[str, ChoiceName], *, shared: bool = True
) -> list[RecordDecision]:
    """The same decision of each subject: one object, or one for each."""
    made = a_decision(choices, notice=installation.current.digest, decided_at=NOW - timedelta(minutes=3))
    return [
        replace(
            installation.request(subject, decision=made if shared else replace(made)),
            shared=shared,
        )
        for subject in subjects
    ]


def left(installation: Installation, subject: str, answer: object) -> tuple[object, ...]:
    """All that a decision left, but for its index, whose it is, and what is random."""
    assert isinstance(answer, DecisionAnswer)
    text = json.loads(answer.text)
    assert text.pop("index") == answer.index
    blind_index = installation.tenant.subject(subject).blind_index
    with installation.service.deployment.reading(installation.tenant) as scope:
        stored = find_subjects(scope, [blind_index])[blind_index]
        record = decode_record(read_record(scope, answer.index).body)
        grants = find_grants(scope, [stored.id])
    assert isinstance(record, DecisionRecord)
    assert record.subject == stored.ref
    assert {consent.index for consent in stored.state.consents.values()} == {answer.index}
    consents = {key: consent._replace(index=0) for key, consent in stored.state.consents.items()}
    held = {grant[1:-1] for grant in grants}
    return text, consents, stored.look_at_ms, held, replace(record, subject=SubjectRef("her"))


@pytest.mark.parametrize("choices", [MIXED, {"coupons": "denied"}, dict.fromkeys(MIXED, "granted")])
@pytest.mark.parametrize("superseded", [False, True])
def test_of_new_subjects_each_has_what_her_decision_alone_would_leave(
    installation: Installation, choices: Mapping[str, ChoiceName], *, superseded: bool
) -> None:
    alone, together = [f"alone-{n}" for n in range(2)], [f"together-{n}" for n in range(4)]
    requests = [
        *alike(installation, together, choices),
        *alike(installation, alone, choices, shared=False),
    ]
    if superseded:
        installation.publish(SHORTER)

    answers = installation.decide_all(requests)

    [first, *others] = [
        left(installation, subject, answer)
        for subject, answer in zip([*together, *alone], answers, strict=True)
    ]
    assert others == [first] * 5
    assert (first[2] == 0) == superseded


def test_a_subject_who_comes_again_decides_after_herself(installation: Installation) -> None:
    installation.decide("known", {"coupons": "granted"})
    requests = alike(installation, ["new-1", "known", "new-2", "new-2", "new-1", "new-2"], MIXED)

    answers = installation.decide_all(requests)

    texts = [json.loads(answer.text) for answer in answers if isinstance(answer, DecisionAnswer)]
    statuses = [(each["consents"]["coupons"]["status"], each["index"]) for each in texts]
    assert statuses == [
        ("given", 2),
        ("renewed", 3),
        ("given", 4),
        ("renewed", 5),
        ("renewed", 6),
        ("renewed", 7),
    ]


def test_a_notice_published_between_two_of_them_is_heeded_by_the_second(installation: Installation) -> None:
    before, after = alike(installation, ["ana", "ben"], MIXED)
    together: list[Request] = [before, PublishNotice(notice=SHORTER), after]

    answers = installation.service.committer.submit_many_blocking(installation.tenant, together)

    looks = [left(installation, "ana", answers[0])[2], left(installation, "ben", answers[2])[2]]
    assert looks[0] != 0
    assert looks[1] == 0


def test_where_it_may_not_be_recorded_each_of_them_is_refused(installation: Installation) -> None:
    requests = alike(installation, ["ana", "ben"], {"coupons": "granted", "gambling": "granted"})

    answers = installation.decide_all(requests)

    assert [type(answer) for answer in answers] == [UnknownPurpose] * 2
    assert installation.consent("ana", PurposeKey("coupons")).consent is None
