"""Bring a database to this program's schema, or say why it cannot be used."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from consent_service.errors import NoDatabase, SchemaMismatch
from consent_service.storage.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

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
        from alembic import command  # noqa: PLC0415  # a start without migration need not wait for it

        command.upgrade(_config(connection), "head")
        return _newest()


def require_schema(database: Database, *, begin: bool = True) -> None:
    """Make the schema of an empty database, upgrade an old SQLite file; raise `SchemaMismatch` otherwise.

    A PostgreSQL database with data in it is upgraded by `consent migrate` only: when is the operator's word.
    Without `begin`, an empty database is left as it is: `NoDatabase`.
    """
    with database.reading() as connection:
        _refuse_newer(connection)
        revision = _revision(connection)
        empty = revision is None and not inspect(connection).get_table_names()
    if revision == _newest():
        return
    if empty and not begin:
        raise NoDatabase("The database is empty.")
    if empty or (database.dialect == "sqlite" and revision is not None):
        migrate(database)
        return
    if revision is None:
        raise SchemaMismatch("The database holds another program's tables: name one for this program alone.")
    raise SchemaMismatch(
        f"The database has schema {revision}, this program needs {_newest()}: consent migrate"
    )


def _refuse_newer(connection: Connection) -> None:
    revision = _revision(connection)
    if revision is not None and revision not in _known():
        raise SchemaMismatch(f"A newer program wrote this database (schema {revision}): upgrade this one.")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _known() -> list[str]:
    """Return the revisions that this program has: `m0001_ledger.py` is revision 0001."""
    revisions = sorted(path.stem[1:5] for path in (_MIGRATIONS / "versions").glob("m[0-9]*.py"))
    if not revisions:
        raise SchemaMismatch("This program came without its migrations: install it again.")
    return revisions


def _newest() -> str:
    return _known()[-1]


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415  # see migrate

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
