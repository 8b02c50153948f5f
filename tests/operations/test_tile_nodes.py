"""The nodes half-way up full tiles: stored with them, never changed, and no proof rests on a wrong one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from consent_service.errors import InvalidProof
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.merkle import verify_consistency, verify_inclusion
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.tiles import half_way
from consent_service.operations.read_ledger import prove_consistency, prove_inclusion, read_checkpoint
from consent_service.storage.engine import Database
from consent_service.storage.schema import migrate
from tests.installation import Tampering
from tests.shop import Shop

SIZE = 801
"""Three full tiles, a fourth that grows, and a tile of level 1 with three hashes."""
PLACES = [0, 255, 256, 700, 768, 800]


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(migrated_url, tmp_path / "home")
    decisions = [shop.decision(f"customer-{number}", {"coupons": "granted"}) for number in range(SIZE - 1)]
    shop.service.committer.submit_many_blocking(shop.tenant, decisions)
    yield shop
    shop.close()


@pytest.fixture
def spoil(shop: Shop, migrated_url: str) -> Iterator[Tampering]:
    """Somebody who changes rows of `shop`'s database."""
    tampering = Tampering(migrated_url)
    tampering.drop_triggers()
    yield tampering
    tampering.close()


def assert_proven(shop: Shop) -> None:
    """Proofs of entries and of an older root lead to the root of the signed checkpoint."""
    deployment, tenant = shop.service.deployment, shop.tenant
    note = read_checkpoint(deployment, tenant)
    root = open_checkpoint(note, NoteVerifier.parse(tenant.signer.vkey), origin=tenant.origin).root
    for index in PLACES:
        proof = prove_inclusion(deployment, tenant, index=index)
        verify_inclusion(index=index, size=SIZE, leaf_hash=proof.leaf_hash, proof=proof.proof, root=root)
    older = prove_consistency(deployment, tenant, old_size=300)
    verify_consistency(old_size=300, new_size=SIZE, old_root=older.old_root, new_root=root, proof=older.proof)


def nodes_of(shop: Shop) -> dict[tuple[int, int], tuple[bytes, bytes]]:
    """The hashes and the nodes of each tile and bundle."""
    with shop.service.deployment.database.reading() as connection:
        rows = connection.execute(text("SELECT level, n, data, nodes FROM tile"))
        return {(level, n): (bytes(data), bytes(nodes)) for level, n, data, nodes in rows}


def test_each_full_tile_is_stored_with_its_nodes_and_nothing_else_has_any(shop: Shop) -> None:
    stored = nodes_of(shop)

    assert {place for place, (_, nodes) in stored.items() if nodes} == {(0, 0), (0, 1), (0, 2)}
    assert all(nodes == half_way(data) for data, nodes in stored.values() if nodes)


def test_nodes_cannot_be_changed(shop: Shop) -> None:
    for nodes in (bytes(512), b""):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            shop.service.deployment.database.writing() as connection,
        ):
            connection.execute(
                text("UPDATE tile SET nodes = :nodes WHERE level = 0 AND n = 1"), {"nodes": nodes}
            )


@pytest.mark.parametrize("nodes", [bytes(512), bytes(31), b""], ids=["other", "short", "none"])
def test_proofs_do_not_rest_on_nodes_that_are_wrong(shop: Shop, spoil: Tampering, nodes: bytes) -> None:
    spoil.run("UPDATE tile SET nodes = :nodes WHERE level = 0 AND width = 256", nodes=nodes)

    assert_proven(shop)


def test_a_full_tile_without_nodes_that_an_older_program_wrote_verifies(shop: Shop, spoil: Tampering) -> None:
    spoil.run("UPDATE tile SET nodes = :none WHERE n = 1", none=b"")

    assert shop.check_ledger().size == SIZE


@pytest.mark.parametrize(("level", "n", "byte", "index"), [(0, 1, 40, 257), (0, 3, 0, 769), (1, 0, 33, 100)])
def test_no_proof_is_made_from_a_changed_hash(
    shop: Shop, spoil: Tampering, level: int, n: int, byte: int, index: int
) -> None:
    where = f"level = {level} AND n = {n}"
    data = bytearray(spoil.value(f"SELECT data FROM tile WHERE {where}"))  # noqa: S608  # numbers of the test
    data[byte] ^= 1
    spoil.run(f"UPDATE tile SET data = :data WHERE {where}", data=bytes(data))  # noqa: S608  # the same

    with pytest.raises(InvalidProof):
        prove_inclusion(shop.service.deployment, shop.tenant, index=index)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Every statement that is executed."""
    statements: list[str] = []

    def hear(*seen: object) -> None:
        statements.append(str(seen[2]))

    event.listen(Engine, "before_cursor_execute", hear)
    yield statements
    event.remove(Engine, "before_cursor_execute", hear)


def test_of_the_tiles_over_tiles_each_is_read_once(shop: Shop, heard: list[str]) -> None:
    prove_inclusion(shop.service.deployment, shop.tenant, index=0)
    heard.clear()

    prove_inclusion(shop.service.deployment, shop.tenant, index=300)

    assert len([statement for statement in heard if " tile " in statement]) == 1


def test_full_tiles_of_schema_0007_get_their_nodes(shop: Shop, migrated_url: str) -> None:
    stored = nodes_of(shop)
    database = Database(migrated_url)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE tile DROP COLUMN nodes"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))

    migrate(database)

    database.close()
    assert nodes_of(shop) == stored
    test_nodes_cannot_be_changed(shop)
    shop.decide("late", {"coupons": "granted"})
    assert shop.check_ledger().size == SIZE + 1
