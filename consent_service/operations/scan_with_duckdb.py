"""Scan the Parquet views of many packs on one machine, with DuckDB (extra `duckdb`).

DuckDB hashes the leaves of a chunk, Python folds them: as many chunks at once as there are processors, of
whichever packs. DuckDB lets go of the interpreter, folding does not: many chunks are shared out to processes.
"""

import multiprocessing
import os
import signal
from binascii import unhexlify
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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
_WORTH_PROCESSES = 32
"""Chunks that threads, which fold in turns, take longer for than processes do with their start."""
_STARTING = multiprocessing.get_context("forkserver")  # DuckDB has threads: no plain fork.

Work = tuple[int, Path]
"""The number of a pack, and one of its files of leaves."""
Found = list[tuple[int, Node]] | Unreadable
"""The subtrees of a chunk, each with the number of its pack."""


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
        work = [(pack, file) for pack, files in leaf_files(folder) for file in files]
        shared = self._in_threads if len(work) < _WORTH_PROCESSES else self._in_processes
        for found in shared(work):
            if isinstance(found, Unreadable):
                yield found
            else:
                yield from found

    def _in_threads(self, work: list[Work]) -> Iterator[Found]:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            yield from threads.map(self.chunk, work)

    def _in_processes(self, work: list[Work]) -> Iterator[Found]:
        if self._beside is None:
            self._beside = ProcessPoolExecutor(os.cpu_count(), _STARTING, _leave_interrupts)
        try:
            yield from self._beside.map(_chunk_there, work)
        except BrokenProcessPool:
            raise Unavailable("A process that folded a part of a log ended early: try again.") from None

    def chunk(self, work: Work) -> Found:
        """Return what is in one file of leaves."""
        pack, file = work
        try:
            start, hashes = self._read(file)
        except self._error as error:
            return Unreadable(pack=pack, reason=_first_line(error))
        if hashes is None:
            return Unreadable(pack=pack, reason="not one range of leaves", index=start)
        return [(pack, node) for node in chunk_nodes(start, hashes)]

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
        with self._duckdb.cursor() as beside:
            leaves = beside.sql(
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
        # A number of Python's to compare with would take pandas, where that is: two seconds.
        steps = compute.min_max(compute.pairwise_diff(leaves["index"].combine_chunks())).as_py()
        if not {*steps.values()} <= {1, None}:
            leaves = leaves.sort_by("index")
        start, last = leaves["index"][0].as_py(), leaves["index"][-1].as_py()
        return start, leaves if last - start + 1 == len(leaves) else None


def _leave_interrupts() -> None:
    """Let the process that asked for a scan say when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _engine_there() -> DuckdbEngine:
    return DuckdbEngine(threads=1)


def _chunk_there(work: Work) -> Found:
    """Return what is in one file, in a process that is one of several."""
    return _engine_there().chunk(work)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _digests(column: Any) -> bytes:
    """Return the digests of a column of hexadecimal texts, all of one length."""
    digits = 2 * HASH_SIZE
    start = column.offset * digits
    return unhexlify(memoryview(column.buffers()[2])[start : start + len(column) * digits])
