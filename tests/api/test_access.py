"""Who may call what: every route of the OpenAPI document, with every kind of credential, of both tenants.

A route that is added without a word about its callers fails here: `EVERYBODY` lists those that need none,
`PAGES` those that the document leaves out.
"""

import base64
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from consent_service.api.app import _ROUTERS
from consent_service.api.schemas import EXAMPLE_DECISION
from consent_service.operations.manage_tenants import Role, create_api_key, revoke_key
from tests.service_api import OTHER_SHOP, SHOP, ServiceApi, assert_problem

CREDENTIALS = ("admin", "backend", "auditor", "browser", "subject")
EVERYBODY = {
    ("get", "/health"),
    ("get", "/ready"),
    ("get", "/metrics"),
    ("get", "/v1/notice"),
    ("get", "/v1/notices/{digest}"),
    ("get", "/v1/words"),
    ("get", "/v1/banner"),
    ("get", "/v1/banner/markup"),
    ("get", "/ofrep/v1/stream"),  # its address has a ticket, which stands for the credential that got it
}
"""What needs no credential: nothing of a subject is in any of it."""
PAGES = {
    "/.well-known/gpc.json",
    "/banner.js",
    "/dashboard",
    "/dashboard/audit-pack",
    "/dashboard/sign-in",
    "/dashboard/sign-out",
    "/docs",
    "/preferences",
    "/preferences/enter",
    "/preferences/erase",
    "/preferences/personal-data",
    "/preferences/receipts/{index}",
    "/static/{name}",
    "/verify",
    "/verify/verify.py",
}
"""What is not in the document: for people and their browsers, tested beside it and in tests/browser."""
OPEN_ENDED = {("get", "/v1/stream")}
"""What does not end by itself."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route, the roles that its document names, and a body that it takes."""

    method: str
    path: str
    roles: frozenset[str]
    body: bytes | None = None
    media_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    def call(
        self,
        api: ServiceApi,
        credential: str | None,
        *,
        subject: str | None = None,
        origin: str | None = None,
        index: int = 0,
    ) -> httpx2.Response:
        """Call it with a credential, a body that is none and, unless a token does, a subject's name."""
        return self._send(api, credential, subject, b"nonsense", origin=origin, index=index)

    def call_well(
        self, api: ServiceApi, credential: str | None, *, subject: str | None = None, index: int = 0
    ) -> httpx2.Response:
        """Call it with the body of its example."""
        return self._send(api, credential, subject, self.body, index=index, query={"purpose": "coupons"})

    def _send(
        self,
        api: ServiceApi,
        credential: str | None,
        subject: str | None,
        body: bytes | None,
        *,
        origin: str | None = None,
        index: int = 0,
        query: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        path = re.sub(r"\{(\w+)(:path)?\}", str(index), self.path)
        headers = {"Content-Type": self.media_type}
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        if subject is not None:
            headers["Consent-Subject"] = subject
        if origin is not None:
            headers["Origin"] = origin
        return api.client.request(self.method, path, headers=headers, content=body, params=query)


def example_of(
    api: ServiceApi, document: dict[str, Any], operation: dict[str, Any]
) -> tuple[bytes, str] | None:
    """The body that the document shows, about the default tenant's notice, and its media type."""
    for media_type, form in operation.get("requestBody", {}).get("content", {}).items():
        reference = form.get("schema", {}).get("$ref", "").rpartition("/")[2]
        schema = document["components"]["schemas"].get(reference, form.get("schema", {}))
        shown = form.get("example", next(iter(schema.get("examples", ())), {"context": {}}))
        text = shown if isinstance(shown, str) else json.dumps(shown)
        return text.replace(EXAMPLE_DECISION["notice"], api.notice).encode(), media_type
    return None


def operations(api: ServiceApi) -> Iterator[Operation]:
    document: dict[str, Any] = api.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            roles = [role for requirement in operation["security"] for role in requirement.get("bearer", ())]
            everybody = {} in operation["security"]
            assert everybody == ((method, path) in EVERYBODY), f"{method} {path}: who may call it?"
            if not everybody and (method, path) not in OPEN_ENDED:
                body, media_type = example_of(api, document, operation) or (None, "application/json")
                yield Operation(method, path, frozenset(roles), body, media_type)


def credentials(api: ServiceApi, keys: dict[str, str]) -> dict[str, str]:
    return {**keys, "subject": api.token("somebody", key=keys["backend"])}


def test_every_route_that_is_not_for_everybody_names_its_roles(api: ServiceApi) -> None:
    found = list(operations(api))

    assert len(found) > 20
    assert all(operation.roles <= set(CREDENTIALS) and operation.roles for operation in found)


def test_what_is_not_in_the_document_is_a_page(api: ServiceApi) -> None:
    document = api.client.get("/openapi.json").json()
    served = {
        route.path_format for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)
    }

    left_out = served - document["paths"].keys()

    assert left_out == PAGES


