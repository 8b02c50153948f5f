"""Fixtures of the SDK's tests."""

from collections.abc import Iterator

import pytest
from stand_in import StandIn


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A stand-in server, stopped at the end."""
    server = StandIn()
    yield server
    server.close()


@pytest.fixture(scope="session")
def django_configured() -> None:
    """Django with the settings of the example shop."""
    import django  # noqa: PLC0415  # for two files only

    from examples.shops import django_shop  # noqa: PLC0415  # as above

    django_shop.configure()
    django.setup()
