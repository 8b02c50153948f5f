"""The one place that scopes queries by tenant.

Statements are built once, at import, by `scoped_*`: each has its tenant in the WHERE clause.
Only a `TenantScope` can run them, and it always puts in its own tenant's number.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Delete,
    Executable,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel

from consent_service.storage.driver import Driver, Row
from consent_service.storage.hot_rows import (
    TENANT,
    copy_text,
    copy_types,
    increase_text,
    insert_text,
    key_width,
    select_one_text,
    select_text,
    update_many_text,
    update_text,
    upsert_text,
)

_PARAMETER = "own_tenant_id"
_SCOPED = "consent_scoped"
SCOPED: dict[str, Any] = {_SCOPED: True}
"""Execution options that let a `TenantScope` run a statement."""
Params = Mapping[str, object]


def table_of(model: type[SQLModel]) -> Table:
    """Return the Core table of a row class: the write path uses no ORM objects."""
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    if TENANT not in table.c:
        raise TypeError(f"{table.name} belongs to no tenant")
    return table


def scoped_select(model: type[SQLModel], *columns: str) -> Select[Any]:  # a row's types are its columns'
    """Return a SELECT of `columns` of one tenant's rows."""
    table = table_of(model)
    return select(*(table.c[column] for column in columns)).where(own_rows(table)).execution_options(**SCOPED)


def scoped_update(model: type[SQLModel]) -> Update:
    """Return an UPDATE of one tenant's rows."""
    table = table_of(model)
    return update(table).where(own_rows(table)).execution_options(**SCOPED)


def scoped_delete(model: type[SQLModel]) -> Delete:
    """Return a DELETE of one tenant's rows."""
    table = table_of(model)
    return delete(table).where(own_rows(table)).execution_options(**SCOPED)


def own_rows(table: Table) -> ColumnElement[bool]:
    """Return the condition that a row is the scope's tenant's, for a statement that joins; mark it SCOPED."""
    return table.c[TENANT] == bindparam(_PARAMETER)


