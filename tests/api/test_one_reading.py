"""What two readers could read as two things is refused: numbers, types, codings and credentials."""

import gzip
import json

import pytest

from tests.service_api import ServiceApi, assert_problem


@pytest.mark.parametrize("spelling", ["00", "0_0", "+0", "-0", "0.0", "%200", "0%20", "0e0", "%D9%A0", ""])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/ledger/proof/inclusion?index={}",
        "/v1/ledger/proof/inclusion?index=0&size={}",
        "/v1/ledger/proof/consistency?from={}",
        "/v1/ledger/proof/consistency?from=0&to={}",
        "/v1/audit/export?since={}",
        "/v1/receipts/{}",
    ],
)
def test_a_number_in_an_address_has_one_spelling(api: ServiceApi, path: str, spelling: str) -> None:
    if path.endswith("/{}") and not spelling:
        return  # Another address, which is not there.

    response = api.get(path.format(spelling.replace("+", "%2B")), key=api.keys["admin"])

    assert_problem(response, 422, "malformed-body")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/ledger/proof/inclusion?index=0&index=1", "index"),
        ("/v1/ledger/proof/consistency?from=0&to=1&to=1", "to"),
        ("/v1/consents?as_of=2026-11-21T12:00:00Z&as_of=2026-11-20T12:00:00Z", "as_of"),
        ("/v1/profile?purpose=coupons&fields=household.size&fields=purchases", "fields"),
        ("/v1/notice?language=en&language=fr", "language"),
    ],
)
def test_a_parameter_that_comes_twice_is_refused(api: ServiceApi, path: str, name: str) -> None:
    problem = assert_problem(api.get(path, "somebody", key=api.keys["backend"]), 422, "malformed-body")

    assert [finding["at"] for finding in problem["problems"]] == [f"query.{name}"]


def test_a_parameter_that_comes_twice_hides_no_refusal_and_somebody_elses_none_at_all(
    api: ServiceApi,
) -> None:
    assert_problem(api.client.get("/v1/consents?as_of=x&as_of=x"), 401, "unauthenticated")
    assert api.get("/v1/consents?campaign=a&campaign=b", "somebody").status_code == 200


@pytest.mark.parametrize("kind", ["0", "entries"])
def test_a_tile_beyond_all_counting_is_not_there(api: ServiceApi, kind: str) -> None:
    for number in ("x036/x028/x797/x018/x963/967", "x036/x028/x797/x018/x963/968", "x999/" * 6 + "999"):
        response = api.get(f"/v1/ledger/tile/{kind}/{number}")

        assert_problem(response, 404)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", "json"]
)
def test_a_body_that_says_it_is_no_json_is_taken_by_no_route(api: ServiceApi, media_type: str) -> None:
    headers = api.headers("somebody", **{"Content-Type": media_type})

    for path, body in _bodies(api):
        problem = assert_problem(api.client.post(path, content=body, headers=headers), 422, "malformed-body")
        assert problem["detail"] == "Send JSON, as Content-Type: application/json."


@pytest.mark.parametrize("media_type", [None, "", "APPLICATION/JSON; charset=utf-8", "application/ld+json"])
def test_a_body_that_says_nothing_is_json_to_every_route(api: ServiceApi, media_type: str | None) -> None:
    headers = api.headers("somebody", **({} if media_type is None else {"Content-Type": media_type}))

    answers = [api.client.post(path, content=body, headers=headers) for path, body in _bodies(api)]

    assert [answer.status_code for answer in answers] == [201, 200, 409, 202]


def _bodies(api: ServiceApi) -> list[tuple[str, bytes]]:
    return [
        ("/v1/decisions", json.dumps(api.body()).encode()),
        ("/v1/gate", b'{"purposes": ["coupons"]}'),
        ("/v1/subject/link", b'{"anonymous": "nobody"}'),
        ("/v1/uses", b'{"uses": [{"purpose": "coupons", "feature": "checkout"}]}'),
    ]


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/decisions/batch", "/v1/subject/link"])
def test_a_compressed_body_is_refused_as_such(api: ServiceApi, path: str) -> None:
    headers = api.headers("somebody", **{"Content-Type": "application/json", "Content-Encoding": "gzip"})

    response = api.client.post(path, content=gzip.compress(json.dumps(api.body()).encode()), headers=headers)

    assert_problem(response, 415, "compressed-body")
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("path", ["/v1/consents", "/v1/decisions", "/v1/ledger/checkpoint"])
def test_of_two_credentials_none_is_taken(api: ServiceApi, path: str) -> None:
    other = ("Authorization", f"Bearer {api.other_keys['backend']}")
    headers = [*api.headers("somebody").items(), other]

    assert_problem(api.client.get(path, headers=headers), 401, "unauthenticated")


def test_a_line_of_a_batch_is_the_same_whatever_ends_it(api: ServiceApi) -> None:
    lines = [
        json.dumps({**api.body(), "subject": f"line-{n}", "idempotency_key": f"line-{n}"}) for n in range(2)
    ]

    answers = [
        api.client.post("/v1/decisions/batch", content=text, headers=api.headers())
        for text in ("\n".join(lines), "\r\n".join(lines) + "\r\n", "\n\n  " + " \t\n\r\n".join(lines))
    ]

    assert {answer.text for answer in answers} == {answers[0].text}
    assert [json.loads(line)["status"] for line in answers[0].text.splitlines()] == [201, 201]
