"""Fixtures for every test: a fresh database of either kind, and a free port."""

import gc
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from tests.disks import Disk, MayNotMount, SmallDisk, disk_for_postgresql, disk_for_sqlite
from tests.installation import Installation, Tampering, check_ledger, make_schema
from tests.postgres import EmptyDatabases, PostgresServer
from tests.servers import unused_port
from tests.statements import share_statements

# Each of the hundreds of processes that the tests start would compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long one example takes says more about the machine's other work than about the code.
_profile = settings.get_profile(settings.get_current_profile_name())
settings.register_profile("without-deadline", _profile, deadline=None)
settings.load_profile("without-deadline")

share_statements()

LONGEST_FILES = (
    "tests/faults/test_stopping.py",
    "tests/examples/test_complete_journey.py",
    "tests/followers/test_faults.py",
    "tests/audit/test_scan.py",
    "tests/docs/test_tour.py",
    "tests/packaging/test_release.py",
    "tests/api/test_schemathesis.py",
    "tests/faults/test_killed.py",
    "tests/operations/test_verify_ledger.py",
    "tests/browser/test_honesty_rules.py",
    "tests/vault/test_rotation.py",
    "sdk/python/tests/test_live.py",
    "tests/audit/test_download.py",
    "tests/faults/test_many_writers.py",
    "tests/interop/test_ofrep_shape.py",
    "tests/followers/test_stream.py",
    "tests/vault/test_erasure.py",
    "sdk/python/tests/test_processes.py",
    "tests/api/test_bad_input.py",
    "tests/browser/test_verify_page.py",
    "tests/cli/test_serve.py",
    "tests/api/test_access.py",
    "sdk/python/tests/test_stateful.py",
    "tests/followers/test_relay.py",
    "tests/examples/test_vault.py",
    "sdk/python/tests/test_nats.py",
    "tests/api/test_ofrep.py",
    "tests/browser/test_faults.py",
    "tests/api/test_receipts.py",
    "tests/browser/test_dashboard_page.py",
    "tests/vault/test_races.py",
    "tests/faults/test_overload.py",
    "tests/vault/test_faults.py",
    "tests/browser/test_preference_page.py",
    "tests/api/test_privacy.py",
    "tests/vault/test_profile.py",
    "tests/audit/test_hostile.py",
    "tests/followers/test_witnesses.py",
    "tests/examples/test_hand_over.py",
    "tests/browser/test_surroundings.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the tests: each process of a run has all of them until its end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left alone with one at the end."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for this test process."""
    with TemporaryDirectory(prefix="consent-pg-") as folder:  # a short path: it holds a socket
        server = PostgresServer(Path(folder), fsync=False)
        yield server
        server.stop()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'consent.db'}"


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh empty PostgreSQL database."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh empty database; a test that asks for it runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def sqlite_disk() -> Iterator[Disk]:
    """A disk that can be filled, for SQLite's files."""
    with TemporaryDirectory(prefix="consent-disk-") as folder:
        disk = disk_for_sqlite(Path(folder) / "disk")
        yield disk
        disk.close()


@pytest.fixture
def postgresql_disk() -> Iterator[SmallDisk]:
    """A disk that can be filled, for the tables of `PostgresServer.create_database_in`."""
    with TemporaryDirectory(prefix="consent-disk-") as folder:
        Path(folder).chmod(0o755)  # Under root PostgreSQL is somebody else.
        try:
            disk = disk_for_postgresql(Path(folder) / "disk")
        except MayNotMount as error:
            pytest.skip(f"may not mount a small disk, here or in a namespace of its own: {error}")
        yield disk
        disk.close()


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    return unused_port()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables: copying it is quicker than migrating."""
    path = tmp_path_factory.mktemp("template") / "consent.db"
    make_schema(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def empty_databases(postgres_server: PostgresServer) -> EmptyDatabases:
    """PostgreSQL databases with our tables."""
    template = postgres_server.create_database()
    make_schema(postgres_server.url(template))
    return EmptyDatabases(postgres_server, template)


@pytest.fixture
def migrated_sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database with our tables and nothing in them."""
    copy = tmp_path / "consent.db"
    shutil.copy(sqlite_template, copy)
    copy.chmod(0o600)
    return f"sqlite:///{copy}"


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of either kind with our tables and nothing in them."""
    if request.param == "sqlite":
        yield request.getfixturevalue("migrated_sqlite_url")
        return
    databases: EmptyDatabases = request.getfixturevalue("empty_databases")
    name = databases.take()
    yield databases.server.url(name)
    databases.give_back(name)


@pytest.fixture
def unchecked_installation(migrated_url: str, tmp_path: Path) -> Iterator[Installation]:
    """A service without a notice, whose ledger is not verified at the end: for tests that spoil it."""
    with Installation(home=tmp_path / "home", database_url=migrated_url) as installation:
        yield installation


@pytest.fixture
def installation(unchecked_installation: Installation) -> Iterator[Installation]:
    """A service with the example notice as entry 0; the ledger must verify when the test is done."""
    unchecked_installation.publish()
    yield unchecked_installation
    check_ledger(unchecked_installation.service)


@pytest.fixture
def tampering(unchecked_installation: Installation) -> Iterator[Tampering]:
    """A way into the installation's database behind the service's back."""
    tampering = Tampering(unchecked_installation.database_url)
    yield tampering
    tampering.close()
