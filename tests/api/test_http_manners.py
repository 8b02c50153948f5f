"""What any HTTP client expects of a server, and what would otherwise be taken for something else."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from tests.builders import NOW
from tests.servers import ConsentServer
from tests.service_api import ServiceApi, assert_problem

DIGESTS = ["/v1/notice", "/v1/notice?language=fr", "/v1/notices/{digest}"]


def notice_path(api: ServiceApi, path: str) -> str:
    return path.format(digest=api.body()["notice"])


@pytest.mark.parametrize(
    "path", [*DIGESTS, "/health", "/ready", "/docs", "/v1/ledger/checkpoint", "/v1/consents"]
)
def test_head_is_answered_as_get_without_the_body(api: ServiceApi, path: str) -> None:
    path = notice_path(api, path)
    got = api.client.get(path, headers=api.headers("somebody"))

    asked = api.client.head(path, headers=api.headers("somebody"))

    assert (asked.status_code, asked.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "etag"):
        assert asked.headers.get(name) == got.headers.get(name)


def test_head_of_what_asks_for_a_credential_asks_for_it_too(api: ServiceApi) -> None:
    assert api.client.head("/v1/consents").status_code == 401


@pytest.mark.parametrize("path", ["/v1/stream", "/ofrep/v1/stream", "/v1/audit/export", "/v1/gate"])
def test_head_of_what_has_no_end_or_no_get_is_refused(api: ServiceApi, path: str) -> None:
    response = api.client.head(path, headers=api.headers())

    assert response.status_code == 405
    assert "HEAD" not in response.headers["allow"]


@pytest.mark.parametrize("named", ["{tag}", 'W/{tag}, "other"', "*"])
@pytest.mark.parametrize("path", DIGESTS)
def test_a_notice_that_the_caller_has_is_not_sent_again(api: ServiceApi, path: str, named: str) -> None:
    first = api.client.get(notice_path(api, path))
    tag = first.headers["etag"]

    again = api.client.get(notice_path(api, path), headers={"If-None-Match": named.format(tag=tag)})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert again.headers["cache-control"] == first.headers["cache-control"]


def test_a_notice_in_another_language_is_sent(api: ServiceApi) -> None:
    tag = api.client.get("/v1/notice?language=fr").headers["etag"]

    assert api.client.get("/v1/notice?language=en", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/notice/", "/v1/gate/", "/v1/consents/", "/docs/"])
def test_an_address_with_a_slash_too_many_leads_nowhere(api: ServiceApi, path: str) -> None:
    response = api.client.get(path, headers=api.headers("somebody"), follow_redirects=False)

    assert_problem(response, 404, "not-found")


@pytest.mark.parametrize(
    "member",
    [
        '"gpc": true, "gpc": false',
        '"method": "refuse_all"',
        '"decided_at": null, "decided_at": null',
        '"evidence": null, "evidence": "' + "0" * 64 + '"',
        '"s\\u006furce": "call_centre"',
    ],
)
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/decisions/batch"])
def test_a_member_that_comes_twice_is_refused(api: ServiceApi, path: str, member: str) -> None:
    batch = path.endswith("batch")
    decision = api.body(None, **({"subject": "somebody", "idempotency_key": "twice"} if batch else {}))
    body = json.dumps(decision)[:-1] + f", {member}}}"

    response = api.client.post(path, content=body, headers=api.headers(None if batch else "somebody"))

    problem = json.loads(response.content)
    assert (problem["type"], problem["status"]) == ("/problems/malformed-body", 422)
    assert problem["detail"] == "Every member of a JSON object comes once."


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/gate", '{"purposes": ["coupons"], "purposes": ["recommendations"]}'),
        ("/v1/gate", '{"purposes": [], "purposes": ["coupons"]}'),
        ("/v1/gate", '{"purposes": ["coupons"], "purpo\\u0073es": ["coupons"]}'),
        ("/v1/subject/link", '{"anonymous": "visitor-1", "anonymous": "visitor-2"}'),
    ],
)
def test_a_question_or_a_link_with_a_member_twice_is_refused(api: ServiceApi, path: str, body: str) -> None:
    for visitor in ("visitor-1", "visitor-2"):
        api.decide(visitor)

    response = api.client.post(
        path, content=body, headers=api.headers("somebody", **{"Content-Type": "application/json"})
    )

    assert assert_problem(response, 422, "malformed-body")["detail"] == (
        "Every member of a JSON object comes once."
    )


def test_a_question_to_the_gate_with_every_purpose_once_is_answered(api: ServiceApi) -> None:
    body = '{"purposes": ["coupons", "\\u0063oupons", "a\\"b"]}'

    response = api.client.post("/v1/gate", content=body, headers=api.headers("somebody"))

    assert list(response.json()["verdicts"]) == ["coupons", 'a"b']


def test_a_decision_with_every_member_once_is_recorded(api: ServiceApi) -> None:
    members = {"gpc": False, "evidence": "0" * 64, "decided_at": None}
    line = json.dumps(api.body(None, subject="somebody", idempotency_key="once", **members))

    recorded = api.client.post("/v1/decisions/batch", content=line, headers=api.headers())

    assert json.loads(recorded.content)["status"] == 201


def test_a_notice_with_a_member_twice_is_refused(api: ServiceApi) -> None:
    response = api.client.put(
        "/v1/notice", content='{"notice": 1, "notice": 1}', headers=api.headers(key=api.keys["admin"])
    )

    assert_problem(response, 422, "malformed-body")


def test_two_idempotency_keys_are_refused(api: ServiceApi) -> None:
    headers = [*api.headers("somebody").items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    assert_problem(api.client.post("/v1/decisions", json=api.body(), headers=headers), 400, "invalid-input")


def test_lines_that_say_the_same_are_recorded_each_for_its_own_subject(api: ServiceApi) -> None:
    earlier = {"decided_at": (NOW - timedelta(hours=1)).isoformat()}
    lines = [
        api.body({"coupons": choice}, subject=subject, **clock)
        for subject, choice, clock in (
            ("alike-1", "granted", {}),
            ("alike-2", "granted", {}),
            ("alike-3", "denied", {}),
            ("alike-4", "granted", earlier),
            ("alike-1", "granted", {}),
            ("alike-5", "granted", {}),
        )
    ]

    response = api.client.post(
        "/v1/decisions/batch", content="\n".join(map(json.dumps, lines)), headers=api.headers()
    )

    outcomes = [json.loads(line)["consents"]["coupons"] for line in response.text.splitlines()]
    statuses = [outcome["status"] for outcome in outcomes]
    assert statuses == ["given", "given", "refused", "given", "renewed", "given"]
    ends = [outcome["valid_until"] for outcome in outcomes]
    assert ends[3] < ends[0] == ends[1] == ends[2] == ends[4] == ends[5]
    reasons = [api.reasons(f"alike-{number}", "coupons") for number in range(1, 6)]
    assert reasons == [["granted"], ["granted"], ["refused"], ["granted"], ["granted"]]


def test_an_idempotency_key_for_a_whole_batch_is_refused(api: ServiceApi) -> None:
    """It would be ignored, and a repetition recorded again."""
    line = json.dumps(api.body(None, subject="somebody"))
    headers = {**api.headers(), "Idempotency-Key": "a"}

    assert_problem(
        api.client.post("/v1/decisions/batch", content=line, headers=headers), 400, "invalid-input"
    )


def test_a_problem_of_a_type_has_one_title(api: ServiceApi) -> None:
    nowhere = assert_problem(api.get("/nowhere"), 404, "not-found")
    no_tile = assert_problem(api.get("/v1/ledger/tile/x"), 404, "not-found")

    assert nowhere["title"] == no_tile["title"]


def test_a_language_that_a_notice_lacks_is_answered_with_those_it_has(api: ServiceApi) -> None:
    problem = assert_problem(api.post("/v1/decisions", api.body(language="de"), "somebody"), 400)

    assert problem["detail"].endswith("only in en, fr.")


@pytest.mark.parametrize(
    "request_line", [f"GET /v1/profile?fields={'%C3%A9' * 11_000} HTTP/1.1", "nonsense"], ids=["long", "none"]
)
def test_what_no_request_can_be_read_from_is_refused_as_every_other(
    tmp_path: Path, request_line: str
) -> None:
    database_url = f"sqlite:///{tmp_path / 'consent.db'}"
    with (
        ConsentServer(home=tmp_path, database_url=database_url) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
    ):
        connection.sendall(f"{request_line}\r\nHost: shop.example\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())

    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.headers["Connection"] == "close"
    assert (document["type"], document["status"]) == ("/problems/invalid-input", 400)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The port of a running service, and the key of a backend."""
    home = tmp_path_factory.mktemp("served")
    database_url = f"sqlite:///{home / 'consent.db'}"
    runner = CliRunner(env={"CONSENT_HOME": str(home), "CONSENT_DATABASE_URL": database_url})
    created = runner.invoke(app, ["key", "create", "--role", "backend", "--json"])
    with ConsentServer(home=home, database_url=database_url) as server:
        yield server.port, json.loads(created.stdout)["key"]


