"""Profiles over HTTP: what is answered, what is refused, and that nothing of it shows elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from tests.builders import a_notice
from tests.servers import ConsentServer
from tests.small_api import client_of

ANA = {"Consent-Subject": "ana"}
CANARY = "canary-7f3a"


@pytest.fixture
def client(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(Settings(home=tmp_path / "home", database_url=SecretStr(migrated_sqlite_url))) as client:
        yield client


def a_shop_with_a_key(database_url: str, home: Path) -> str:
    service = ConsentService.open(Settings(home=home, database_url=SecretStr(database_url)))
    tenant = require_tenant(service.deployment, "default")
    service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
    key = create_api_key(service.deployment, tenant, Role.BACKEND).key
    service.close()
    return key


def decide(client: httpx2.Client | TestClient, subject: str, **choices: str) -> None:
    body = {
        "notice": client.get("/v1/notice").json()["digest"],
        "choices": choices,
        "method": "save",
        "source": "banner",
        "language": "en",
    }
    answer = client.post("/v1/decisions", json=body, headers={"Consent-Subject": subject})
    assert answer.status_code == 201


def test_a_profile_is_changed_and_read_through_a_purpose(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    changes = {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}}

    stored = client.patch("/v1/profile", json=changes, headers=ANA)
    read = client.get("/v1/profile", params={"purpose": "coupons"}, headers=ANA)

    assert (stored.status_code, stored.json()) == (
        200,
        {"stored": ["purchases.last_basket", "household.size"]},
    )
    assert read.json() == {"purpose": "coupons", "attributes": changes, "index": 1}
    assert read.headers["Cache-Control"] == "no-store"


def test_only_the_wanted_fields_come_back(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    client.patch("/v1/profile", json={"household": {"size": 2, "pets": 1}}, headers=ANA)

    read = client.get("/v1/profile", params={"purpose": "coupons", "fields": "household.pets"}, headers=ANA)

    assert read.json()["attributes"] == {"household": {"pets": 1}}


@pytest.mark.parametrize("fields", ["houshold.size", "household.size,houshold.size", "householdsize"])
def test_a_field_of_no_category_is_named_and_one_without_a_value_is_absent(
    client: TestClient, fields: str
) -> None:
    decide(client, "ana", coupons="granted")
    client.patch("/v1/profile", json={"household": {"size": 2}}, headers=ANA)

    wrong = [
        client.get("/v1/profile", params={"purpose": "coupons", "fields": fields}, headers=ANA),
        client.post(
            "/v1/profiles/query",
            json={"purpose": "coupons", "subjects": ["ana"], "fields": fields.split(",")},
        ),
    ]
    absent = client.get(
        "/v1/profile",
        params={"purpose": "coupons", "fields": "household.si, browsing, household.size.x"},
        headers=ANA,
    )

    for answer in wrong:
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-profile")
        assert fields.rpartition(",")[2] in answer.json()["detail"]
    assert (absent.status_code, absent.json()["attributes"]) == (200, {})


@pytest.mark.parametrize("name", ["", "Household.size", "household size", "ana@example.org", "a" * 130])
def test_a_field_of_another_form_is_refused_and_not_repeated(client: TestClient, name: str) -> None:
    decide(client, "ana", coupons="granted")

    answer = client.post(
        "/v1/profiles/query", json={"purpose": "coupons", "subjects": ["ana"], "fields": ["household", name]}
    )

    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-profile")
    assert not name or name not in answer.text


def test_a_category_without_a_live_grant_is_named(client: TestClient) -> None:
    decide(client, "ana", recommendations="granted")

    answer = client.patch("/v1/profile", json={"household": {"size": 2}}, headers=ANA)

    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/no-live-grant"
    assert answer.json()["categories"] == ["household"]


@pytest.mark.parametrize(("choice", "reason"), [("denied", "refused"), (None, "never_asked")])
def test_a_closed_purpose_is_refused_with_the_gates_reason(
    client: TestClient, choice: str | None, reason: str
) -> None:
    if choice is not None:
        decide(client, "ana", coupons=choice)

    answer = client.get("/v1/profile", params={"purpose": "coupons"}, headers=ANA)

    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/purpose-closed"
    assert answer.json()["reason"] == reason


def test_a_privacy_signal_closes_the_read_like_the_gate(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")

    answer = client.get("/v1/profile", params={"purpose": "coupons"}, headers={**ANA, "Sec-GPC": "1"})

    assert (answer.status_code, answer.json()["reason"]) == (403, "gpc_opt_out")


def test_many_profiles_are_read_in_the_order_asked(client: TestClient) -> None:
    for number, name in enumerate(("ana", "ben", "cy")):
        decide(client, name, coupons="denied" if name == "ben" else "granted")
        if name != "ben":
            client.patch(
                "/v1/profile", json={"household": {"size": number}}, headers={"Consent-Subject": name}
            )

    answer = client.post(
        "/v1/profiles/query", json={"purpose": "coupons", "subjects": ["cy", "ben", "stranger", "ana", "cy"]}
    )

    assert answer.json() == {
        "purpose": "coupons",
        "profiles": [
            {"attributes": {"household": {"size": 2}}, "index": 3},
            {"reason": "refused"},
            {"reason": "never_asked"},
            {"attributes": {"household": {"size": 0}}, "index": 1},
            {"attributes": {"household": {"size": 2}}, "index": 3},
        ],
    }


def test_more_than_five_hundred_subjects_are_refused(client: TestClient) -> None:
    subjects = [f"customer-{number}" for number in range(501)]

    answer = client.post("/v1/profiles/query", json={"purpose": "coupons", "subjects": subjects})

    assert answer.status_code == 422


def test_a_value_of_64_kib_fits_and_a_longer_one_is_refused(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    fits = client.patch("/v1/profile", json={"household": {"note": "x" * 65_534}}, headers=ANA)

    too_long = client.patch("/v1/profile", json={"household": {"note": "x" * 65_535}}, headers=ANA)

    assert fits.status_code == 200
    assert (too_long.status_code, too_long.json()["type"]) == (400, "/problems/invalid-profile")


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"household": 1}', b'{"household": {"size": NaN}}', b"{"])
def test_a_malformed_change_is_refused(client: TestClient, body: bytes) -> None:
    decide(client, "ana", coupons="granted")

    answer = client.patch("/v1/profile", content=body, headers={**ANA, "Content-Type": "application/json"})

    assert answer.status_code in {400, 422}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/profile", b'{"household": {"size": 3}, "household": null}'),
        ("PATCH", "/v1/profile", b'{"household": {"size": 3, "size": null}}'),
        ("PATCH", "/v1/profile", b'{"household": {"size": {"adults": 2, "adults": 3}}}'),
        (
            "POST",
            "/v1/profiles/query",
            b'{"purpose": "ai_assistance", "purpose": "coupons", "subjects": ["ana"]}',
        ),
        ("POST", "/v1/uses", b'{"uses": [{"purpose": "coupons", "feature": "a", "times": 9, "times": 1}]}'),
    ],
)
def test_a_body_with_a_member_twice_is_refused_and_changes_nothing(
    client: TestClient, method: str, path: str, body: bytes
) -> None:
    decide(client, "ana", coupons="granted")
    client.patch("/v1/profile", json={"household": {"size": 2}}, headers=ANA)

    answer = client.request(method, path, content=body, headers={**ANA, "Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/malformed-body")
    assert answer.json()["detail"] == "Every member of a JSON object comes once."
    assert client.get("/v1/uses", headers=ANA).json()["uses"] == []
    read = client.get("/v1/profile", params={"purpose": "coupons"}, headers=ANA)
    assert read.json()["attributes"] == {"household": {"size": 2}}


@pytest.mark.parametrize("times", ["3", 3.5, True, 0, 1_000_001, None])
def test_how_often_something_was_used_is_a_whole_number(client: TestClient, times: object) -> None:
    decide(client, "ana", coupons="granted")
    use = {"purpose": "coupons", "feature": "mailing", "times": times}

    assert client.post("/v1/uses", json={"uses": [use]}, headers=ANA).status_code == 422


def test_a_whole_number_with_a_fraction_of_nothing_is_one(client: TestClient) -> None:
    """As JSON Schema has it, which the OpenAPI document is written in."""
    decide(client, "ana", coupons="granted")
    use = {"purpose": "coupons", "feature": "mailing", "categories": ["purchases"], "times": 3.0}

    assert client.post("/v1/uses", json={"uses": [use]}, headers=ANA).status_code == 202
    [item] = client.get("/v1/uses", headers=ANA).json()["uses"]
    assert item["times"] == 3
    described = client.get("/openapi.json").json()["components"]["schemas"]["UseBody"]["properties"]["times"]
    assert {"type": "integer", "minimum": 1, "maximum": 1_000_000}.items() <= described.items()


def test_a_category_that_a_use_names_twice_was_used_once(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    use = {"purpose": "coupons", "feature": "mailing", "categories": ["purchases", "purchases"], "times": 2}

    client.post("/v1/uses", json={"uses": [use]}, headers=ANA)

    [item] = client.get("/v1/uses", headers=ANA).json()["uses"]
    assert item["times"] == 2


def test_no_value_and_no_subject_shows_in_logs_or_metrics(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSENT_LOG_LEVEL", "debug")
    subject = {"Consent-Subject": f"{CANARY}@shop.example"}
    key = a_shop_with_a_key(sqlite_url, tmp_path)
    with (
        ConsentServer(home=tmp_path, database_url=sqlite_url) as server,
        httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        decide(client, f"{CANARY}@shop.example", coupons="granted")
        client.patch("/v1/profile", json={"household": {"note": CANARY}}, headers=subject)
        read = client.get("/v1/profile", params={"purpose": "coupons"}, headers=subject)
        refused = client.patch("/v1/profile", json={"browsing": {"note": CANARY}}, headers=subject)
        malformed = client.patch("/v1/profile", json={"household": CANARY}, headers=subject)
        metrics = client.get("/metrics")

    assert CANARY in read.text
    assert "/v1/profile" in server.output()
    assert CANARY not in server.output() + refused.text + malformed.text + metrics.text


def test_no_value_is_in_the_files(client: TestClient, tmp_path: Path) -> None:
    subject = {"Consent-Subject": f"{CANARY}@shop.example"}
    decide(client, f"{CANARY}@shop.example", coupons="granted")

    client.patch("/v1/profile", json={"household": {f"{CANARY}-field": CANARY}}, headers=subject)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []


def test_every_read_and_every_reported_use_is_shown_to_the_subject(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    client.patch("/v1/profile", json={"household": {"size": 2}}, headers=ANA)
    for _ in range(2):
        client.get("/v1/profile", params={"purpose": "coupons", "feature": "mailing"}, headers=ANA)
    client.post("/v1/profiles/query", json={"purpose": "coupons", "subjects": ["ana", "stranger"]})
    client.get("/v1/profile", params={"purpose": "recommendations"}, headers=ANA)
    use = {"purpose": "coupons", "feature": "home_page", "categories": ["purchases"], "times": 3}

    noted = client.post("/v1/uses", json={"uses": [use]}, headers=ANA)
    uses = client.get("/v1/uses", headers=ANA)

    assert (noted.status_code, noted.json()) == (202, {"noted": 1})
    assert {(item["feature"], item["category"]): item["times"] for item in uses.json()["uses"]} == {
        ("mailing", "household"): 2,
        ("profile", "household"): 1,
        ("home_page", "purchases"): 3,
    }
    assert len(uses.json()["sentences"]) == 2
    assert uses.json()["sentences"][0].startswith("What you bought here: used 3 times for Coupons")
    for language, header in (("fr-CH", "en"), ("", "fr-FR,en;q=0.5")):
        headers = {**ANA, "Accept-Language": header}
        told = client.get("/v1/uses", params={"language": language}, headers=headers).json()["sentences"]
        assert told[0].startswith("Ce que vous avez acheté ici")


def test_uses_of_one_purpose_leave_out_the_others(client: TestClient) -> None:
    decide(client, "ana", coupons="granted", recommendations="granted")
    uses = [{"purpose": purpose, "feature": "page"} for purpose in ("coupons", "recommendations")]
    assert client.post("/v1/uses", json={"uses": uses}, headers=ANA).json() == {"noted": 2}

    told = client.get("/v1/uses", params={"purpose": "recommendations"}, headers=ANA).json()
    none = client.get("/v1/uses", params={"purpose": "support_context"}, headers=ANA).json()

    assert {use["purpose"] for use in told["uses"]} == {"recommendations"}
    assert len(told["sentences"]) == len(told["uses"]) > 0
    assert all("for Recommendations" in sentence for sentence in told["sentences"])
    assert none == {"uses": [], "sentences": []}


def test_a_thousand_uses_of_long_names_are_taken_at_once(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")
    uses = [
        {"subject": f"{'x' * 200}-{number}", "purpose": "coupons", "feature": "f" * 32, "times": 1}
        for number in range(1000)
    ]

    answer = client.post("/v1/uses", json={"uses": uses})

    assert (answer.status_code, answer.json()) == (202, {"noted": 0})


def test_json_that_says_it_is_a_form_is_refused_with_what_to_send(client: TestClient) -> None:
    decide(client, "ana", coupons="granted")

    refused = client.patch(
        "/v1/profile",
        content=b'{"household": {"size": 2}}',
        headers={**ANA, "Content-Type": "application/x-www-form-urlencoded"},
    )

    assert refused.status_code == 422
    assert refused.json()["detail"] == "Send JSON, as Content-Type: application/json."
    assert client.get("/v1/profile?purpose=coupons", headers=ANA).json()["attributes"] == {}
