"""Statements on the driver's own cursor, in a transaction that SQLAlchemy began: what every commit runs.

SQLAlchemy takes 100 microseconds over a statement that psycopg runs in 15 (ADR 0082). Connections,
transactions and errors stay SQLAlchemy's; whoever listens to `before_cursor_execute` hears of these too.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]
"""A row as the driver gives it or takes it."""


class Driver:
    """One transaction's cursor; its errors are those that SQLAlchemy would raise."""

    __slots__ = ("_connection", "_cursor", "_errors", "_listeners")

    def __init__(self, connection: Connection) -> None:
        dbapi: Any = connection.dialect.loaded_dbapi  # the driver's module
        self._connection = connection
        self._cursor: Any = None
        self._errors: type[Exception] = dbapi.Error
        self._listeners = connection.engine.dispatch.before_cursor_execute

    def rows(self, statement: str, parameters: Sequence[object]) -> list[Row]:
        """Return the rows that a SELECT gives."""
        cursor = self._told(statement, parameters)
        try:
            found: list[Row] = cursor.execute(statement, parameters).fetchall()
        except self._errors as error:
            raise self._translated(error, statement) from error
        return found

    def run(self, statement: str, parameters: Sequence[object]) -> None:
        """Execute a statement that gives nothing back."""
        cursor = self._told(statement, parameters)
        try:
            cursor.execute(statement, parameters)
        except self._errors as error:
            raise self._translated(error, statement) from error

    def run_each(self, statement: str, rows: Sequence[Row]) -> None:
        """Execute a statement once a row."""
        if len(rows) == 1:  # psycopg makes a pipeline of several, which costs more than one statement.
            self.run(statement, rows[0])
            return
        cursor = self._told(statement, rows)
        try:
            cursor.executemany(statement, rows)
        except self._errors as error:
            raise self._translated(error, statement) from error

    def copy(self, statement: str, types: Sequence[str], rows: Sequence[Row]) -> None:
        """Run `COPY … FROM STDIN (FORMAT BINARY)` with rows of these types."""
        cursor = self._told(statement, rows)
        try:
            with cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except self._errors as error:
            raise self._translated(error, statement) from error

    def _told(self, statement: str, parameters: Sequence[object]) -> Any:  # the driver's own cursor
        if self._cursor is None:
            self._cursor = self._connection.connection.cursor()
        if self._listeners:
            many = bool(parameters) and isinstance(parameters[0], tuple)
            for listener in self._listeners:
                listener(self._connection, self._cursor, statement, parameters, None, many)
        return self._cursor

    def _translated(self, error: Any, statement: str) -> Exception:  # the driver's own
        dialect = self._connection.dialect
        cursor, self._cursor = self._cursor, None
        lost = dialect.is_disconnect(error, self._connection.connection.dbapi_connection, cursor)
        cursor.close()  # SQLite's would go on reading, and its connection would see this moment for ever.
        if lost:
            self._connection.invalidate(error)
        translated: Exception = DBAPIError.instance(
            statement,
            None,
            error,
            self._errors,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        return translated