_H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


def _chunked(body: bytes) -> tuple[str, list[bytes]]:
    pieces = [body[:9], body[9:], b""]
    return "Transfer-Encoding: chunked\r\n", [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]


def _counted(body: bytes) -> tuple[str, list[bytes]]:
    return f"Content-Length: {len(body)}\r\n", [body[:5], body[5:]]


@pytest.mark.parametrize(
    "upgrade", [_H2C, "Connection: Upgrade\r\nUpgrade: websocket\r\n"], ids=["h2c", "ws"]
)
@pytest.mark.parametrize("framed", [_chunked, _counted])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
def test_who_asks_for_another_protocol_is_answered_by_this_one(
    served: tuple[int, str],
    upgrade: str,
    framed: Callable[[bytes], tuple[str, list[bytes]]],
    *,
    at_once: bool,
) -> None:
    port, key = served
    framing, pieces = framed(b'{"purposes": ["coupons"]}')
    credential = f"Authorization: Bearer {key}\r\nConsent-Subject: ana\r\n"
    head = f"POST /v1/gate HTTP/1.1\r\nHost: shop.example\r\n{credential}{upgrade}{framing}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in [b"".join([head, *pieces])] if at_once else [head[:40], head[40:], *pieces]:
            connection.sendall(part)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())
        end = connection.recv(1)

    assert (answer.status, answer.headers["Connection"], end) == (200, "close", b"")
    assert document["verdicts"]["coupons"]["reason"] == "purpose_unknown"


def test_a_question_that_asks_for_another_protocol_needs_no_body(served: tuple[int, str]) -> None:
    with socket.create_connection(("127.0.0.1", served[0]), timeout=20) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: shop.example\r\n{_H2C}\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()

        assert answer.status == 200
