"""OFREP over HTTP: codes of what cannot be read, ETags, credentials, and a service that cannot answer."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.errors import Unauthenticated
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, require_tenant
from consent_service.operations.service import ConsentService
from consent_service.operations.watch_tickets import issue_ticket, open_ticket
from consent_service.settings import Settings
from tests.small_api import client_of, service_of

ONE, ALL = "/ofrep/v1/evaluate/flags/coupons", "/ofrep/v1/evaluate/flags"
ANA = {"context": {"targetingKey": "ana"}}


@pytest.fixture
def client(migrated_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(Settings(home=tmp_path / "home", database_url=SecretStr(migrated_url))) as client:
        yield client


def decide(client: TestClient, subject: str, **choices: str) -> None:
    body = {
        "notice": client.get("/v1/notice").json()["digest"],
        "choices": choices,
        "method": "save",
        "source": "banner",
        "language": "en",
    }
    assert client.post("/v1/decisions", json=body, headers={"Consent-Subject": subject}).status_code == 201


def test_a_grant_is_true_and_says_until_when(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")

    flag = client.post(ONE, json=ANA).json()

    metadata = flag.pop("metadata")
    assert flag == {"key": "coupons", "value": True, "reason": "TARGETING_MATCH", "variant": "granted"}
    assert (metadata["why"], metadata["index"]) == ("granted", 1)
    assert datetime.fromisoformat(metadata["validUntil"]) > datetime.now(UTC)


def test_the_browsers_privacy_signal_closes_a_flag(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")

    flag = client.post(ONE, json=ANA, headers={"Sec-GPC": "1"}).json()

    assert (flag["value"], flag["metadata"]["why"]) == (False, "gpc_opt_out")


@pytest.mark.parametrize("url", [ONE, ALL])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"[" * 5000, "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"{}", "PARSE_ERROR"),
        (b'{"context": {"targetingKey": "bob", "targetingKey": "ana"}}', "PARSE_ERROR"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": null}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
    ],
)
def test_what_cannot_be_read_has_its_code(client: TestClient, url: str, body: bytes, code: str) -> None:
    answer = client.post(url, content=body)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
    assert answer.json()["errorDetails"]
    assert ("key" in answer.json()) == (url == ONE)


def test_the_bulk_has_every_gate_and_where_to_hear_of_changes(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")

    bulk = client.post(ALL, json=ANA).json()

    assert {flag["key"]: flag["value"] for flag in bulk["flags"]} == {
        "recommendations": False,
        "coupons": True,
        "support_context": False,
        "ai_assistance": False,
    }
    (stream,) = bulk["eventStreams"]
    assert stream["type"] == "sse"
    assert stream["endpoint"]["requestUri"].startswith("/ofrep/v1/stream?ticket=")
    assert "ana" not in stream["endpoint"]["requestUri"]


@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"other", {}', "*"])
def test_an_unchanged_subject_is_answered_304(client: TestClient, spelling: str) -> None:
    decide(client, "ana", coupons="granted")
    tag = client.post(ALL, json=ANA).headers["ETag"]

    again = client.post(ALL, json=ANA, headers={"If-None-Match": spelling.format(tag)})

    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)


def test_a_change_changes_the_etag(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    tag = client.post(ALL, json=ANA).headers["ETag"]
    decide(client, "ana", coupons="denied")

    again = client.post(ALL, json=ANA, headers={"If-None-Match": tag})

    assert (again.status_code, again.headers["ETag"] != tag) == (200, True)


def test_two_subjects_never_share_an_etag(client: TestClient) -> None:
    tags = {
        client.post(ALL, json={"context": {"targetingKey": name}}).headers["ETag"] for name in ("ana", "ben")
    }

    assert len(tags) == 2


@pytest.mark.parametrize("value", ["yesterday", "-1", "1.5", "2026-02-20", "2026-02-20T21:28:18"])
def test_a_modification_time_that_is_none_is_refused(client: TestClient, value: str) -> None:
    answer = client.post(ALL, json=ANA, params={"flagConfigLastModified": value})

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "PARSE_ERROR")


@pytest.mark.parametrize("value", ["1771622898", "2026-02-20T21:28:18Z", "2026-02-20T21:28:18.5+01:00"])
def test_a_modification_time_is_taken(client: TestClient, value: str) -> None:
    answer = client.post(ALL, json=ANA, params={"flagConfigLastModified": value, "flagConfigEtag": "x"})

    assert answer.status_code == 200


def test_the_key_may_come_in_its_other_header(client: TestClient) -> None:
    key = client.headers.pop("Authorization").removeprefix("Bearer ")

    alone = client.post(ONE, json=ANA, headers={"X-API-Key": key})
    twice = client.post(ONE, json=ANA, headers={"X-API-Key": key, "Authorization": f"Bearer {key}"})
    mixed = client.post(ONE, json=ANA, headers={"X-API-Key": key, "Authorization": "Bearer ck_other"})
    none = client.post(ONE, json=ANA)

    assert [answer.status_code for answer in (alone, twice, mixed, none)] == [200, 200, 401, 401]


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.BROWSER])
def test_others_evaluate_nothing(client: TestClient, role: Role) -> None:
    deployment = service_of(client).deployment
    origins = ("https://shop.example",) if role is Role.BROWSER else ()
    key = create_api_key(deployment, require_tenant(deployment, "default"), role, origins=origins).key

    answer = client.post(ONE, json=ANA, headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 403


def test_a_subject_token_evaluates_its_subject_only(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    token = client.post("/v1/subject/token", headers={"Consent-Subject": "ana"}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}

    hers = client.post(ONE, json=ANA, headers=headers)
    unnamed = client.post(ONE, json={"context": {}}, headers=headers)
    others = client.post(ONE, json={"context": {"targetingKey": "ben"}}, headers=headers)

    assert (hers.json()["value"], unnamed.json()["value"]) == (True, True)
    assert (others.status_code, others.json()["errorCode"]) == (400, "INVALID_CONTEXT")


@pytest.mark.parametrize("url", [ONE, ALL])
def test_a_service_that_takes_no_more_says_when_to_come_back(client: TestClient, url: str) -> None:
    service_of(client).gate.close()

    answer = client.post(url, json=ANA)

    assert (answer.status_code, answer.json()["errorCode"]) == (429, "GENERAL")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_ticket_is_the_same_all_hour_and_ends_with_the_next(tmp_path: Path, sqlite_url: str) -> None:
    now = [datetime(2026, 11, 21, 12, 0, tzinfo=UTC)]
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(sqlite_url))
    service = ConsentService.open(settings, clock=lambda: now[0])
    deployment = service.deployment
    tenant = require_tenant(deployment, "default")
    other = create_tenant(deployment, "other")
    ref = tenant.ref(tenant.subject("ana"))
    ticket = issue_ticket(tenant, ref, now[0])

    opened = open_ticket(deployment, ticket)
    later = issue_ticket(tenant, ref, now[0] + timedelta(minutes=59))
    refused = []
    for wrong, moment in (
        (ticket, now[0] + timedelta(hours=2)),
        (ticket, now[0] - timedelta(hours=1)),
        (f"{other.id}.{ticket.partition('.')[2]}", now[0]),
        (ticket[:9] + ("A" if ticket[9] != "A" else "B") + ticket[10:], now[0]),
    ):
        now[0] = moment
        with pytest.raises(Unauthenticated) as error:
            open_ticket(deployment, wrong)
        refused.append(error)
        now[0] = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    service.close()

    assert (opened[0].id, opened[1]) == (tenant.id, ref)
    assert later == ticket
    assert len(refused) == 4


def test_the_openapi_document_has_the_evaluations(client: TestClient) -> None:
    paths: dict[str, Any] = client.get("/openapi.json").json()["paths"]

    assert "/ofrep/v1/evaluate/flags" in paths
    assert "/ofrep/v1/evaluate/flags/{key}" in paths
