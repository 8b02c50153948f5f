"""What the service says of a subject who was erased, whichever way it is asked."""

import json

from consent_service.followers.snapshot import snapshot_lines
from consent_service.operations.sweep_vault import TOMBSTONE_DAYS, sweep_vault
from tests.service_api import ServiceApi


def reasons(api: ServiceApi, name: str) -> list[str]:
    """Why `coupons` is closed, by every route that says it."""
    headers = api.headers(name)
    profile = api.client.get("/v1/profile", params={"purpose": "coupons"}, headers=headers)
    query = {"purpose": "coupons", "subjects": [name]}
    profiles = api.client.post("/v1/profiles/query", json=query, headers=headers).json()["profiles"]
    consents = api.client.get("/v1/consents", headers=headers).json()["consents"]
    question = {"context": {"targetingKey": name}}
    flag = api.client.post("/ofrep/v1/evaluate/flags/coupons", json=question, headers=api.headers())
    return [
        *api.reasons(name, "coupons"),
        profile.json()["reason"],
        profiles[0]["reason"],
        consents["coupons"]["reason"],
        flag.json()["metadata"]["why"],
    ]


def lines_of(api: ServiceApi, name: str) -> list[dict[str, list[object]]]:
    """The subject's lines in the snapshot."""
    ref = api.post("/v1/gate", {"purposes": ["coupons"]}, name).json()["subject"]
    _, *rows, end = map(json.loads, b"".join(snapshot_lines(api.service.deployment, api.tenant)).splitlines())
    assert end["count"] == len(rows)
    return [row["consents"] for row in rows if row["subject"] == ref]


def test_an_erased_subject_is_told_from_one_who_was_never_asked(api: ServiceApi) -> None:
    api.decide("ana", {"coupons": "granted"})

    api.client.delete("/v1/subject", headers=api.headers("ana"))

    assert set(reasons(api, "ana")) == {"subject_erased"}
    assert set(reasons(api, "a stranger")) == {"never_asked"}


def test_one_who_was_erased_and_came_back_is_asked_anew(api: ServiceApi) -> None:
    api.decide("ben", {"coupons": "granted"})
    api.client.delete("/v1/subject", headers=api.headers("ben"))

    api.decide("ben", {"recommendations": "granted"})

    assert api.reasons("ben", "recommendations", "coupons") == ["granted", "never_asked"]


def test_the_snapshot_says_who_was_erased_and_did_not_come_back(api: ServiceApi) -> None:
    for name in ("cleo", "dora"):
        api.decide(name, {"coupons": "granted"})
        api.client.delete("/v1/subject", headers=api.headers(name))
    api.decide("dora", {"recommendations": "granted"})

    [cleo], [dora] = lines_of(api, "cleo"), lines_of(api, "dora")

    assert set(cleo) == {*api.get("/v1/notice").json()["notice"]["purposes"]}
    assert {tuple(standing) for standing in cleo.values()} == {("subject_erased", 0)}
    assert set(dora) == {"recommendations"}


def test_an_erasure_is_forgotten_after_a_week(api: ServiceApi) -> None:
    api.decide("eva", {"coupons": "granted"})
    api.client.delete("/v1/subject", headers=api.headers("eva"))

    api.clock.advance(days=TOMBSTONE_DAYS + 1)
    sweep_vault(api.service.deployment, api.tenant)

    assert set(reasons(api, "eva")) == {"never_asked"}
    assert lines_of(api, "eva") == []
