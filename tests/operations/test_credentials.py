"""A new publishable key works at once, whatever was asked about its origin before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consent_service.errors import InvalidInput
from consent_service.operations.credentials import Credentials
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, list_keys
from tests.installation import Installation

SHOP, OTHER = "https://shop.example", "https://other.example"


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(home=tmp_path, database_url=database_url) as installation:
        yield installation


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://shop.example/",
        "https://ana@shop.example",
        "HTTPS://shop.example",
        "*",
        "null",
        "https://shop.example:443",
        "http://shop.example:80",
        "http://shop.example:080",
    ],
)
def test_an_origin_that_no_browser_sends_gets_no_key(installation: Installation, origin: str) -> None:
    deployment = installation.service.deployment

    with pytest.raises(InvalidInput):
        create_api_key(deployment, installation.tenant, Role.BROWSER, origins=[origin])

    assert list_keys(deployment, installation.tenant) == []


def test_a_port_that_is_not_the_schemes_own_belongs_to_an_origin(installation: Installation) -> None:
    origins = ["http://localhost:3000", "http://shop.example:443", "https://shop.example:8443"]

    create_api_key(installation.service.deployment, installation.tenant, Role.BROWSER, origins=origins)

    [key] = list_keys(installation.service.deployment, installation.tenant)
    assert list(key.origins) == origins


def test_a_page_with_a_new_key_is_known_before_the_cache_is_over(installation: Installation) -> None:
    seconds = 0.0
    deployment = installation.service.deployment
    credentials = Credentials(deployment, monotonic=lambda: seconds)
    create_api_key(deployment, installation.tenant, Role.BROWSER, origins=[SHOP])
    assert credentials.origin_tenants(SHOP) == {installation.tenant.id}
    assert credentials.origin_tenants(OTHER) == frozenset()
    newcomer = create_tenant(deployment, "newcomer")
    create_api_key(deployment, newcomer, Role.BROWSER, origins=[SHOP, OTHER])

    seconds = 0.2

    assert credentials.origin_known(SHOP)
    assert credentials.is_bound(newcomer, SHOP)
    assert credentials.origin_tenants(OTHER) == {newcomer.id}


def test_an_origin_that_nobody_named_is_looked_up_ten_times_a_second_at_most(
    installation: Installation,
) -> None:
    seconds = 0.0
    credentials = Credentials(installation.service.deployment, monotonic=lambda: seconds)
    assert credentials.origin_tenants(OTHER) == frozenset()

    seconds = 0.05

    assert credentials.origin_known("https://elsewhere.example")
    assert not credentials.is_bound(installation.tenant, OTHER)
    seconds = 0.2
    assert not credentials.origin_known("https://elsewhere.example")
