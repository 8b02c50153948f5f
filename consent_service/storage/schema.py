"""Bring a database to this program's schema, or say why it cannot be used."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from consent_service.errors import SchemaMismatch
from consent_service.storage.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"
_POSTGRESQL_MIGRATION_LOCK = 0x636F6E73656E74  # "consent" in ASCII


def migrate(database: Database) -> str:
    """Upgrade to the newest schema in one transaction; return its revision.

    Several processes may try at once: one migrates, the others find nothing left to do. Raises
    `SchemaMismatch` for a database that a newer program wrote.
    """
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_MIGRATION_LOCK})")
        _refuse_newer(connection)
        command.upgrade(_config(connection), "head")
        return _newest()


def require_schema(database: Database) -> None:
    """Make the schema of an empty database, upgrade an old SQLite file; raise `SchemaMismatch` otherwise.

    A PostgreSQL database with data in it is upgraded by `consent migrate` only: when is the operator's word.
    """
    with database.reading() as connection:
        revision = _revision(connection)
        empty = revision is None and not inspect(connection).get_table_names()
    if revision == _newest():
        return
    if empty or database.dialect == "sqlite":
        migrate(database)
        return
    raise SchemaMismatch(
        f"The database has schema {revision}, this program needs {_newest()}: consent migrate"
    )


def _refuse_newer(connection: Connection) -> None:
    revision = _revision(connection)
    known = {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaMismatch(f"A newer program wrote this database (schema {revision}): upgrade this one.")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _newest() -> str:
    revision = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if revision is None:
        raise SchemaMismatch("This program came without its migrations: install it again.")
    return revision


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
