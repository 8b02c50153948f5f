"""Connections. SQLite: WAL, FULL, writers begin immediately. PostgreSQL: as it comes, durable commits.

SQLite's deferred transactions upgrade from reading to writing and lose races by `SQLITE_BUSY`; a writer
therefore says so at BEGIN. Several processes on one file queue on a lock file beside it, which wakes the
next in line at once instead of by SQLite's polling.
"""

import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from consent_service.errors import (
    ConfigurationError,
    DatabaseDamaged,
    DatabaseUnavailable,
    TransactionUndone,
)
from consent_service.storage.file_lock import FileLock

_DEFAULT_LOCK_SECONDS = 10.0
_CACHE_KIB = 8_192
"""What each SQLite connection keeps of the file; the system's page cache has the rest, once for all."""
_UNDONE = frozenset({"40001", "40P01"})
"""SQLSTATEs of a transaction that was certainly rolled back: serialization_failure, deadlock_detected."""
_READ_ONLY = "25006"
_INTERNAL = "XX"
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB", "XX001", "XX002"})
"""SQLite's names and SQLSTATEs of what no waiting mends: data_corrupted, index_corrupted."""


def _url(text: str) -> URL:
    with suppress(ArgumentError):
        parsed = make_url(text)
        if parsed.get_backend_name() in {"sqlite", "postgresql", "postgres"}:
            return parsed
    # The text may hold a password: it is not said.
    raise ConfigurationError("A database URL begins with sqlite:/// or postgresql://.")


def sqlite_file(url: str) -> Path | None:
    """Return the file that a database URL names, `None` for a database that is none; as `Database` raises."""
    parsed = _url(url)
    named = parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    return Path(str(parsed.database)) if named else None


