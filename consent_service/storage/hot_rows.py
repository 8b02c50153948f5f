"""Statements for the tables that every decision writes: text for the driver, rows as tuples.

SQLAlchemy's handling of a parameter dictionary costs more than SQLite's insert. PostgreSQL takes rows by COPY
and upserts from arrays: one statement for all of them, not one a row (ADR 0080).
"""

from functools import cache, lru_cache
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

TENANT = "tenant_id"
_TYPES = ((BigInteger, "int8"), (Integer, "int4"), (Text, "text"), (LargeBinary, "bytea"))


@lru_cache(maxsize=4096)
def select_text(
    table: Table, columns: tuple[str, ...], among: tuple[str, int] | None, dialect: str, *, lock: bool
) -> str:
    """Return the statement that reads `columns` of a tenant's rows.

    With `among`, a column's name and a number, of those rows where it has one of so many values: parameters
    of their own after the tenant's number on SQLite, one array on PostgreSQL.
    """
    text = f"SELECT {', '.join(_quoted(name) for name in columns)} FROM {table.name} WHERE {TENANT} = "  # noqa: S608 - names of our own tables
    if dialect == "postgresql":
        some = f" AND {_quoted(among[0])} = ANY(%b::{_type(table.c[among[0]])}[])" if among else ""
        locked = f"{f' ORDER BY {_quoted(among[0])}' if among else ''} FOR NO KEY UPDATE" if lock else ""
        return f"{text}%b{some}{locked}"
    some = f" AND {_quoted(among[0])} IN ({', '.join('?' * among[1])})" if among else ""
    return f"{text}?{some}"  # A writer of SQLite's keeps all others out as it is.


@cache
def select_one_text(table: Table, columns: tuple[str, ...], found_by: tuple[str, ...], dialect: str) -> str:
    """Return the statement that reads `columns` of the tenant's row that has values of `found_by`."""
    mark = "%b" if dialect == "postgresql" else "?"
    keys = " AND ".join(f"{_quoted(name)} = {mark}" for name in (TENANT, *found_by))
    return f"SELECT {', '.join(_quoted(name) for name in columns)} FROM {table.name} WHERE {keys}"  # noqa: S608 - names of our own tables


@cache
def insert_text(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """Return the statement that inserts a row of `columns` after the tenant's number."""
    mark = "%b" if dialect == "postgresql" else "?"
    return f"INSERT INTO {table.name} ({_names(columns)}) VALUES ({_marks(columns, mark)})"  # noqa: S608 - names of our own tables


@cache
def copy_text(table: Table, columns: tuple[str, ...]) -> str:
    """Return PostgreSQL's statement that takes rows of `columns` after the tenant's number."""
    return f"COPY {table.name} ({_names(columns)}) FROM STDIN (FORMAT BINARY)"


@cache
def upsert_text(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """Return the statement that inserts rows, or replaces those with the same primary key.

    On PostgreSQL its parameters are the tenant's number and an array a column.
    """
    keys = ", ".join(_quoted(column.name) for column in table.primary_key)
    replaced = ", ".join(
        f"{_quoted(name)} = excluded.{_quoted(name)}" for name in columns if not table.c[name].primary_key
    )
    rows = f"VALUES ({_marks(columns, '?')})"
    if dialect == "postgresql":
        arrays = ", ".join(f"%b::{_type(table.c[name])}[]" for name in columns)
        rows = f"SELECT %b::int8, * FROM unnest({arrays})"  # noqa: S608 - types of our own columns
    return (
        f"INSERT INTO {table.name} ({_names(columns)}) {rows} ON CONFLICT ({keys}) DO UPDATE SET {replaced}"
    )


@cache
def update_text(table: Table, columns: tuple[str, ...], found_by: tuple[str, ...], dialect: str) -> str:
    """Return the statement that sets `columns` of the tenant's rows that have values of `found_by`."""
    mark = "%b" if dialect == "postgresql" else "?"
    changes = ", ".join(f"{_quoted(name)} = {mark}" for name in columns)
    keys = " AND ".join(f"{_quoted(name)} = {mark}" for name in (TENANT, *found_by))
    return f"UPDATE {table.name} SET {changes} WHERE {keys}"  # noqa: S608 - names of our own tables


@cache
def update_many_text(table: Table, columns: tuple[str, ...], found_by: tuple[str, ...]) -> str:
    """Return PostgreSQL's statement that does as `update_text` for many rows at once.

    Its parameters are an array for each of `columns`, then of `found_by`, and the tenant's number.
    """
    arrays = ", ".join(f"%b::{_type(table.c[name])}[]" for name in (*columns, *found_by))
    names = ", ".join([*(_quoted(f"new_{name}") for name in columns), *map(_quoted, found_by)])
    changes = ", ".join(f"{_quoted(name)} = changed.{_quoted(f'new_{name}')}" for name in columns)
    keys = " AND ".join(f"{table.name}.{_quoted(name)} = changed.{_quoted(name)}" for name in found_by)
    return (
        f"UPDATE {table.name} SET {changes} FROM unnest({arrays}) AS changed ({names})"  # noqa: S608 - names of our own tables
        f" WHERE {table.name}.{TENANT} = %b AND {keys}"
    )


@cache
def increase_text(table: Table, column: str, dialect: str) -> str:
    """Return the statement that adds a number to `column` of the row whose tenant and primary key follow."""
    mark = "%b" if dialect == "postgresql" else "?"
    keys = " AND ".join(f"{_quoted(key.name)} = {mark}" for key in table.primary_key)
    return f"UPDATE {table.name} SET {_quoted(column)} = {_quoted(column)} + {mark} WHERE {keys}"  # noqa: S608 - names of our own tables


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


def _marks(columns: tuple[str, ...], mark: str) -> str:
    return ", ".join(mark for _ in (TENANT, *columns))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _type(column: Column[Any]) -> str:
    return next(name for kind, name in _TYPES if isinstance(column.type, kind))
