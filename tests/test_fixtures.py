"""The ground the other tests stand on."""

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from consent_service.errors import LedgerCorrupt
from tests.conftest import LONGEST_FILES
from tests.installation import Installation, Tampering
from tests.postgres import EmptyDatabases
from tests.programs import installed_program
from tests.servers import ServerProcess, wait_until
from tests.service_api import ServiceApi


def _tables(url: str) -> list[str]:
    engine = sa.create_engine(url)
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _make_a_table(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE left_behind (n INTEGER)"))
    engine.dispose()


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_gets_an_empty_database(database_url: str, attempt: int) -> None:
    tables_at_the_start = _tables(database_url)

    _make_a_table(database_url)

    assert tables_at_the_start == []
    assert _tables(database_url) == ["left_behind"]


def test_a_database_that_is_handed_out_again_is_as_new(
    empty_databases: EmptyDatabases, tmp_path: Path
) -> None:
    for attempt in (1, 2):
        name = empty_databases.take()
        with Installation(
            home=tmp_path / f"home-{attempt}", database_url=empty_databases.server.url(name)
        ) as installation:
            assert installation.tenant.id == 1
            assert installation.publish().index == 0
        empty_databases.give_back(name)

        assert empty_databases.take() == name
        empty_databases.give_back(name)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE left_behind (n INTEGER)",
        "DROP TRIGGER entry_append_only ON entry",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "ALTER TABLE entry ADD COLUMN left_behind INTEGER",
        "GRANT SELECT ON entry TO PUBLIC",
        "UPDATE alembic_version SET version_num = '9999'",
    ],
)
def test_a_database_that_was_changed_is_not_handed_out_again(
    empty_databases: EmptyDatabases, change: str
) -> None:
    name = empty_databases.take()
    with empty_databases.server.session(name) as session:
        session.execute(change.encode())

    empty_databases.give_back(name)

    other = empty_databases.take()
    assert other != name
    empty_databases.give_back(other)


def test_an_applications_ledgers_are_verified_again_once_somebody_wrote(
    migrated_url: str, tmp_path: Path
) -> None:
    with ServiceApi(home=tmp_path / "home", database_url=migrated_url) as api:
        api.decide("ana")
        api.check()
        tampering = Tampering(migrated_url)
        tampering.drop_triggers()

        tampering.run("UPDATE record SET opening = :other", other=bytes(32))
        tampering.close()

        with pytest.raises(LedgerCorrupt):
            api.check()


def test_the_shared_postgresql_commits_as_usual_but_does_not_wait_for_the_disk(postgresql_url: str) -> None:
    engine = sa.create_engine(postgresql_url)

    with engine.connect() as connection:
        settings = [
            connection.execute(sa.text(f"SHOW {name}")).scalar_one()
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]
    engine.dispose()

    assert settings == ["off", "on", "on"]


def test_a_server_that_ends_too_early_fails_the_test_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such key file'); raise SystemExit(3)"]

    with (
        ServerProcess(command, folder=tmp_path, log=tmp_path / "log") as server,
        pytest.raises(AssertionError) as failure,
    ):
        server.wait_until(lambda: False, what="an answer")

    assert "ended with 3" in str(failure.value)
    assert "no such key file" in str(failure.value)


def test_waiting_in_vain_fails_and_says_for_what() -> None:
    with pytest.raises(AssertionError, match="in vain for a miracle"):
        wait_until(lambda: False, what="a miracle", timeout=0.05)


def test_a_missing_program_fails_its_test_and_names_the_package() -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install consent-nonsense"):
        installed_program("consent-no-such-program", debian_package="consent-nonsense")


def test_the_files_that_begin_are_there() -> None:
    root = Path(__file__).parents[1]

    assert [name for name in LONGEST_FILES if not (root / name).is_file()] == []
