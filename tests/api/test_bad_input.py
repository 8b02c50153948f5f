"""Whatever a caller gets wrong: a clear problem, and nothing stored. On both databases."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import httpx2
import jwt
import pytest

from consent_service.operations.manage_tenants import Role, create_api_key, revoke_key
from tests.builders import NOW
from tests.service_api import ServiceApi, assert_problem

Act = Callable[[ServiceApi], httpx2.Response]


@pytest.fixture(autouse=True)
def nothing_stored(api: ServiceApi) -> Iterator[None]:
    """Whatever these tests send is refused: the heads, which `api` verifies then, must not move."""
    before = api.heads()
    yield
    assert api.heads() == before


def body_with(**changes: object) -> Act:
    return lambda api: api.post("/v1/decisions", {**api.body(), **changes}, "somebody")


def raw(body: bytes, **headers: str) -> Act:
    return lambda api: api.client.post(
        "/v1/decisions", content=body, headers={**api.headers("somebody"), **headers}
    )


DECISIONS: Mapping[str, tuple[Act, int, str]] = {
    "an unknown purpose": (body_with(choices={"cupons": "granted"}), 400, "unknown-purpose"),
    "an unknown notice": (body_with(notice="0" * 64), 404, "unknown-notice"),
    "another tenant's notice": (
        lambda api: api.post("/v1/decisions", api.body(notice=api.other_notice), "somebody"),
        404,
        "unknown-notice",
    ),
    "a digest that is none": (body_with(notice="latest"), 422, "malformed-body"),
    "no notice": (body_with(notice=None), 422, "malformed-body"),
    "no choice": (body_with(choices={}), 422, "malformed-body"),
    "a choice of neither kind": (body_with(choices={"coupons": "maybe"}), 422, "malformed-body"),
    "a choice that is a boolean": (body_with(choices={"coupons": True}), 422, "malformed-body"),
    "too many choices": (
        body_with(choices={f"p{number}": "granted" for number in range(101)}),
        422,
        "malformed-body",
    ),
    "a clock in the future": (
        body_with(decided_at=(NOW + timedelta(minutes=5, milliseconds=1)).isoformat()),
        400,
        "clock-out-of-bounds",
    ),
    "an ancient clock": (
        body_with(decided_at=(NOW - timedelta(days=30, milliseconds=1)).isoformat()),
        400,
        "clock-out-of-bounds",
    ),
    "the end of time": (body_with(decided_at="9999-12-31T23:59:59-23:59"), 400, "clock-out-of-bounds"),
    "the beginning of time": (body_with(decided_at="0001-01-01T00:00:00+23:59"), 400, "clock-out-of-bounds"),
    "a time without a zone": (body_with(decided_at="2026-11-21T12:00:00"), 422, "malformed-body"),
    "a time in seconds": (body_with(decided_at=1_795_000_000), 422, "malformed-body"),
    "a time in seconds, quoted": (body_with(decided_at="1795000000"), 422, "malformed-body"),
    "a date": (body_with(decided_at="2026-11-21"), 422, "malformed-body"),
    "a language the notice was never written in": (body_with(language="de"), 400, "invalid-decision"),
    "a language that is none": (body_with(language="en_US; drop"), 400, "invalid-decision"),
    "a method that is no word": (body_with(method="Save!"), 422, "malformed-body"),
    "a method with a line break": (body_with(method="save\n"), 422, "malformed-body"),
    "a signal that grants": (body_with(method="gpc"), 400, "invalid-decision"),
    "evidence that is no digest": (body_with(evidence="call.wav"), 422, "malformed-body"),
    "a member nobody knows": (body_with(consent=True), 422, "malformed-body"),
    "not JSON": (raw(b"{'notice': 1}"), 422, "malformed-body"),
    "JSON that ends too early": (raw(b'{"notice": "'), 422, "malformed-body"),
    "nothing": (raw(b""), 422, "malformed-body"),
    "no object": (raw(b"[]"), 422, "malformed-body"),
    "bytes that are no UTF-8": (raw(b'{"notice": "\xff"}'), 422, "malformed-body"),
    "half a surrogate pair": (raw(b'{"choices": {"\\ud800": "granted"}}'), 422, "malformed-body"),
    "nesting without end": (raw(b"[" * 20_000), 422, "malformed-body"),
    "a number without end": (raw(b'{"gpc": ' + b"9" * 5000 + b"}"), 422, "malformed-body"),
    "a body beyond the limit": (raw(b" " * 65_537), 413, "body-too-large"),
    "a length that lies": (raw(b"{}", **{"Content-Length": "9" * 30}), 413, "body-too-large"),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_that_cannot_be_recorded_is_refused_with_the_reason(api: ServiceApi, name: str) -> None:
    act, status, slug = DECISIONS[name]

    assert_problem(act(api), status, slug)


@pytest.mark.parametrize(
    "choices",
    [
        '{"coupons": "denied", "coupons": "granted"}',
        '{"coupons": "denied", "c\\u006fupons": "granted"}',
        '{"coupons": "\\u0064enied", "coupons": "granted"}',
    ],
)
def test_a_purpose_that_is_both_denied_and_granted_is_refused(api: ServiceApi, choices: str) -> None:
    body = json.dumps(api.body()).replace('{"coupons": "granted"}', choices)

    response = api.client.post("/v1/decisions", content=body, headers=api.headers("somebody"))

    assert_problem(response, 422, "malformed-body")


def test_choices_given_twice_are_refused(api: ServiceApi) -> None:
    body = '{"choices": {"coupons": "denied"}, ' + json.dumps(api.body())[1:]

    response = api.client.post("/v1/decisions", content=body, headers=api.headers("somebody"))

    assert_problem(response, 422, "malformed-body")


def test_a_hopeless_body_gets_an_answer_of_bounded_size(api: ServiceApi) -> None:
    choices = {f"purpose-{number}": 1 for number in range(2000)}

    response = api.post("/v1/decisions", api.body(choices), "somebody")

    assert len(assert_problem(response, 422)["problems"]) <= 20


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/decisions", 65_536),
        ("/v1/gate", 65_536),
        ("/v1/subject/link", 65_536),
        ("/v1/decisions/batch", 4_194_304),
    ],
)
def test_a_body_that_comes_in_pieces_is_counted_too(api: ServiceApi, path: str, limit: int) -> None:
    pieces = iter([b" " * 65_536] * (limit // 65_536 + 1))

    response = api.client.post(path, content=pieces, headers=api.headers("somebody"))

    assert_problem(response, 413, "body-too-large")


def test_a_notice_beyond_the_limit_is_refused(api: ServiceApi) -> None:
    response = api.client.put(
        "/v1/notice", content=b" " * 4_194_305, headers=api.headers(key=api.keys["admin"])
    )

    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        ("application/json", b"{", 422),
        ("application/json", b"[]", 422),
        ("application/json", b"[" * 100_000, 422),
        ("application/json", b'{"notice": 1}', 400),
        ("application/json", b'{"notice": ' + b"9" * 5000 + b"}", 422),
        ("application/yaml", b"\xff", 422),
        ("application/yaml", b"notice: 1", 400),
        ("application/yaml", b"notice: !!python/object:os.system {}", 400),
        ("text/html", b"<p>", 422),
    ],
    ids=str,
)
def test_a_notice_that_cannot_be_read_is_refused(
    api: ServiceApi, media_type: str, body: bytes, status: int
) -> None:
    headers = api.headers(key=api.keys["admin"], **{"Content-Type": media_type})

    assert_problem(api.client.put("/v1/notice", content=body, headers=headers), status)


@pytest.mark.parametrize(
    "value",
    ["%", "%4", "%zz", "100%", "%C3%28", "%ED%A0%80", "%00", "%0A", "%7F", "", "x" * 257, "%41" * 1500],
)
def test_a_subject_that_is_badly_encoded_is_refused(api: ServiceApi, value: str) -> None:
    response = api.client.post("/v1/gate", json={"purposes": ["coupons"]}, headers=api.headers(value))

    assert_problem(response, 400, "invalid-subject")


def test_a_subject_in_raw_bytes_is_refused(api: ServiceApi) -> None:
    headers = [
        (name.encode(), value.encode("latin-1"))
        for name, value in {**api.headers(), "Consent-Subject": "zo\xe9"}.items()
    ]

    response = api.client.get("/v1/consents", headers=headers)

    assert_problem(response, 400, "invalid-subject")


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/gate"])
def test_a_request_about_nobody_or_about_two_is_refused(api: ServiceApi, path: str, count: int) -> None:
    headers = [*api.headers().items(), *[("Consent-Subject", f"customer-{n}") for n in range(count)]]

    response = api.client.post(path, json=api.body(), headers=headers)

    assert_problem(response, 400, "invalid-subject")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic Y2s6",
        "Bearer ck_unknown",
        "Bearer ck_" + "x" * 3000,
        "Bearer pk_unknown",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer a.b.c",
        "Bearer \xe9",
    ],
)
def test_without_a_good_credential_there_is_no_answer(api: ServiceApi, authorization: str) -> None:
    headers = [(b"Consent-Subject", b"somebody"), (b"Authorization", authorization.encode("latin-1"))]

    for response in (
        api.client.post("/v1/decisions", json=api.body(), headers=headers),
        api.client.post("/v1/gate", json={"purposes": ["coupons"]}, headers=headers),
        api.client.get("/v1/consents", headers=headers),
        api.client.get("/v1/decisions", headers=headers),
    ):
        assert_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == 'Bearer realm="consent"'


def test_a_credential_is_asked_for_before_the_body_is_looked_at(api: ServiceApi) -> None:
    assert_problem(api.client.post("/v1/decisions", content=b"nonsense"), 401)
    assert_problem(api.client.post("/v1/gate", content=b"nonsense"), 401)


def test_a_revoked_key_is_refused(api: ServiceApi) -> None:
    created = create_api_key(api.service.deployment, api.tenant, Role.BACKEND)
    assert api.get("/v1/consents", "somebody", key=created.key).status_code == 200
    assert revoke_key(api.service.deployment, api.tenant, created.id)

    assert_problem(api.get("/v1/consents", "somebody", key=created.key), 401, "unauthenticated")


def test_a_key_is_revoked_by_its_own_tenant_only(api: ServiceApi) -> None:
    created = create_api_key(api.service.deployment, api.tenant, Role.BACKEND)

    revoked = revoke_key(api.service.deployment, api.other, created.id)

    assert not revoked
    assert api.get("/v1/consents", "somebody", key=created.key).status_code == 200


def test_a_wrong_tenants_key_sees_nothing_of_the_subject(api: ServiceApi) -> None:
    digest = api.other_notice
    answer = api.post("/v1/decisions", api.body(), "somebody", key=api.other_keys["backend"])
    assert_problem(answer, 404, "unknown-notice")

    consents = api.get("/v1/consents", "somebody", key=api.other_keys["backend"]).json()["consents"]

    assert {consent["status"] for consent in consents.values()} == {"unknown"}
    assert_problem(api.client.get(f"/v1/notices/{digest}", headers=api.headers()), 404, "unknown-notice")


def tampered(token: str) -> Iterator[str]:
    header, claims, signature = token.split(".")
    yield f"{header}.{claims}.{'A' * len(signature)}"
    yield f"{header}.{claims}."
    yield f"{header}.{claims}"
    unsigned = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", algorithm="none")
    yield unsigned
    changed = {**jwt.decode(token, options={"verify_signature": False}), "exp": 9_999_999_999}
    yield jwt.encode(changed, "k" * 32, algorithm="HS256", headers={"kid": "1"})
    yield jwt.encode(changed, "k" * 32, algorithm="HS256", headers={"kid": "99"})
    yield jwt.encode(changed, "k" * 32, algorithm="HS256", headers={"kid": "first"})
    yield jwt.encode(changed, "k" * 32, algorithm="HS256")


def test_a_tampered_subject_token_is_refused(api: ServiceApi) -> None:
    for token in tampered(api.token("somebody")):
        assert_problem(
            api.client.get("/v1/consents", headers={"Authorization": f"Bearer {token}"}),
            401,
            "unauthenticated",
        )


def test_an_expired_subject_token_is_refused(api: ServiceApi) -> None:
    headers = {"Authorization": f"Bearer {api.token('somebody')}"}
    before = api.client.get("/v1/consents", headers=headers).status_code
    now = api.clock.now

    api.clock.advance(seconds=api.settings.subject_token_seconds)
    after = api.client.get("/v1/consents", headers=headers)

    api.clock.now = now
    assert before == 200
    assert_problem(after, 401, "unauthenticated")


def test_a_foreign_tenants_token_says_nothing_about_our_subjects(api: ServiceApi) -> None:
    foreign = api.token("somebody", key=api.other_keys["backend"])

    answer = api.client.post("/v1/decisions", json=api.body(), headers={"Authorization": f"Bearer {foreign}"})

    assert_problem(answer, 404, "unknown-notice")


def test_a_token_is_not_good_under_another_tenants_number(api: ServiceApi) -> None:
    header = {"kid": str(api.other.id)}
    claims = jwt.decode(api.token("somebody"), options={"verify_signature": False})
    forged = jwt.encode(claims, api.tenant.token_key, algorithm="HS256", headers=header)

    answer = api.client.get("/v1/consents", headers={"Authorization": f"Bearer {forged}"})

    assert_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("subject", ["somebody", "somebody-else"])
def test_a_token_beside_a_subject_header_is_refused(api: ServiceApi, subject: str) -> None:
    headers = {"Authorization": f"Bearer {api.token('somebody')}", "Consent-Subject": subject}

    for response in (
        api.client.post("/v1/decisions", json=api.body(), headers=headers),
        api.client.get("/v1/consents", headers=headers),
        api.client.get("/v1/decisions", headers=headers),
    ):
        assert_problem(response, 403, "forbidden")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\xe9"])
def test_an_idempotency_key_that_is_none_is_refused(api: ServiceApi, key: str) -> None:
    headers = [
        *((name.encode(), value.encode()) for name, value in api.headers("somebody").items()),
        (b"Idempotency-Key", key.encode("latin-1")),
    ]

    assert_problem(api.client.post("/v1/decisions", json=api.body(), headers=headers), 400, "invalid-input")


@pytest.mark.parametrize(
    "body", [{}, {"purposes": []}, {"purposes": "coupons"}, {"purposes": [1]}, {"purposes": ["x"] * 101}]
)
def test_a_question_to_the_gate_that_is_none_is_refused(api: ServiceApi, body: object) -> None:
    assert_problem(api.post("/v1/gate", body, "somebody"), 422, "malformed-body")


def test_the_gate_denies_what_nobody_knows(api: ServiceApi) -> None:
    assert api.reasons("somebody", "cupons", "\x00", "é") == ["purpose_unknown"] * 3


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-21", "2026-11-21T12:00:00", "1795000000", ""])
def test_a_moment_that_is_none_is_refused(api: ServiceApi, moment: str) -> None:
    response = api.client.get("/v1/consents", params={"as_of": moment}, headers=api.headers("somebody"))

    assert_problem(response, 400, "invalid-input")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"anonymous": ""}',
        b'{"anonymous": 1}',
        b'{"anonymous": "\\ud800"}',
        b"\xff",
        b"",
    ],
)
def test_a_link_that_cannot_be_read_is_refused(api: ServiceApi, body: bytes) -> None:
    headers = api.headers("somebody", **{"Content-Type": "application/json"})

    assert_problem(api.client.post("/v1/subject/link", content=body, headers=headers), 422, "malformed-body")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/ledger/proof/inclusion", 422),
        ("/v1/ledger/proof/inclusion?index=-1", 422),
        ("/v1/ledger/proof/inclusion?index=99", 404),
        ("/v1/ledger/proof/inclusion?index=0&size=99", 400),
        ("/v1/ledger/proof/inclusion?index=1&size=1", 404),
        (f"/v1/ledger/proof/inclusion?index={2**63}", 422),
        ("/v1/ledger/proof/consistency?from=2&to=1", 400),
        ("/v1/ledger/proof/consistency?from=0&to=99", 400),
        ("/v1/ledger/tile/0/001", 404),
        ("/v1/ledger/tile/0/000", 404),
        ("/v1/ledger/tile/0/000.p/99", 404),
        ("/v1/ledger/tile/63/000.p/1", 404),
        ("/v1/ledger/tile/entries/000", 404),
        ("/v1/ledger/tile/../../etc/passwd", 404),
        ("/v1/ledger/tile/%00", 404),
        ("/v1/notices/latest", 404),
        ("/v1/notices/" + "0" * 64, 404),
        ("/v1/notice?language=de", 400),
        ("/v1/notice?language=" + "e" * 65, 422),
        ("/nowhere", 404),
        ("/v1/../v1/notices/x", 404),
    ],
)
def test_what_is_not_there_is_said_not_to_be(api: ServiceApi, path: str, status: int) -> None:
    assert_problem(api.get(path, key=api.keys["admin"]), status)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/gate", {"POST"}),
        ("PUT", "/v1/decisions", {"GET", "HEAD", "POST"}),
        ("DELETE", "/v1/notice", {"GET", "HEAD", "PUT"}),
        ("POST", "/v1/consents", {"GET", "HEAD"}),
        ("BREW", "/v1/gate", {"POST"}),
    ],
)
def test_a_method_that_a_route_does_not_have_is_refused_with_those_it_has(
    api: ServiceApi, method: str, path: str, allowed: set[str]
) -> None:
    response = api.client.request(method, path, headers=api.headers("somebody"))

    assert_problem(response, 405, "method-not-allowed")
    assert {name.strip() for name in response.headers["allow"].split(",")} == allowed
