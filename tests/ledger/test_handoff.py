"""How a log's keys are followed: service and SDK agree on every vector."""

import json
from typing import Any

import pytest
from consent_sdk.errors import EvidenceError as SdkEvidenceError
from consent_sdk.handoff import follow_keys as follow_in_the_sdk

from consent_service.errors import EvidenceError, InvalidEntry, InvalidInput
from consent_service.ledger.canonical import parse_json
from consent_service.ledger.handoff import Handoff, follow_keys
from consent_service.ledger.note import NoteVerifier
from tests.vectors.generate import FOLDER
from tests.vectors.handoff_cases import FIRST, SECOND, handoff

CASES: list[dict[str, Any]] = json.loads((FOLDER / "handoff.json").read_bytes())


def follow_in_the_service(handoffs: bytes, *, key: str) -> str:
    document = parse_json(handoffs)
    assert isinstance(document, dict)
    steps = document["handoffs"]
    if not isinstance(steps, list):
        raise InvalidEntry("No list.")
    return follow_keys([Handoff.parse(step) for step in steps], NoteVerifier.parse(key)).vkey


@pytest.mark.parametrize("follow", [follow_in_the_service, follow_in_the_sdk])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_chain_leads_where_the_vector_says(case: dict[str, Any], follow: Any) -> None:
    if case["newest"] is not None:
        assert follow(case["handoffs"].encode(), key=case["vkey"]) == case["newest"]
        return
    with pytest.raises((EvidenceError, InvalidInput, SdkEvidenceError)):
        follow(case["handoffs"].encode(), key=case["vkey"])


def test_a_handoff_is_read_as_it_was_written() -> None:
    step = handoff(FIRST, SECOND, 2)

    assert Handoff.parse(step.document()) == step


@pytest.mark.parametrize(
    "document", [None, [], {}, {"opening": "", "record": "", "proof": 1}, {"opening": "x"}]
)
def test_what_is_no_handoff_is_refused(document: Any) -> None:
    with pytest.raises(InvalidEntry):
        Handoff.parse(document)