def revoked(api: ServiceApi) -> Iterator[str]:
    """A key of each role that was good and is not any more."""
    deployment = api.service.deployment
    for role in Role:
        key = create_api_key(deployment, api.tenant, role, origins=(SHOP,) if role is Role.BROWSER else ())
        assert api.service.credentials.caller(key.key).role == role
        assert revoke_key(deployment, api.tenant, key.id)
        yield key.key


def expired(api: ServiceApi) -> str:
    """A subject token whose time is over; the clock goes back, so that nothing else is."""
    now = api.clock.now
    api.clock.advance(days=-2)
    token = api.token("somebody")
    api.clock.now = now
    return token


def tampered(token: str) -> str:
    """The token with another subject's reference in it and the signature of before."""
    head, claims, signature = token.split(".")
    readable = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed = json.dumps({**readable, "sub": "s_somebody-else"}).encode()
    return f"{head}.{base64.urlsafe_b64encode(changed).decode().rstrip('=')}.{signature}"


def test_without_a_credential_that_is_good_now_no_route_answers(api: ServiceApi) -> None:
    token = api.token("somebody")
    bad = ["ck_unknown", "pk_unknown", "a.b.c", *revoked(api), expired(api), tampered(token), token + "A"]
    before = api.sizes()

    for operation in operations(api):
        for credential in (None, *bad):
            assert_problem(operation.call_well(api, credential, subject="somebody"), 401, "unauthenticated")

    assert api.sizes() == before


def test_from_another_page_no_route_answers_to_what_a_page_holds(api: ServiceApi) -> None:
    for operation in operations(api):
        for role in ("browser", "subject"):
            for origin in (OTHER_SHOP, "https://evil.example", "null"):
                response = operation.call(api, credentials(api, api.keys)[role], origin=origin)
                assert_problem(response, 403, "forbidden")
                assert "access-control-allow-origin" not in response.headers or origin == OTHER_SHOP


def test_a_route_lets_the_roles_through_that_it_names_and_no_other(api: ServiceApi) -> None:
    before = api.sizes()
    for operation in operations(api):
        for role, credential in credentials(api, api.keys).items():
            subject = None if role == "subject" else "somebody"
            response = operation.call(api, credential, subject=subject)

            if role in operation.roles:
                assert response.status_code not in {401, 403}, f"{operation} as {role}: {response.text}"
            else:
                assert_problem(response, 403, "forbidden")
    assert api.sizes() == before


def test_a_role_is_checked_before_what_was_sent(api: ServiceApi) -> None:
    for operation in operations(api):
        for role, credential in credentials(api, api.keys).items():
            if role not in operation.roles:
                assert_problem(operation.call(api, credential), 403, "forbidden")


@dataclass(frozen=True, slots=True)
class Known:
    """A subject of the default tenant of whom something is held, and all by which it would show."""

    name: str
    index: int
    signs: tuple[str, ...]


def a_known_subject(api: ServiceApi) -> Known:
    name, feature, milk = (f"canary{secrets.token_hex(8)}" for _ in range(3))
    index = api.decide(name, {"coupons": "granted", "recommendations": "granted"}).json()["index"]
    ref = api.post("/v1/gate", {"purposes": ["coupons"]}, name).json()["subject"]
    stored = api.client.patch("/v1/profile", json={"purchases": {"basket": milk}}, headers=api.headers(name))
    assert stored.status_code == 200, stored.text
    use = {"purpose": "coupons", "feature": feature[:32]}
    assert api.post("/v1/uses", {"uses": [use]}, name).json() == {"noted": 1}
    return Known(name, index, (name, ref, milk, feature[:32]))


