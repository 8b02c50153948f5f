"""Chunks are folded in threads, many of them in processes of their own, to the same root."""

import multiprocessing
import subprocess
import sys
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

_FILES, _LEAVES = 36, 75
LEAVES = [b'{"leaf":%d}' % number for number in range(_FILES * _LEAVES)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Views of one pack: many files of leaves, each a range of the log."""
    _write_chunks(tmp_path, range(_FILES))
    return tmp_path


def _write_chunks(folder: Path, numbers: range, *, pack: int = 0) -> None:
    target = folder / "leaves" / f"pack={pack}"
    target.mkdir(parents=True)
    for number in numbers:
        start = number * _LEAVES
        file = target / f"{number:06}.parquet"
        file.write_bytes(leaves_parquet(start, LEAVES[start : start + _LEAVES]))


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


def test_few_chunks_of_several_packs_are_folded_without_another_process(
    tmp_path: Path, engine: DuckdbEngine
) -> None:
    packs = {0: range(7), 1: range(7, 9), 2: range(9, 10)}
    for pack, numbers in packs.items():
        _write_chunks(tmp_path, numbers, pack=pack)

    found = list(engine.nodes(tmp_path))

    nodes = [each[1] for each in found if not isinstance(each, Unreadable)]
    assert not multiprocessing.active_children()
    assert {each[0] for each in found if not isinstance(each, Unreadable)} == set(packs)
    size = 10 * _LEAVES
    assert tree_root(size, folded(nodes)) == root_hash(
        [sha256(b"\0" + leaf).digest() for leaf in LEAVES[:size]]
    )


def test_every_chunk_that_cannot_be_read_is_said_of_its_own_pack(
    tmp_path: Path, engine: DuckdbEngine
) -> None:
    for pack in range(3):
        _write_chunks(tmp_path, range(pack, pack + 1), pack=pack)
    (tmp_path / "leaves" / "pack=1" / "000001.parquet").write_bytes(b"PAR1")

    found = list(engine.nodes(tmp_path))

    assert [each.pack for each in found if isinstance(each, Unreadable)] == [1]
    assert {each[0] for each in found if not isinstance(each, Unreadable)} == {0, 2}


def test_a_scan_leaves_pandas_alone_where_it_is_installed(tmp_path: Path) -> None:
    _write_chunks(tmp_path, range(2))
    program = (
        "import sys; from pathlib import Path; "
        "from consent_service.operations.scan_with_duckdb import DuckdbEngine; "
        "assert list(DuckdbEngine().nodes(Path(sys.argv[1]))); "
        "assert 'pyarrow' in sys.modules; assert 'pandas' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


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
