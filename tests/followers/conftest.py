"""One running service for each kind of database and file of tests, and fresh ones for those that break it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.followers.following import Place
from tests.postgres import PostgresServer
from tests.servers import ConsentServer


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A database that the tests of one file share: each has subjects of its own."""
    folder = tmp_path_factory.mktemp("place")
    url = f"sqlite:///{folder / 'consent.db'}"
    if request.param == "postgresql":
        url = postgres_server.url(postgres_server.create_database())
    place = Place(url, folder)
    yield place
    place.close()


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[ConsentServer]:
    """A service process on the shared database."""
    with place.serve() as server:
        yield server


@pytest.fixture
def own_place(migrated_url: str, tmp_path: Path) -> Iterator[Place]:
    """A database of the test's own."""
    place = Place(migrated_url, tmp_path)
    yield place
    place.close()
