"""The HTTP API under test: the real application on a real database, two tenants, every kind of key."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.api.app import create_app
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.settings import Settings
from consent_service.storage.ledger_store import Head, read_head
from consent_service.storage.scope import TenantScope
from tests.builders import ChoiceName, a_notice
from tests.installation import Commits, StoppedClock, check_ledger

SHOP = "https://shop.example"
"""The web origin of the default tenant's publishable key."""
OTHER_SHOP = "https://other.example"
"""The web origin of the other tenant's."""

Json = dict[str, Any]


class ServiceApi:
    """A client of a running application.

    `keys` has a credential of each role of the default tenant, `other_keys` of the other one. Both have
    published a notice: the default one the example, the other one its own words.
    """

    def __init__(self, *, home: Path, database_url: str, **settings: object) -> None:
        self.clock = StoppedClock()
        given: dict[str, Any] = {"credential_cache_seconds": 0.0, **settings}
        self.settings = Settings(home=home, database_url=SecretStr(database_url), **given)
        self.app = create_app(self.settings, clock=self.clock)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self._commits = Commits(database_url)
        self._verified_after = ""
        self.keys: dict[str, str] = {}
        self.other_keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.client.__enter__()
        self.tenant: Tenant = require_tenant(self.service.deployment, "default")
        self.other: Tenant = create_tenant(self.service.deployment, "other")
        self.keys = self._keys_of(self.tenant, SHOP)
        self.other_keys = self._keys_of(self.other, OTHER_SHOP)
        self._publish(self.tenant, {})
        self._publish(self.other, {"purposes/coupons/version": 7})
        self.notice = str(self.get("/v1/notice").json()["digest"])
        self.other_notice = str(self.get("/v1/notice", key=self.other_keys["backend"]).json()["digest"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)
        self._commits.close()

    @property
    def service(self) -> ConsentService:
        """The running service."""
        service: ConsentService = self.app.state.service
        return service

    def _keys_of(self, tenant: Tenant, origin: str) -> dict[str, str]:
        deployment = self.service.deployment
        return {
            role.value: create_api_key(
                deployment, tenant, role, origins=(origin,) if role is Role.BROWSER else ()
            ).key
            for role in Role
        }

    def _publish(self, tenant: Tenant, changes: Mapping[str, object]) -> None:
        self.service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice(changes)))

    def headers(self, subject: str | None = None, *, key: str | None = None, **more: str) -> dict[str, str]:
        """Return the headers of a backend (or of another credential) about a subject."""
        named = {} if subject is None else {"Consent-Subject": subject}
        return {"Authorization": f"Bearer {key or self.keys['backend']}", **named, **more}

    def get(self, path: str, subject: str | None = None, *, key: str | None = None) -> httpx2.Response:
        """GET as a backend."""
        return self.client.get(path, headers=self.headers(subject, key=key))

    def post(
        self, path: str, document: object, subject: str | None = None, *, key: str | None = None
    ) -> httpx2.Response:
        """POST a JSON document as a backend."""
        return self.client.post(path, json=document, headers=self.headers(subject, key=key))

    def body(self, choices: object = None, **changes: object) -> Json:
        """Return the body of a decision that is good, unless a change spoils it."""
        return {
            "notice": self.notice,
            "choices": {"coupons": "granted"} if choices is None else choices,
            "method": "save",
            "source": "banner",
            "language": "en",
            **changes,
        }

    def decide(
        self, subject: str, choices: Mapping[str, ChoiceName] | None = None, **changes: object
    ) -> httpx2.Response:
        """Record a decision as a backend."""
        return self.post("/v1/decisions", self.body(choices, **changes), subject)

    def reasons(self, subject: str, *purposes: str, headers: Mapping[str, str] | None = None) -> list[str]:
        """Ask the gate as a backend and return its reasons in the order of the purposes."""
        answer = self.client.post(
            "/v1/gate",
            json={"purposes": list(purposes)},
            headers={**self.headers(subject), **(headers or {})},
        )
        verdicts = answer.json()["verdicts"]
        return [verdicts[purpose]["reason"] for purpose in purposes]

    def token(self, subject: str, *, key: str | None = None) -> str:
        """Return a subject token."""
        answer = self.client.post("/v1/subject/token", headers=self.headers(subject, key=key))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def heads(self) -> list[Head]:
        """Return where both tenants' ledgers stand, unverified."""
        deployment = self.service.deployment
        with deployment.database.reading() as connection:
            return [read_head(TenantScope(connection, tenant.id)) for tenant in (self.tenant, self.other)]

    def sizes(self) -> list[int]:
        """Verify both tenants' ledgers and return how many entries they have."""
        return [verified.size for verified in check_ledger(self.service)]

    def check(self) -> None:
        """Verify both tenants' ledgers, unless nobody has written anything since they were verified here."""
        commits = self._commits.so_far()
        if commits != self._verified_after:
            self.sizes()
            self._verified_after = commits


def assert_problem(response: httpx2.Response, status: int, slug: str | None = None) -> Json:
    """Check that a response is an RFC 9457 problem of this status and type; return its document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem: Json = response.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    assert problem["detail"]
    if slug is not None:
        assert problem["type"] == f"/problems/{slug}"
    return problem
