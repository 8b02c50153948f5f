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
