"""A decision becomes evidence and opens a gate, over HTTP, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.settings import Settings
from tests.small_api import client_of


@pytest.fixture
def client(migrated_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(Settings(home=tmp_path / "home", database_url=SecretStr(migrated_url))) as client:
        yield client


def test_a_granted_purpose_opens_its_gate_and_no_other(client: TestClient) -> None:
    notice = client.get("/v1/notice").json()["digest"]
    body = {
        "notice": notice,
        "choices": {"recommendations": "granted", "coupons": "denied"},
        "method": "save",
        "source": "banner",
        "language": "en",
    }
    subject = {"Consent-Subject": "customer-42"}

    recorded = client.post("/v1/decisions", json=body, headers=subject)

    assert recorded.status_code == 201
    assert recorded.json()["index"] == 1
    asked = {"purposes": ["recommendations", "coupons", "support_context"]}
    verdicts = client.post("/v1/gate", json=asked, headers=subject).json()["verdicts"]
    assert {key: verdict["reason"] for key, verdict in verdicts.items()} == {
        "recommendations": "granted",
        "coupons": "refused",
        "support_context": "never_asked",
    }
