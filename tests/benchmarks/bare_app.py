"""What we measure ourselves against: idiomatic FastAPI endpoints on the same server, with the same body.

`/bare/noop` only validates it; `/bare/commit` also group-commits one row durably; `/bare/orm` commits one
row a request through the ORM. Served as `tests.benchmarks.bare_app:create_bare_app`.
"""

import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Header, Request
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert
from sqlalchemy.orm import DeclarativeBase, Session

from consent_service.api.schemas import DecisionBody
from consent_service.operations.coalescer import Coalescer
from consent_service.storage.engine import Database

_METADATA = MetaData()
Subject = Annotated[str, Header(alias="Consent-Subject")]
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
BARE = Table(
    "bare", _METADATA, Column("id", _ROW_ID, primary_key=True), Column("subject", Text), Column("body", Text)
)


class _Base(DeclarativeBase):
    metadata = _METADATA


class BareRow(_Base):
    """The same row as an ORM object."""

    __table__ = BARE


def create_bare_app() -> FastAPI:
    """Return the application; BARE_DATABASE_URL names its database."""
    database = Database(os.environ["BARE_DATABASE_URL"])
    one_at_a_time = threading.Lock()

    def commit(rows: Sequence[dict[str, str]]) -> list[int]:
        with database.writing() as connection:
            connection.execute(insert(BARE), list(rows))
        return [0] * len(rows)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with database.writing() as connection:
            _METADATA.create_all(connection)
        app.state.committer = Coalescer("bare", commit, batch_limit=256, queue_limit=4096)
        yield
        app.state.committer.close()
        database.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/bare/noop", status_code=201)
    async def noop(body: DecisionBody, consent_subject: Subject) -> dict[str, object]:
        return _answer(body)

    @app.post("/bare/commit", status_code=201)
    async def group_commit(
        body: DecisionBody, request: Request, consent_subject: Subject
    ) -> dict[str, object]:
        row = {"subject": consent_subject, "body": body.model_dump_json()}
        await request.app.state.committer.ask(row)
        return _answer(body)

    @app.post("/bare/orm", status_code=201)
    def orm_commit(body: DecisionBody, consent_subject: Subject) -> dict[str, object]:
        with one_at_a_time, Session(database.engine) as session:
            session.add(BareRow(subject=consent_subject, body=body.model_dump_json()))
            session.commit()
        return _answer(body)

    return app


def _answer(body: DecisionBody) -> dict[str, object]:
    return {
        "index": 1,
        "recorded_at": datetime.now(UTC),
        "consents": {key: {"status": choice} for key, choice in body.choices.items()},
    }
