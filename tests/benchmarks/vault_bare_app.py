"""What the vault is measured against: ours without key grants, and a profile that is stored in clear.

Served as `tests.benchmarks.vault_bare_app:create_app_without_keys` and `…:create_clear_app`.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, select
from sqlalchemy.dialects import postgresql, sqlite

from consent_service.api.app import create_app
from consent_service.operations.key_moves import KeyMoves
from consent_service.storage.engine import Database

_METADATA = MetaData()
_SUBJECT = Table("clear_subject", _METADATA, Column("name", Text, primary_key=True), Column("state", Text))
_VALUE = Table(
    "clear_value",
    _METADATA,
    Column("name", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("value", LargeBinary),
)


def create_app_without_keys() -> FastAPI:
    """Return our application, whose decisions move no keys."""

    def nothing(*_arguments: object) -> None:
        return

    for name in ("load", "begin", "follow", "settle", "store"):
        setattr(KeyMoves, name, nothing)
    return create_app()


def create_clear_app() -> FastAPI:
    """Return an application with one route, PATCH /clear: a look-up, an upsert, a durable commit."""
    database = Database(os.environ["BARE_DATABASE_URL"])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with database.writing() as connection:
            _METADATA.create_all(connection)
        yield
        database.close()

    app = FastAPI(lifespan=lifespan)
    insert = postgresql.insert(_VALUE) if database.dialect == "postgresql" else sqlite.insert(_VALUE)
    upsert = insert.on_conflict_do_update(
        index_elements=["name", "category", "field"], set_={"value": insert.excluded.value}
    )

    @app.patch("/clear")
    def patch(
        changes: dict[str, dict[str, object]], consent_subject: Annotated[str, Header()]
    ) -> dict[str, list[str]]:
        with database.writing() as connection:
            connection.execute(select(_SUBJECT).where(_SUBJECT.c.name == consent_subject)).all()
            rows = [
                {
                    "name": consent_subject,
                    "category": category,
                    "field": field,
                    "value": json.dumps(value).encode(),
                }
                for category, fields in changes.items()
                for field, value in fields.items()
            ]
            connection.execute(upsert, rows)
        return {"stored": [f"{row['category']}.{row['field']}" for row in rows]}

    return app
