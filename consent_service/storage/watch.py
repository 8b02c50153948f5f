"""Notice that some transaction was committed, whichever process committed it.

SQLite has no notifications: its data version is looked at every few milliseconds (PRAGMA data_version
changes when another connection committed). PostgreSQL notifies: a trigger on `head` sends NOTIFY
consent_head in the transaction that moves it.
"""

import sqlite3
import threading
import time
from typing import Protocol, cast

from consent_service.storage.engine import Database

_LOOK_EVERY_S = 0.003


class Watch(Protocol):
    """Waits for commits on one database. `wait` is for one thread, the others may be called from any."""

    def wait(self, timeout: float) -> bool:
        """Return True as soon as something may have been committed, False after `timeout` seconds."""

    def wake(self) -> None:
        """Let `wait` return True now."""

    def close(self) -> None:
        """Give the connection back; the thread that waits has ended."""


def watch(database: Database) -> Watch:
    """Return a watch on this database."""
    if database.dialect == "sqlite":
        return SqliteWatch(database)
    from consent_service.storage.postgresql_watch import PostgresqlWatch  # noqa: PLC0415  # SQLite needs no driver

    return PostgresqlWatch(database)


class SqliteWatch:
    """Looks at the data version; a commit of this process says so itself by `wake`."""

    def __init__(self, database: Database) -> None:
        self._woken = threading.Event()
        self._connection = cast("sqlite3.Connection", database.own_connection())
        self._version = self._data_version()

    def wait(self, timeout: float) -> bool:
        """Return True as soon as the data version is another one."""
        deadline = time.monotonic() + timeout
        while not self._woken.wait(_LOOK_EVERY_S):
            version = self._data_version()
            if version != self._version:
                self._version = version
                return True
            if time.monotonic() >= deadline:
                return False
        self._woken.clear()
        return True

    def wake(self) -> None:
        """Let `wait` return now."""
        self._woken.set()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _data_version(self) -> object:
        return self._connection.execute("PRAGMA data_version").fetchone()[0]
