"""Notices that were published once: their documents and digests never change."""

import hashlib
import json
from pathlib import Path

import pytest

from consent_service.domain.notice_form import parse_notice
from consent_service.ledger.canonical import JsonValue, canonical_json

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "notice.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_notice_has_the_document_and_digest_that_it_was_published_with(
    vector: dict[str, JsonValue],
) -> None:
    written = vector["written"]
    assert isinstance(written, dict)

    document = parse_notice(written).document()

    assert document == vector["document"]
    assert hashlib.sha256(canonical_json(document)).hexdigest() == vector["digest"]
