"""A ledger of some size to spoil: built once on each kind of database, put back after every test."""

from collections.abc import Iterator

import pytest

from tests.builders import a_notice
from tests.installation import Installation, Tampering
from tests.postgres import PostgresServer

# ruff: noqa: S608  # the tables are listed here

TABLES = ("entry", "record", "tile", "checkpoint", "head", "notice", "subject", "tenant")
LINKED = "customer-5"


def fill(installation: Installation) -> None:
    """Append a notice, 300 decisions of 100 subjects, a notice, a visitor and her link, 300 decisions."""
    installation.publish()
    _three_hundred(installation)
    installation.clock.advance(days=1)
    installation.publish(a_notice({"purposes/coupons/version": 2}))
    installation.decide("visitor", {"coupons": "denied", "ai_assistance": "granted"})
    installation.link("visitor", LINKED)
    _three_hundred(installation)


def _three_hundred(installation: Installation) -> None:
    digest = installation.current.digest
    answers = installation.decide_all(
        [
            installation.request(
                f"customer-{number % 100}",
                {"coupons": "granted" if number % 3 else "denied"},
                notice=digest,
            )
            for number in range(300)
        ]
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that the tests of one file share."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('shared') / 'consent.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="module")
def shared_installation(
    shared_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, Tampering]]:
    """The filled installation, without its triggers, and a copy of every table."""
    with Installation(home=tmp_path_factory.mktemp("home"), database_url=shared_url) as installation:
        fill(installation)
        tampering = Tampering(shared_url)
        tampering.drop_triggers()
        for table in TABLES:
            tampering.run(f"CREATE TABLE saved_{table} AS SELECT * FROM {table}")
        yield installation, tampering
        tampering.close()


@pytest.fixture
def filled(shared_installation: tuple[Installation, Tampering]) -> Installation:
    """The filled installation."""
    return shared_installation[0]


@pytest.fixture
def spoil(shared_installation: tuple[Installation, Tampering]) -> Iterator[Tampering]:
    """A way into its database behind the service's back; what was done is undone after the test."""
    tampering = shared_installation[1]
    yield tampering
    tampering.run_all(
        [
            *(f"DELETE FROM {table}" for table in TABLES if table != "tenant"),
            "UPDATE tenant SET origin = (SELECT origin FROM saved_tenant)",
            *(f"INSERT INTO {table} SELECT * FROM saved_{table}" for table in TABLES if table != "tenant"),
        ]
    )
