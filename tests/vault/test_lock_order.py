"""Who locks what, in which order: the rules of decision 0090, which leave PostgreSQL no deadlock to find."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, make_url

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.rotate_keys import end_epochs
from consent_service.operations.sweep_vault import sweep_vault
from tests.servers import wait_until
from tests.shop import Shop

# A new tenant key is nobody else's row yet. What is only shared (FOR KEY SHARE) keeps only erasures waiting.
LOCKING = re.compile(
    r"\b(?:INSERT INTO (?!tenant_key)|UPDATE |DELETE FROM )(\w+)|FROM (\w+)\b.* FOR (?:NO KEY UPDATE|UPDATE)",
    re.DOTALL,
)


@pytest.fixture
def postgresql_shop(postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(postgresql_url, tmp_path / "home")
    yield shop
    shop.check_ledger()
    shop.close()


@contextmanager
def transactions_of(shop: Shop) -> Iterator[list[list[str]]]:
    """Gather, for each transaction, the tables whose rows it locks, in order."""
    gathered: list[list[str]] = []
    current: dict[int, list[str]] = {}

    def begin(connection: Connection) -> None:
        current[id(connection)] = []

    def execute(connection: Connection, _cursor: object, statement: str, *_: Any) -> None:
        if match := LOCKING.search(statement):
            current[id(connection)].append(match[1] or match[2])

    def end(connection: Connection) -> None:
        gathered.append(current.pop(id(connection)))

    engine = shop.service.deployment.database.engine
    heard: list[tuple[str, Callable[..., None]]]
    heard = [("begin", begin), ("before_cursor_execute", execute), ("commit", end), ("rollback", end)]
    for name, listener in heard:
        event.listen(engine, name, listener)
    try:
        yield gathered
    finally:
        for name, listener in heard:
            event.remove(engine, name, listener)


def everything_that_writes(shop: Shop) -> None:
    for name in ("ana", "ben", "cleo"):
        shop.grant(name, "coupons", "recommendations")
        shop.write(name, {"household": {"size": 2}, "purchases": {"last": "milk"}})
        shop.read(name, "coupons")
        uses = (PurposeKey("coupons"), Feature("mailing"))
        shop.service.uses.note_reads(shop.tenant, uses, [(shop.subject_id(name), [CategoryKey("household")])])
    shop.service.uses.flush()
    shop.service.committer.submit_many_blocking(
        shop.tenant,
        [
            shop.decision("dora", {"coupons": "granted"}),
            EraseSubject(subject=shop.subject("ben")),
            shop.decision("ana", {"coupons": "denied", "ai_assistance": "granted"}),
        ],
    )
    end_epochs(shop.service.deployment, shop.service.committer, [shop.tenant])
    shop.pass_time(timedelta(days=400))
    sweep_vault(shop.service.deployment, shop.tenant)


def test_every_transaction_keeps_to_the_order_of_locks(postgresql_shop: Shop) -> None:
    with transactions_of(postgresql_shop) as transactions:
        everything_that_writes(postgresql_shop)

    locking = [tables for tables in transactions if tables]
    assert {"head", "subject", "key_grant", "profile_value", "subject_key", "use_day", "tenant_key"} <= {
        table for tables in locking for table in tables
    }
    for tables in locking:
        if "head" not in tables:
            assert {"key_grant", "entry"}.isdisjoint(tables)
            assert "subject" not in tables[1:]
        else:
            assert tables[0] == "head"
        for of_her in {"key_grant", "profile_value"} & set(tables):
            assert "subject" in tables[: tables.index(of_her)]
        assert "tenant_key" not in tables[:-1]


def test_a_decision_that_loses_to_a_deadlock_is_recorded_all_the_same(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.grant("ana", "coupons")
    with rival_of(shop) as rival, ThreadPoolExecutor(1) as threads:
        rival.execute("SET deadlock_timeout = '60s'")  # The rival is never the one that gives way.
        rival.execute("SELECT id FROM subject FOR UPDATE")
        decided = threads.submit(shop.deny, "ana", "coupons")
        wait_until(lambda: waiting_for_a_lock(rival) == 1, what="the decision to wait for her row")
        rival.execute("SELECT size FROM head FOR UPDATE")
        rival.rollback()
        index = decided.result(30)

    assert index == 2
    assert shop.reason("ana", "coupons") == "withdrawn"


def test_uses_of_a_subject_whose_row_is_taken_are_stored_the_next_time(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.grant("ana", "coupons")
    mailing = (PurposeKey("coupons"), Feature("mailing"))
    shop.service.uses.note_reads(shop.tenant, mailing, [(shop.subject_id("ana"), [CategoryKey("household")])])
    with rival_of(shop) as rival:
        rival.execute("SELECT id FROM subject FOR UPDATE")  # As moving her to a new blind-index key does.
        shop.service.uses.flush()
        assert shop.rows("use_day") == 0
        rival.rollback()

    shop.service.uses.flush()

    assert shop.rows("use_day") == 1


@contextmanager
def rival_of(shop: Shop) -> Iterator[psycopg.Connection[Any]]:
    url = make_url(shop.settings.resolved_database_url.get_secret_value())
    with psycopg.connect(host=str(url.query["host"]), user="postgres", dbname=url.database) as rival:
        yield rival


def waiting_for_a_lock(session: psycopg.Connection[Any]) -> int:
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])