def held_about(api: ServiceApi, known: Known) -> str:
    """Everything that is held about her, but for when it was asked."""
    document = api.get("/v1/personal-data", known.name).json()
    del document["made_at"]
    return json.dumps(document)


def test_no_route_shows_or_changes_one_tenants_subject_for_another(api: ServiceApi) -> None:
    known = a_known_subject(api)
    before, held = api.sizes(), held_about(api, known)
    assert all(sign in held for sign in known.signs)
    theirs = {**api.other_keys, "subject": api.token(known.name, key=api.other_keys["backend"])}

    for operation in operations(api):
        for role, credential in theirs.items():
            subject = None if role == "subject" else known.name
            response = operation.call_well(api, credential, subject=subject, index=known.index)
            assert not [sign for sign in known.signs if sign in response.text], f"{operation} as their {role}"

    assert api.sizes()[0] == before[0]
    assert held_about(api, known) == held


def test_no_route_shows_or_changes_one_subject_for_another(api: ServiceApi) -> None:
    known = a_known_subject(api)
    before, held = api.sizes(), held_about(api, known)
    token = api.token("mallory")

    for operation in operations(api):
        response = operation.call_well(api, token, index=known.index)
        assert not [sign for sign in known.signs if sign in response.text], str(operation)
        if operation.path.startswith("/ofrep"):  # which has no such header
            continue
        named = operation.call_well(api, token, subject=known.name, index=known.index)
        assert_problem(named, 403, "forbidden")

    assert api.sizes()[1] == before[1]
    assert held_about(api, known) == held


def test_the_ledgers_of_two_tenants_are_two(api: ServiceApi) -> None:
    checkpoints = [
        api.get("/v1/ledger/checkpoint", key=keys["auditor"]).text.splitlines()[0]
        for keys in (api.keys, api.other_keys)
    ]

    assert checkpoints == ["consent.local/default", "consent.local/other"]


def test_the_ledger_is_for_everybody_where_the_settings_say_so(database_url: str, tmp_path: Path) -> None:
    with ServiceApi(home=tmp_path / "home", database_url=database_url, ledger_public=True) as api:
        document = api.client.get("/openapi.json").json()
        size = api.sizes()[0]
        tile = api.client.get(f"/v1/ledger/tile/0/000.p/{size}")
        own = api.client.get(f"/v1/ledger/tile/0/000.p/{size}", headers=api.headers())

        assert {} in document["paths"]["/v1/ledger/tile/{path}"]["get"]["security"]
        assert len(tile.content) == 32 * size
        assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert own.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert "authorization" in tile.headers["vary"].lower()


@pytest.mark.parametrize(
    ("role", "origin", "status"),
    [
        ("browser", SHOP, 200),
        ("browser", OTHER_SHOP, 403),
        ("browser", "https://evil.example", 403),
        ("browser", "null", 403),
        ("browser", None, 200),
        ("subject", SHOP, 200),
        ("subject", OTHER_SHOP, 403),
        ("subject", "https://shop.example.evil.example", 403),
        ("subject", None, 200),
        ("backend", "https://evil.example", 200),
    ],
)
def test_what_a_page_holds_is_good_on_its_own_origin_only(
    api: ServiceApi, role: str, origin: str | None, status: int
) -> None:
    credential = credentials(api, api.keys)[role]
    headers = {"Authorization": f"Bearer {credential}"}
    path = "/v1/notice" if role != "subject" else "/v1/consents"
    if origin is not None:
        headers["Origin"] = origin

    assert api.client.get(path, headers=headers).status_code == status


def test_a_page_of_the_services_own_is_no_foreign_one(api: ServiceApi) -> None:
    headers = {"Authorization": f"Bearer {api.keys['browser']}", "Origin": "http://testserver"}

    assert api.client.get("/v1/notice", headers=headers).status_code == 200
