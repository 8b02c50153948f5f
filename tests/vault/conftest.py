"""A shop on a fresh database of either kind, whose ledger verifies after every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shop import Shop


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with the example notice: recommendations, coupons, support_context and ai_assistance."""
    shop = Shop(database_url, tmp_path / "home")
    yield shop
    shop.check_ledger()
    shop.close()


@pytest.fixture
def tampered_shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose ledger need not verify when the test is done with it."""
    shop = Shop(database_url, tmp_path / "home")
    yield shop
    shop.close()
