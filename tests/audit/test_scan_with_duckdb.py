"""Many chunks are folded in processes of their own, to the same root."""

import multiprocessing
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from consent_service.errors import InvalidProof, Unavailable
from consent_service.ledger.merkle import root_hash, tree_root
from consent_service.ledger.subtrees import folded
from consent_service.operations.parquet_views import leaves_parquet
from consent_service.operations.scan_packs import Unreadable
from consent_service.operations.scan_with_duckdb import DuckdbEngine

_FILES, _LEAVES = 9, 300
LEAVES = [b'{"leaf":%d}' % number for number in range(_FILES * _LEAVES)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Views of one pack: many files of leaves, each a range of the log."""
    pack = tmp_path / "leaves" / "pack=0"
    pack.mkdir(parents=True)
    for number in range(_FILES):
        start = number * _LEAVES
        file = pack / f"{number:06}.parquet"
        file.write_bytes(leaves_parquet(start, LEAVES[start : start + _LEAVES]))
    return tmp_path


@pytest.fixture
def engine() -> Iterator[DuckdbEngine]:
    with closing(DuckdbEngine()) as engine:
        yield engine


def test_many_chunks_lead_to_the_root_of_their_leaves(folder: Path, engine: DuckdbEngine) -> None:
    found = list(engine.nodes(folder))

    nodes = [each[1] for each in found if not isinstance(each, Unreadable)]
    assert multiprocessing.active_children()
    assert tree_root(len(LEAVES), folded(nodes)) == root_hash(
        [sha256(b"\0" + leaf).digest() for leaf in LEAVES]
    )


def test_a_missing_leaf_among_many_chunks_is_named(folder: Path, engine: DuckdbEngine) -> None:
    file = folder / "leaves" / "pack=0" / "000004.parquet"
    file.write_bytes(leaves_parquet(4 * _LEAVES, LEAVES[4 * _LEAVES : 5 * _LEAVES - 1]))
    nodes = [each[1] for each in engine.nodes(folder) if not isinstance(each, Unreadable)]

    with pytest.raises(InvalidProof, match=f"Entry {5 * _LEAVES - 1} is missing"):
        tree_root(len(LEAVES), folded(nodes))


def test_a_process_that_ended_is_said_to_have(folder: Path, engine: DuckdbEngine) -> None:
    list(engine.nodes(folder))
    for process in multiprocessing.active_children():
        process.kill()
        process.join()

    with pytest.raises(Unavailable, match="ended early"):
        list(engine.nodes(folder))
