"""Scan the Parquet views of many packs on one machine, with DuckDB (extra `duckdb`).

DuckDB hashes the leaves of a chunk, Python folds them: several chunks at once, in as many processes as there
are processors, where there are enough chunks to be worth their start.
"""

import multiprocessing
import os
import signal
from binascii import unhexlify
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from consent_service.errors import ExtraNotInstalled, Unavailable
from consent_service.ledger.merkle import HASH_SIZE
from consent_service.ledger.subtrees import Node, chunk_nodes
from consent_service.operations.scan_packs import Outcome, Unreadable, leaf_files, table_files

_OUTCOMES = (
    "SELECT purpose, status, strftime(make_timestamp(epoch_us(recorded_at)), '%Y-%m'), count(*) "
    "FROM read_parquet(?) WHERE purpose IS NOT NULL GROUP BY ALL"
)
_WORTH_PROCESSES = 6
"""Chunks that take longer to fold than processes take to start."""
_STARTING = multiprocessing.get_context("forkserver")  # DuckDB has threads: no plain fork.

Chunk = tuple[int, list[Node] | None]
"""The first index of a chunk, and the subtrees of its leaves; `None` where they are not one range."""


class DuckdbEngine:
    """The engine that needs nothing but a package."""

    name = "duckdb"

    def __init__(self, *, threads: int | None = None) -> None:
        try:
            import_module("pyarrow")
            duckdb = import_module("duckdb")
        except ImportError:
            raise ExtraNotInstalled("duckdb") from None
        self._error: type[Exception] = duckdb.Error
        self._duckdb: Any = duckdb.connect(config={} if threads is None else {"threads": threads})
        self._beside: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """Let go of what the engine holds."""
        self._duckdb.close()
        if self._beside is not None:
            self._beside.shutdown()

    def nodes(self, folder: Path) -> Iterator[tuple[int, Node] | Unreadable]:
        """Yield (number of the pack, root of a subtree) for every chunk of every pack in the folder."""
        for pack, files in leaf_files(folder):
            try:
                for start, nodes in self._chunks(files):
                    if nodes is None:
                        yield Unreadable(pack=pack, reason="not one range of leaves", index=start)
                    else:
                        yield from [(pack, node) for node in nodes]
            except self._error as error:
                yield Unreadable(pack=pack, reason=_first_line(error))

    def _chunks(self, files: list[Path]) -> Iterator[Chunk]:
        """Yield what is in each file, in their order."""
        if self._beside is None and len(files) < _WORTH_PROCESSES:
            yield from map(self.chunk, files)
            return
        if self._beside is None:
            self._beside = ProcessPoolExecutor(os.cpu_count(), _STARTING, _leave_interrupts)
        try:
            yield from self._beside.map(_chunk_there, files)
        except BrokenProcessPool:
            raise Unavailable("A process that folded a part of a log ended early: try again.") from None

    def chunk(self, file: Path) -> Chunk:
        """Return what is in one file of leaves."""
        start, hashes = self._read(file)
        return start, None if hashes is None else list(chunk_nodes(start, hashes))

    def outcomes(self, folder: Path) -> Iterator[Outcome | Unreadable]:
        """Yield how often each purpose got each status, by pack and month."""
        for pack, files in table_files(folder):
            try:
                rows = self._duckdb.execute(_OUTCOMES, [[str(file) for file in files]]).fetchall()
            except self._error as error:
                yield Unreadable(pack=pack, reason=_first_line(error))
                continue
            for purpose, status, month, count in rows:
                yield Outcome(pack=pack, purpose=purpose, status=status, month=month, count=count)

    def _read(self, file: Path) -> tuple[int, bytes | None]:
        """Return the first index of the leaves in a file, and their hashes, one behind the other."""
        # Hexadecimal digits come back: unhex() would cost half as much as hashing does.
        leaves = self._duckdb.sql(
            """SELECT "index", sha256('\\x00'::BLOB || leaf) AS hash FROM read_parquet(?)""",
            params=[str(file)],
        ).to_arrow_table()
        start, leaves = self._in_order(leaves)
        if leaves is None:
            return start, None
        return start, b"".join(_digests(chunk) for chunk in leaves["hash"].chunks)

    def _in_order(self, leaves: Any) -> tuple[int, Any]:
        """Return the first index, and the leaves by index; `None` for them where they are not one range."""
        if not len(leaves):
            return 0, leaves
        compute = import_module("pyarrow.compute")
        steps = compute.pairwise_diff(leaves["index"].combine_chunks())
        if not compute.all(compute.equal(steps, 1)).as_py():
            leaves = leaves.sort_by("index")
        start, last = leaves["index"][0].as_py(), leaves["index"][-1].as_py()
        return start, leaves if last - start + 1 == len(leaves) else None


def _leave_interrupts() -> None:
    """Let the process that asked for a scan say when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _engine_there() -> DuckdbEngine:
    return DuckdbEngine(threads=1)


def _chunk_there(file: Path) -> Chunk:
    """Return what is in one file, in a process that is one of several."""
    return _engine_there().chunk(file)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _digests(column: Any) -> bytes:
    """Return the digests of a column of hexadecimal texts, all of one length."""
    digits = 2 * HASH_SIZE
    start = column.offset * digits
    return unhexlify(memoryview(column.buffers()[2])[start : start + len(column) * digits])
