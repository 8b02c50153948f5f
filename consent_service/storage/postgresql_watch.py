"""Notice commits on PostgreSQL: LISTEN on a connection of one's own. See `watch`."""

import os
import select
from typing import cast

import psycopg
from sqlalchemy.exc import DBAPIError

from consent_service.storage.engine import Database

CHANNEL = "consent_head"
"""The name that PostgreSQL's notifications go by; their payload is a tenant's number."""

_RECONNECT_AFTER_S = 0.5


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
