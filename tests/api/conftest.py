"""One application for the tests of a file, on each kind of database; both ledgers verify after every test."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer
from tests.service_api import ServiceApi


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running_api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceApi]:
    """The application, running."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "sqlite":
        with ServiceApi(home=home, database_url=f"sqlite:///{home / 'consent.db'}") as api:
            yield api
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    with ServiceApi(home=home, database_url=server.url(name)) as api:
        yield api
    server.drop_database(name)


@pytest.fixture
def api(running_api: ServiceApi) -> Iterator[ServiceApi]:
    """The application, shared by the tests of a file: let each test use subjects of its own."""
    yield running_api
    running_api.check()