class TenantScope:
    """A transaction that sees one tenant's rows and no other's."""

    __slots__ = ("_connection", "_driver", "_own", "_stamp", "dialect", "tenant_id")

    def __init__(self, connection: Connection, tenant_id: int) -> None:
        self._connection = connection
        self.tenant_id = tenant_id
        self._own = {_PARAMETER: tenant_id}
        self._stamp = {TENANT: tenant_id}
        self.dialect = connection.dialect.name
        self._driver = Driver(connection)

    def run(self, statement: Executable, **params: object) -> CursorResult[*tuple[Any, ...]]:
        """Execute a scoped statement once."""
        _require_scoped(statement)
        return self._connection.execute(statement, {**params, **self._own})

    def tuples(self, statement: Executable, **params: object) -> list[tuple[Any, ...]]:
        """Return all rows of a scoped SELECT as the driver gives them: for hot reads of many rows."""
        with self.run(statement, **params) as result:
            return cast("list[tuple[Any, ...]]", result.cursor.fetchall())

    def export_snapshot(self) -> str | None:
        """Return a name under which others may read what this transaction sees, until it ends, if it has one.

        PostgreSQL names its snapshots, SQLite does not.
        """
        if self.dialect != "postgresql":
            return None
        return str(self._connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())

    def run_many(self, statement: Executable, rows: Sequence[Params]) -> None:
        """Execute a scoped statement once a row; nothing at all for no rows."""
        _require_scoped(statement)
        if rows:
            self._connection.execute(statement, [{**row, **self._own} for row in rows])

    def stream(self, statement: Executable, *, chunk: int = 1024, **params: object) -> Generator[Any]:
        """Yield the rows of a scoped SELECT without holding more than `chunk` of them.

        Who leaves before the last row closes the generator, and with it the cursor.
        """
        _require_scoped(statement)
        options = {"stream_results": True, "yield_per": chunk}
        with self._connection.execute(
            statement, {**params, **self._own}, execution_options=options
        ) as result:
            for rows in result.partitions():  # As many at once: one by one they cost twice as much.
                yield from rows

    def insert(self, model: type[SQLModel], rows: Sequence[Params]) -> None:
        """Insert rows as this tenant's, by one Core statement."""
        if rows:
            self._connection.execute(_insert(model), [{**row, **self._stamp} for row in rows])

    def select_tuples(
        self,
        model: type[SQLModel],
        columns: tuple[str, ...],
        *,
        among: tuple[str, Sequence[object]] | None = None,
        lock: bool = False,
    ) -> list[Row]:
        """Return `columns` of this tenant's rows as the driver gives them: for hot tables.

        With `among`, of the rows where the column of that name has one of these values. With `lock`, other
        writers wait for them until the transaction ends: for one after the other, in that column's order.
        """
        table, own = table_of(model), self.tenant_id
        if among is None:
            return self._driver.rows(select_text(table, columns, None, self.dialect, lock=lock), (own,))
        name, values = among
        if self.dialect == "postgresql":
            text = select_text(table, columns, (name, 1), self.dialect, lock=lock)
            return self._driver.rows(text, (own, values))
        text = select_text(table, columns, (name, len(values)), self.dialect, lock=lock)
        return self._driver.rows(text, (own, *values))

    def find_tuple(
        self, model: type[SQLModel], columns: tuple[str, ...], found_by: tuple[str, ...], values: Row
    ) -> Row | None:
        """Return `columns` of the one row of this tenant that has these values of `found_by`, or `None`."""
        text = select_one_text(table_of(model), columns, found_by, self.dialect)
        rows = self._driver.rows(text, (self.tenant_id, *values))
        return rows[0] if rows else None

    def insert_tuples(self, model: type[SQLModel], columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Insert rows given as tuples of `columns`, handed to the driver as they are: for hot tables."""
        if not rows:
            return
        table, own = table_of(model), self.tenant_id
        stamped = [(own, *row) for row in rows]
        if self.dialect == "postgresql" and len(rows) > 1:
            self._driver.copy(copy_text(table, columns), copy_types(table, columns), stamped)
        else:
            self._driver.run_each(insert_text(table, columns, self.dialect), stamped)

    def upsert_tuples(self, model: type[SQLModel], columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Upsert rows given as tuples of `columns`, those of the primary key first: for hot tables."""
        if not rows:
            return
        table, own = table_of(model), self.tenant_id
        statement = upsert_text(table, columns, self.dialect)
        if self.dialect == "postgresql":
            width = key_width(table)  # One statement may not touch a row twice: the last one counts.
            last = {row[:width]: row for row in rows}.values()
            self._driver.run(statement, (own, *([*values] for values in zip(*last, strict=True))))
        else:
            self._driver.run_each(statement, [(own, *row) for row in rows])

    def update_tuples(
        self,
        model: type[SQLModel],
        columns: tuple[str, ...],
        rows: Sequence[Row],
        *,
        found_by: tuple[str, ...],
        in_order: bool = False,
    ) -> None:
        """Set `columns` of rows given as tuples: the new values, then those of `found_by` that say whose.

        No two may say the same. In which order PostgreSQL locks the rows is its own choice, except with
        `in_order`: for those that others may be about to lock.
        """
        if not rows:
            return
        table, new, own = table_of(model), len(columns), self.tenant_id
        if self.dialect == "postgresql" and len(rows) > 1 and not in_order:
            arrays = [[*values] for values in zip(*rows, strict=True)]
            self._driver.run(update_many_text(table, columns, found_by), (*arrays, own))
        else:
            statement = update_text(table, columns, found_by, self.dialect)
            self._driver.run_each(statement, [(*row[:new], own, *row[new:]) for row in rows])

    def increase(self, model: type[SQLModel], column: str, more: int, key: Row) -> None:
        """Add to `column` of the row with this primary key (after the tenant's number)."""
        self._driver.run(increase_text(table_of(model), column, self.dialect), (more, self.tenant_id, *key))

    def insert_missing(self, model: type[SQLModel], rows: Sequence[Params]) -> None:
        """Insert rows as this tenant's where there is none with the same primary key."""
        if rows:
            table = table_of(model)
            statement = (
                postgresql.insert(table).on_conflict_do_nothing()
                if self.dialect == "postgresql"
                else sqlite.insert(table).on_conflict_do_nothing()
            )
            self._connection.execute(statement, [{**row, **self._stamp} for row in rows])


_INSERTS: dict[type[SQLModel], Insert] = {}


def _insert(model: type[SQLModel]) -> Insert:
    if model not in _INSERTS:
        _INSERTS[model] = insert(table_of(model))
    return _INSERTS[model]


def _require_scoped(statement: Executable) -> None:
    if not statement.get_execution_options().get(_SCOPED):
        raise TypeError("a statement that is not scoped by tenant: build it with scoped_select and the like")
