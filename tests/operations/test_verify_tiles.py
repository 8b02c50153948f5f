"""Verification knows which tiles are full and which still grow, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from consent_service.errors import LedgerCorrupt
from consent_service.operations.rotate_keys import rotate_signing_key
from tests.shop import Shop

DECISIONS = 800
"""With the notice's entry: three full tiles, a fourth that grows, and a tile of level 1 with three hashes."""


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(migrated_url, tmp_path / "home")
    decisions = [shop.decision(f"customer-{number}", {"coupons": "granted"}) for number in range(DECISIONS)]
    shop.service.committer.submit_many_blocking(shop.tenant, decisions)
    yield shop
    shop.close()


def test_a_ledger_with_a_tile_of_level_1_that_has_grown_verifies(shop: Shop) -> None:
    assert shop.check_ledger().size == 1 + DECISIONS


def test_a_part_of_the_log_trusts_the_signing_keys_that_came_before_it(shop: Shop) -> None:
    rotate_signing_key(shop.service.deployment, shop.service.committer, shop.tenant)
    shop.service.committer.submit_many_blocking(
        shop.tenant, [shop.decision(f"late-{number}", {"coupons": "granted"}) for number in range(300)]
    )

    assert shop.check_ledger().size == 1 + DECISIONS + 1 + 300


@pytest.mark.parametrize(("level", "n", "first"), [(0, 3, 768 + 1), (1, 0, 256)])
def test_a_changed_hash_of_a_tile_that_still_grows_is_named_by_its_first_entry(
    shop: Shop, level: int, n: int, first: int
) -> None:
    with shop.service.deployment.database.writing() as connection:
        where = {"level": level, "n": n}
        data = bytearray(
            connection.execute(
                text("SELECT data FROM tile WHERE level = :level AND n = :n"), where
            ).scalar_one()
        )
        data[33] ^= 1
        connection.execute(
            text("UPDATE tile SET data = :data WHERE level = :level AND n = :n"),
            {**where, "data": bytes(data)},
        )

    with pytest.raises(LedgerCorrupt) as caught:
        shop.check_ledger()

    assert caught.value.index == first
