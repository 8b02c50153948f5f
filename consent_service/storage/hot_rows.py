"""Statements for the tables that every decision writes: text for the driver, rows as tuples.

SQLAlchemy's handling of a parameter dictionary costs more than SQLite's insert. PostgreSQL takes rows by COPY
and upserts from arrays: one statement for all of them, not one a row (ADR 0080).
"""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, Engine, Integer, LargeBinary, Table, Text, event

TENANT = "tenant_id"
COPY_TYPES = "consent_copy_types"
"""Execution option: the types of the columns of a COPY."""
_TYPES = ((BigInteger, "int8"), (Integer, "int4"), (Text, "text"), (LargeBinary, "bytea"))


def install_copy(engine: Engine) -> None:
    """Let `exec_driver_sql` run `COPY … FROM STDIN (FORMAT BINARY)` with a list of rows."""

    @event.listens_for(engine, "do_executemany")
    def _copy_rows(cursor: Any, statement: str, rows: Any, context: Any) -> bool:  # the driver's own objects
        types = context.execution_options.get(COPY_TYPES)
        if types is None:
            return False
        with cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
        return True

    @event.listens_for(engine, "do_execute")
    def _copy_row(cursor: Any, statement: str, row: Any, context: Any) -> bool:  # SQLAlchemy's name for one
        return bool(_copy_rows(cursor, statement, [row], context))


@cache
def insert_text(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """Return the statement that inserts rows of `columns` after the tenant's number."""
    names = _names(columns)
    if dialect == "postgresql":
        return f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)"
    return f"INSERT INTO {table.name} ({names}) VALUES ({_marks(columns)})"  # noqa: S608 - names of our own tables


@cache
def upsert_text(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """Return the statement that inserts rows, or replaces those with the same primary key.

    On PostgreSQL its parameters are the tenant's number and an array a column.
    """
    keys = ", ".join(_quoted(column.name) for column in table.primary_key)
    replaced = ", ".join(
        f"{_quoted(name)} = excluded.{_quoted(name)}" for name in columns if not table.c[name].primary_key
    )
    rows = f"VALUES ({_marks(columns)})"
    if dialect == "postgresql":
        arrays = ", ".join(f"%b::{_type(table.c[name])}[]" for name in columns)
        rows = f"SELECT %b::int8, * FROM unnest({arrays})"  # noqa: S608 - types of our own columns
    return (
        f"INSERT INTO {table.name} ({_names(columns)}) {rows} ON CONFLICT ({keys}) DO UPDATE SET {replaced}"
    )


@cache
def update_text(table: Table, columns: tuple[str, ...], dialect: str, still: tuple[str, ...] = ()) -> str:
    """Return the statement that sets `columns` of the row whose tenant and primary key follow them.

    The values of the columns `still` come last: where a row has others by now, it stays as it is.
    """
    mark = "%b" if dialect == "postgresql" else "?"
    changes = ", ".join(f"{_quoted(name)} = {mark}" for name in columns)
    found_by = (*(column.name for column in table.primary_key), *still)
    keys = " AND ".join(f"{_quoted(name)} = {mark}" for name in found_by)
    return f"UPDATE {table.name} SET {changes} WHERE {keys}"  # noqa: S608 - names of our own tables


@cache
def copy_types(table: Table, columns: tuple[str, ...]) -> list[str]:
    """Return PostgreSQL's names for the types of the tenant's number and `columns`."""
    return [_type(table.c[name]) for name in (TENANT, *columns)]


@cache
def key_width(table: Table) -> int:
    """Return how many columns beside the tenant's number make a row's primary key."""
    return len(table.primary_key) - 1


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(_quoted(name) for name in (TENANT, *columns))


def _marks(columns: tuple[str, ...]) -> str:
    return ", ".join("?" for _ in (TENANT, *columns))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _type(column: Column[Any]) -> str:
    return next(name for kind, name in _TYPES if isinstance(column.type, kind))
