"""A database that does not let us in or through: 503 with Retry-After, nothing stored, then it goes on."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout

from consent_service.errors import DatabaseUnavailable
from consent_service.operations.service import ConsentService
from consent_service.storage.ledger_store import lock_head
from tests.disks import Disk, SmallDisk
from tests.servers import wait_until
from tests.service_api import ServiceApi, assert_problem
from tests.size import size

PATIENCE_S = 0.3
USUAL_PATIENCE_S = 10.0
HELD_S = size(2 * PATIENCE_S, 30)


@pytest.fixture
def api(migrated_url: str, tmp_path: Path) -> Iterator[ServiceApi]:
    """The application, with little patience for locks."""
    with ServiceApi(
        home=tmp_path / "home", database_url=migrated_url, lock_seconds=PATIENCE_S, pool_size=1
    ) as api:
        yield api
        api.sizes()


def database_of(api: ServiceApi) -> Any:  # a psycopg or sqlite3 connection in autocommit
    """A way into the database beside the service."""
    url = make_url(api.settings.resolved_database_url.get_secret_value())
    if url.get_backend_name() == "sqlite":
        return sqlite3.connect(str(url.database), isolation_level=None)
    host = str(url.query["host"])
    return psycopg.connect(host=host, user="postgres", dbname=url.database, autocommit=True)


@contextmanager
def lock_held(api: ServiceApi) -> Iterator[None]:
    """Somebody else has what every decision needs: the head's row, or SQLite's one writer's place."""
    rival = database_of(api)
    if isinstance(rival, sqlite3.Connection):
        rival.execute("BEGIN IMMEDIATE")
    else:
        rival.execute("BEGIN")
        rival.execute("SELECT size FROM head FOR UPDATE")
    yield
    rival.execute("ROLLBACK")
    rival.close()


@contextmanager
def other_process_writing(api: ServiceApi) -> Iterator[None]:
    """Another service on this database is in the middle of a transaction that does not end."""
    other = ConsentService.open(api.settings)
    with other.deployment.writing(api.tenant) as scope:
        lock_head(scope)
        yield
    other.close()


@contextmanager
def pool_full(api: ServiceApi) -> Iterator[None]:
    """Every connection of the pools is taken by somebody who does not give it back."""
    database = api.service.deployment.database
    with ExitStack() as stack:
        for take in (database.reading, database.engine.connect):
            with suppress(DatabaseUnavailable, PoolTimeout):
                while True:
                    stack.enter_context(take())
        yield


@contextmanager
def read_only(api: ServiceApi) -> Iterator[None]:
    """Every new session is read-only, as on a primary that was made a standby."""
    rival = database_of(api)
    name = rival.info.dbname
    rival.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    throw_everybody_out(rival)
    yield
    rival.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    rival.close()


@contextmanager
def storm_of_connections(api: ServiceApi) -> Iterator[None]:
    """Others have every connection that the database has to give."""
    rival = database_of(api)
    throw_everybody_out(rival)
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):  # too many clients already
            while True:
                stack.enter_context(database_of(api))
        yield
    rival.close()


def throw_everybody_out(session: Any) -> None:
    session.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


Trouble = Callable[[ServiceApi], AbstractContextManager[None]]


@pytest.mark.parametrize("trouble", [lock_held, other_process_writing, pool_full])
def test_who_cannot_get_through_is_told_to_come_back(api: ServiceApi, trouble: Trouble) -> None:
    assert_refused_and_then_recorded(api, trouble)


def test_while_a_lock_is_held_everybody_is_told_to_come_back_and_the_gate_answers(
    migrated_url: str, tmp_path: Path
) -> None:
    patience = size(PATIENCE_S, USUAL_PATIENCE_S)
    with ServiceApi(home=tmp_path / "home", database_url=migrated_url, lock_seconds=patience) as api:
        first = api.decide("ana", {"coupons": "granted"}).json()["index"]

        refused: list[httpx2.Response] = []
        with lock_held(api):
            until = time.monotonic() + HELD_S
            while time.monotonic() < until:
                refused.append(api.decide("ana", {"coupons": "denied"}))
                assert api.reasons("ana", "coupons") == ["granted"]

        assert len(refused) > 1
        for answer in refused:
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert api.decide("ana", {"coupons": "denied"}).json()["index"] == first + 1
        assert api.reasons("ana", "coupons") == ["withdrawn"]
        api.sizes()


@pytest.mark.parametrize("trouble", [read_only, storm_of_connections])
def test_a_database_that_turns_us_away_is_asked_again(
    postgresql_url: str, tmp_path: Path, trouble: Trouble
) -> None:
    with ServiceApi(home=tmp_path / "home", database_url=postgresql_url, lock_seconds=PATIENCE_S) as api:
        assert_refused_and_then_recorded(api, trouble)
        api.sizes()


def test_a_disk_that_nobody_may_write_to_any_more(sqlite_disk: Disk, tmp_path: Path) -> None:
    """As a kernel does with a disk that failed: the service comes back by itself once it may write again."""

    if os.geteuid() == 0 and not isinstance(sqlite_disk, SmallDisk):
        pytest.skip("may not mount a small disk, and may write to every file")

    @contextmanager
    def protected(api: ServiceApi) -> Iterator[None]:
        api.service.deployment.database.close()  # What is open to write keeps a disk writable.
        sqlite_disk.write_protect(on=True)
        yield
        sqlite_disk.write_protect(on=False)

    url = f"sqlite:///{sqlite_disk.folder / 'consent.db'}"
    with ServiceApi(home=tmp_path / "home", database_url=url, lock_seconds=PATIENCE_S) as api:
        assert_refused_and_then_recorded(api, protected)
        api.sizes()


def assert_refused_and_then_recorded(api: ServiceApi, trouble: Trouble) -> None:
    first = api.decide("ana", {"coupons": "granted"}).json()["index"]

    with trouble(api):
        refused = api.decide("ana", {"coupons": "denied"})

    assert_problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert api.reasons("ana", "coupons") == ["granted"]
    answers: list[httpx2.Response] = []
    wait_until(lambda: recorded(api, answers), what="the decision to be recorded")
    assert answers[-1].json()["index"] == first + 1
    assert {answer.status_code for answer in answers[:-1]} <= {503}
    assert api.reasons("ana", "coupons") == ["withdrawn"]


def recorded(api: ServiceApi, answers: list[httpx2.Response]) -> bool:
    answers.append(api.decide("ana", {"coupons": "denied"}))
    return answers[-1].status_code == 201
