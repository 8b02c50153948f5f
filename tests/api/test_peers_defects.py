"""What went wrong in other consent services, and does not here: over HTTP, on both databases."""

import json
from datetime import timedelta

import pytest

from tests.audit.packs import members_of_bytes
from tests.builders import NOW
from tests.service_api import ServiceApi, assert_problem

PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance")


def test_a_refusal_of_everything_opens_no_gate(api: ServiceApi) -> None:
    api.decide("ana", dict.fromkeys(PURPOSES, "denied"), method="refuse_all")

    assert api.reasons("ana", *PURPOSES) == ["refused"] * 4


def test_a_refusal_of_everything_closes_what_was_open(api: ServiceApi) -> None:
    api.decide("bob", dict.fromkeys(PURPOSES, "granted"), method="accept_all")
    opened = api.reasons("bob", *PURPOSES)

    api.decide("bob", dict.fromkeys(PURPOSES, "denied"), method="refuse_all")

    assert opened == ["granted"] * 4
    assert api.reasons("bob", *PURPOSES) == ["withdrawn"] * 4


def test_a_grant_opens_its_gate_up_to_the_end_of_its_validity_and_not_after(api: ServiceApi) -> None:
    api.decide("cleo", {"coupons": "granted"})
    ends = NOW.replace(year=2027, month=5)

    api.clock.now = ends - timedelta(milliseconds=1)
    before = api.reasons("cleo", "coupons")
    api.clock.now = ends
    after = api.reasons("cleo", "coupons")

    api.clock.now = NOW
    assert (before, after) == (["granted"], ["expired"])


def test_a_refused_purpose_is_in_history_and_export(api: ServiceApi) -> None:
    api.decide("dora", {"coupons": "denied", "recommendations": "granted"})

    [decision] = api.get("/v1/decisions", "dora").json()["decisions"]
    data = api.get("/v1/personal-data", "dora").json()
    pack = api.get("/v1/audit/export", "dora", key=api.keys["auditor"]).content
    [entry] = members_of_bytes(pack)["entries/000000.ndjson"].splitlines()

    assert decision["consents"]["coupons"]["status"] == "refused"
    assert data["consents"]["coupons"]["status"] == "refused"
    record = json.loads(entry)["record"]
    assert record["consents"]["coupons"]["status"] == "refused"


@pytest.mark.parametrize("path", ["/v1/consents", "/v1/decisions", "/v1/personal-data"])
def test_what_somebody_consented_to_is_shown_to_nobody_without_credentials(
    api: ServiceApi, path: str
) -> None:
    api.decide("emil")

    answer = api.client.get(path, headers={"Consent-Subject": "emil"})

    assert_problem(answer, 401, "unauthenticated")


def test_every_change_leaves_an_entry(api: ServiceApi) -> None:
    notice = api.get("/v1/notice").json()["notice"]
    notice["title"]["en"] = "What you choose"
    size = api.heads()[0].size

    answers = [
        api.decide("visitor"),
        api.decide("fay"),
        api.decide("fay"),
        api.decide("fay", {"coupons": "denied"}),
        api.post("/v1/subject/link", {"anonymous": "visitor"}, "fay"),
        api.client.delete("/v1/subject", headers=api.headers("fay")),
        api.client.put("/v1/notice", json=notice, headers=api.headers(key=api.keys["admin"])),
    ]

    assert [answer.json()["index"] for answer in answers] == list(range(size, size + 7))
    assert api.heads()[0].size == size + 7


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["1"], "gpc_opt_out"),
        (["1, 1"], "gpc_opt_out"),
        (["1,1"], "gpc_opt_out"),
        (["1", "1"], "gpc_opt_out"),
        (["0"], "granted"),
        (["1, 0"], "granted"),
        (["1", "0"], "granted"),
        (["true"], "granted"),
        (["?1"], "granted"),
        (["11"], "granted"),
        ([""], "granted"),
        ([], "granted"),
    ],
)
def test_a_privacy_signal_is_one_however_often_it_comes_and_nothing_else_is(
    api: ServiceApi, values: list[str], reason: str
) -> None:
    api.decide("gus", {"coupons": "granted"})
    headers = [*api.headers("gus").items(), *(("Sec-GPC", value) for value in values)]

    answer = api.client.post("/v1/gate", json={"purposes": ["coupons"]}, headers=headers)

    assert answer.json()["verdicts"]["coupons"]["reason"] == reason
