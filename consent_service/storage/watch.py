"""Notice that some transaction was committed, whichever process committed it.

SQLite has no notifications: its data version is looked at every few milliseconds (PRAGMA data_version
changes when another connection committed). PostgreSQL notifies: a trigger on `head` sends NOTIFY
consent_head in the transaction that moves it.
"""

import os
import select
import sqlite3
import threading
import time
from typing import Protocol, cast

import psycopg
from sqlalchemy.exc import DBAPIError

from consent_service.storage.engine import Database

CHANNEL = "consent_head"
"""The name that PostgreSQL's notifications go by; their payload is a tenant's number."""

_LOOK_EVERY_S = 0.003
_RECONNECT_AFTER_S = 0.5


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
    return SqliteWatch(database) if database.dialect == "sqlite" else PostgresqlWatch(database)


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


class PostgresqlWatch:
    """Listens. While there is no connection it returns every half second, so that somebody looks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._connection: psycopg.Connection | None = self._listen()

    def wait(self, timeout: float) -> bool:
        """Return True at a notification, a wake or a new connection."""
        if self._connection is None:
            self._poll(min(timeout, _RECONNECT_AFTER_S))
            self._connection = self._listen()
            return True
        ready = self._poll(timeout, self._connection.fileno())
        try:
            for _ in self._connection.notifies(timeout=0):
                continue
        except psycopg.Error:
            self._connection.close()
            self._connection = None
            return True
        return ready

    def wake(self) -> None:
        """Let `wait` return now."""
        try:
            os.write(self._waker, b"!")
        except BlockingIOError:
            return  # The pipe is full of wakes already.

    def close(self) -> None:
        """Close the connection and the pipe."""
        if self._connection is not None:
            self._connection.close()
        os.close(self._woken)
        os.close(self._waker)

    def _listen(self) -> psycopg.Connection | None:
        try:
            connection = cast("psycopg.Connection", self._database.own_connection())
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
        except (psycopg.Error, DBAPIError):
            return None
        return connection

    def _poll(self, seconds: float, *descriptors: int) -> bool:
        poll = select.poll()  # Not select(): this process may have thousands of descriptors.
        for descriptor in (self._woken, *descriptors):
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(seconds * 1000)
        if any(descriptor == self._woken for descriptor, _ in ready):
            os.read(self._woken, 4096)
        return bool(ready)