class Database:
    """One database: `reading()` and `writing()` transactions as Core connections.

    Nobody waits longer than `lock_seconds` for somebody else's lock, or for a free connection.
    """

    def __init__(self, url: str, *, pool_size: int = 8, lock_seconds: float = _DEFAULT_LOCK_SECONDS) -> None:
        parsed = _url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.dialect = parsed.get_backend_name()
        self._lock_path: Path | None = None
        self._lock_seconds = lock_seconds
        self._first_in_line = threading.RLock()
        self._has_turn = False
        if self.dialect == "sqlite":
            self._reader = _sqlite_engine(parsed, pool_size, "BEGIN", lock_seconds)
            self._writer = _sqlite_engine(parsed, 2, "BEGIN IMMEDIATE", lock_seconds)
            if (file := sqlite_file(url)) is not None:
                self._lock_path = Path(f"{file}-writer")
                _make_file(file)
        else:
            self._reader = self._writer = create_engine(
                parsed,
                pool_size=pool_size,
                max_overflow=4,
                pool_use_lifo=True,  # One connection does most commits, so that its statements stay prepared.
                pool_timeout=lock_seconds,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={
                    "connect_timeout": 5,
                    "options": f"-c lock_timeout={round(lock_seconds * 1000)} -c timezone=UTC",
                },
            )

    @property
    def engine(self) -> Engine:
        """The engine that writes, for migrations."""
        return self._writer

    @contextmanager
    def reading(self, snapshot: str | None = None) -> Iterator[Connection]:
        """One consistent snapshot for reading; raise `DatabaseUnavailable` where there is no connection.

        PostgreSQL shows that of the name that `TenantScope.export_snapshot` gave; SQLite knows no names.
        """
        with self._translated(), self._reader.connect() as connection, connection.begin():
            if self.dialect == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if snapshot is not None:
                    connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            yield connection

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Nobody commits on SQLite during the block, so that whoever begins to read in it sees the same.

        On PostgreSQL everything goes on: there, others read a snapshot by its name.
        """
        if self.dialect != "sqlite":
            yield
            return
        with self.writing():
            yield

    @contextmanager
    def glancing(self) -> Iterator[Connection]:
        """As `reading`, for one statement: that is a snapshot by itself, and costs one round trip."""
        if self.dialect == "sqlite":
            with self.reading() as connection:
                yield connection
            return
        autocommit = self._reader.execution_options(isolation_level="AUTOCOMMIT")
        with self._translated(), autocommit.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that commits at the end of the block, or leaves no trace."""
        with self._translated(), self.turn(), self._writer.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other writers of a SQLite file out during the block, which may hold several transactions.

        For whoever decides what to write once the wait is over; raises `DatabaseUnavailable` after too long a
        one. On PostgreSQL, writers of one log wait for its head instead.
        """
        if self._lock_path is None:
            yield
            return
        deadline = time.monotonic() + self._lock_seconds
        if not self._first_in_line.acquire(timeout=self._lock_seconds):
            raise DatabaseUnavailable("another thread is writing")
        try:
            if self._has_turn:  # By this very thread: the lock is a reentrant one.
                yield
            else:
                with FileLock(self._lock_path, deadline):
                    self._has_turn = True
                    try:
                        yield
                    finally:
                        self._has_turn = False
        finally:
            self._first_in_line.release()

    @contextmanager
    def exclusively(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock of this name on the whole database, for work that several processes might begin.

        Yields whether it is held: always with `wait`, else only where nobody else holds it.
        """
        held = self._exclusive_file if self.dialect == "sqlite" else self._advisory_lock
        with held(name, wait=wait) as acquired:
            yield acquired

    @contextmanager
    def _exclusive_file(self, name: str, *, wait: bool) -> Iterator[bool]:
        if self._lock_path is None:
            yield True
            return
        descriptor = os.open(
            self._lock_path.with_name(f"{self._lock_path.name}-{name}"), os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)

    @contextmanager
    def _advisory_lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        number = int.from_bytes(hashlib.sha256(f"consent/{name}".encode()).digest()[:8], "big", signed=True)
        with self._translated(), self._writer.connect() as connection, connection.begin():
            if wait:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")
                yield True
            else:
                taken = connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({number})").scalar_one()
                yield bool(taken)

    def truncate_wal(self) -> bool:
        """Empty SQLite's write-ahead log, so that what was deleted is not in it any more.

        Returns whether it is empty; a reader in between keeps it, and the next call finds it again.
        PostgreSQL has no such thing to ask for: there, archives and vacuum decide (see the operator's pages).
        """
        if self.dialect != "sqlite":
            return True
        with self._translated(), self._reader.connect() as connection:
            raw = connection.connection.cursor()
            try:
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.close()
        return not busy

    def own_connection(self) -> object:
        """Return a DBAPI connection of the caller's own, outside the pool, in autocommit on SQLite."""
        fairy = self._reader.raw_connection()
        connection = fairy.driver_connection
        fairy.detach()
        return connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise DatabaseUnavailable("every connection is taken") from error
        except DBAPIError as error:
            name, code = type(error.orig).__name__, getattr(error.orig, "sqlstate", None) or ""
            if code in _UNDONE:
                raise TransactionUndone(name) from error
            if code == _READ_ONLY:  # It was the primary, and is no more: connect anew, wherever that leads.
                self._writer.dispose()
            if {code, getattr(error.orig, "sqlite_errorname", None)} & _DAMAGED:
                raise DatabaseDamaged(name) from error
            if (
                isinstance(error, OperationalError)
                or error.connection_invalidated
                or code == _READ_ONLY
                or code.startswith(_INTERNAL)
            ):
                raise DatabaseUnavailable(name) from error
            raise


def _make_file(path: Path) -> None:
    """Make the database's file, for its owner only; SQLite gives its journal files the same mode.

    Raises `ConfigurationError` where it may not be written, `DatabaseUnavailable` for any other trouble.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise ConfigurationError(
                f"{path} may not be written ({error.strerror}). SQLite writes beside it even to read: "
                "take a copy of it, in a folder that may be written."
            ) from None
        raise DatabaseUnavailable(f"{path}: {error.strerror}") from error


def _sqlite_engine(url: URL, pool_size: int, begin: str, lock_seconds: float) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_use_lifo=True,  # Few connections do most of the work, so few caches fill.
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=32,
        pool_timeout=lock_seconds,
        connect_args={"check_same_thread": False, "isolation_level": None, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # DBAPI connections have no common type
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(lock_seconds * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        cursor.execute("PRAGMA temp_store = FILE")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
