"""A shop on a fresh database of either kind, whose ledger verifies after every test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import make_url

from tests.postgres import PostgresServer
from tests.shop import Shop


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with the example notice: recommendations, coupons, support_context and ai_assistance."""
    shop = Shop(migrated_url, tmp_path / "home")
    yield shop
    shop.check_ledger()
    shop.close()


@pytest.fixture
def tampered_shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose ledger need not verify when the test is done with it."""
    shop = Shop(migrated_url, tmp_path / "home")
    yield shop
    shop.close()


@pytest.fixture
def base_backup(postgres_server: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Takes a pg_basebackup of the server, serves it, and gives the copy's URL of the same database."""
    with ExitStack() as stack:

        def copy(database_url: str) -> str:
            folder = stack.enter_context(TemporaryDirectory(prefix="consent-bb-"))
            server = postgres_server.base_backup(Path(folder))
            stack.callback(server.stop)
            return server.url(str(make_url(database_url).database))

        yield copy
