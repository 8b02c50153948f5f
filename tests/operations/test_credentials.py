"""A new publishable key works at once, whatever was asked about its origin before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consent_service.operations.credentials import Credentials
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant
from tests.installation import Installation

SHOP, OTHER = "https://shop.example", "https://other.example"


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(home=tmp_path, database_url=database_url) as installation:
        yield installation


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
