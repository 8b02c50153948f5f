"""Who may call what: every route of the OpenAPI document, with every kind of credential, of both tenants.

A route that is added without a word about its callers fails here: `EVERYBODY` lists those that need none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

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
    ("get", "/.well-known/gpc.json"),
    ("get", "/ofrep/v1/stream"),  # its address has a ticket, which stands for the credential that got it
}
"""What needs no credential: nothing of a subject is in any of it."""
OPEN_ENDED = {("get", "/v1/stream")}
"""What does not end by itself."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route, and the roles that its document names."""

    method: str
    path: str
    roles: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    def call(self, api: ServiceApi, credential: str | None, *, subject: str | None = None) -> httpx2.Response:
        """Call it with a credential, a body that is none and, unless a token does, a subject's name."""
        path = re.sub(r"\{(\w+)(:path)?\}", "0", self.path)
        headers = {"Content-Type": "application/json"}
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        if subject is not None:
            headers["Consent-Subject"] = subject
        return api.client.request(self.method, path, headers=headers, content=b"nonsense")


def operations(api: ServiceApi) -> Iterator[Operation]:
    document: dict[str, Any] = api.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            roles = [role for requirement in operation["security"] for role in requirement.get("bearer", ())]
            everybody = {} in operation["security"]
            assert everybody == ((method, path) in EVERYBODY), f"{method} {path}: who may call it?"
            if not everybody and (method, path) not in OPEN_ENDED:
                yield Operation(method, path, frozenset(roles))


def credentials(api: ServiceApi, keys: dict[str, str]) -> dict[str, str]:
    return {**keys, "subject": api.token("somebody", key=keys["backend"])}


def test_every_route_that_is_not_for_everybody_names_its_roles(api: ServiceApi) -> None:
    found = list(operations(api))

    assert len(found) > 20
    assert all(operation.roles <= set(CREDENTIALS) and operation.roles for operation in found)


def test_without_a_credential_no_route_answers(api: ServiceApi) -> None:
    for operation in operations(api):
        for credential in (None, "ck_unknown", "pk_unknown", "a.b.c"):
            assert_problem(operation.call(api, credential, subject="somebody"), 401, "unauthenticated")


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


def test_no_route_shows_one_tenants_subject_to_another(api: ServiceApi) -> None:
    before = api.sizes()
    secret = "canary-of-the-default-tenant"
    api.decide(secret, {"coupons": "granted"})
    assert api.sizes() == [before[0] + 1, before[1]]
    ours = {path: api.get(path, secret).text for path in ("/v1/consents", "/v1/decisions")}
    ref = api.post("/v1/gate", {"purposes": ["coupons"]}, secret).json()["subject"]

    for operation in operations(api):
        if operation.method == "get":
            response = operation.call(api, api.other_keys["admin"], subject=secret)
            assert ref not in response.text
            assert response.text not in ours.values()
    theirs = api.post("/v1/gate", {"purposes": ["coupons"]}, secret, key=api.other_keys["backend"]).json()

    assert theirs["subject"] != ref
    assert theirs["verdicts"]["coupons"]["reason"] == "never_asked"
    assert [entry["index"] for entry in api.get("/v1/decisions", secret).json()["decisions"]] == [before[0]]


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
