"""One application with one notice, and a client of it that has a key: what most tests of a route need."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import FastAPI
from starlette.testclient import TestClient

from consent_service.api.app import create_app
from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.settings import Settings
from tests.builders import a_notice


@contextmanager
def client_of(
    settings: Settings, role: Role = Role.BACKEND, *, origins: Sequence[str] = ()
) -> Iterator[TestClient]:
    """Start the application, publish the example's notice, and give a client with a key of `role`.

    The ledger has to verify when the test has ended.
    """
    app = create_app(settings)
    with TestClient(app) as client:
        service = service_of(client)
        tenant = require_tenant(service.deployment, "default")
        service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
        key = create_api_key(service.deployment, tenant, role, origins=origins).key
        client.headers["Authorization"] = f"Bearer {key}"
        yield client
        verify_ledger(service.deployment, tenant)


def service_of(client: TestClient) -> ConsentService:
    """Return the service behind a client of `client_of`."""
    app = client.app
    assert isinstance(app, FastAPI)
    service: ConsentService = app.state.service
    return service


def key_of(client: TestClient) -> str:
    """Return the key that the client shows."""
    return client.headers["Authorization"].removeprefix("Bearer ")
