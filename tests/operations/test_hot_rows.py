"""Rows that are handed to the driver as tuples arrive as they are, on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.errors import DatabaseUnavailable
from consent_service.storage.engine import Database
from consent_service.storage.ledger_store import (
    append_rows,
    create_head,
    lock_head,
    read_head,
    read_leaves,
    read_record,
)
from consent_service.storage.schema import migrate
from consent_service.storage.scope import TenantScope
from consent_service.storage.vault_store import KeyGrant, find_grants, store_grants
from tests.installation import Installation


def a_grant(category: str, wrapped: bytes) -> KeyGrant:
    return KeyGrant(7, PurposeKey("coupons"), CategoryKey(category), 1, 2**40, 1, wrapped)


def test_inserted_rows_are_read_back(unchecked_installation: Installation) -> None:
    every_byte, long = bytes(range(256)), b"\0" * 100_000
    with unchecked_installation.service.deployment.writing(unchecked_installation.tenant) as scope:
        append_rows(
            scope,
            entries=[(2**40, every_byte), (2**40 + 1, b"")],
            records=[(2**40, None, every_byte, long), (2**40 + 1, 2**41, b"\\N", b"\t\n")],
        )

    with unchecked_installation.service.deployment.reading(unchecked_installation.tenant) as scope:
        assert read_leaves(scope, 2**40, 2**40 + 2) == [every_byte, b""]
        nobodys, somebodys = read_record(scope, 2**40), read_record(scope, 2**40 + 1)
    assert (nobodys.subject_id, nobodys.opening, nobodys.body) == (None, every_byte, long)
    assert (somebodys.subject_id, somebodys.opening, somebodys.body) == (2**41, b"\\N", b"\t\n")


def test_of_rows_with_the_same_key_in_one_upsert_the_last_one_stays(
    unchecked_installation: Installation,
) -> None:
    with unchecked_installation.service.deployment.writing(unchecked_installation.tenant) as scope:
        store_grants(scope, [a_grant("purchases", b"before")])
        first, new, last = a_grant("purchases", b"1"), a_grant("browsing", b"2"), a_grant("purchases", b"3")
        store_grants(scope, [first, new, last])
        stored = {grant.category: grant.wrapped for grant in find_grants(scope, [7])}

    assert stored == {"purchases": b"3", "browsing": b"2"}


def test_rows_that_the_database_refuses_leave_no_trace(installation: Installation) -> None:
    deployment, tenant = installation.service.deployment, installation.tenant

    with pytest.raises(IntegrityError), deployment.writing(tenant) as scope:
        append_rows(scope, entries=[(1, b"new"), (0, b"there already")], records=[])

    assert installation.decide("customer-1", {"coupons": "granted"}).index == 1


def test_whoever_listens_to_the_engine_hears_every_statement_of_a_commit(installation: Installation) -> None:
    heard: list[tuple[str, bool]] = []
    engine = installation.service.deployment.database.engine
    event.listen(engine, "before_cursor_execute", lambda *seen: heard.append((str(seen[2]), bool(seen[5]))))

    installation.decide("customer-1", {"coupons": "granted"})

    for table in ("head", "subject", "entry", "record", "key_grant", "tile", "checkpoint", "tenant_key"):
        assert any(f" {table} " in statement for statement, _ in heard), table
    assert any(many for statement, many in heard if " key_grant " in statement)


def test_a_read_that_failed_does_not_keep_its_moment(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'consent.db'}", pool_size=1)
    migrate(database)
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tenant (id, name, origin, created_at_ms) VALUES (1, 'a', 'b', 0)"
        )
        create_head(TenantScope(connection, 1), b"")
        connection.exec_driver_sql("UPDATE head SET frontier = CAST(x'ff' AS TEXT)")
    failed: list[BaseException] = []  # Whoever keeps an error keeps what was on the stack.
    with database.reading() as connection:
        try:
            read_head(TenantScope(connection, 1))
        except OperationalError as error:
            failed.append(error)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE head SET frontier = x'00'")

    with database.reading() as connection:
        assert read_head(TenantScope(connection, 1)).frontier == b"\0"
    assert failed
    database.close()


def test_a_connection_that_is_lost_in_a_transaction_is_replaced(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    try:
        with pytest.raises(DatabaseUnavailable):
            _lose_a_connection(database)

        with database.writing() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    finally:
        database.close()


def _lose_a_connection(database: Database) -> None:
    with database.writing() as other, database.writing() as connection:
        number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})
        lock_head(TenantScope(connection, 1))
