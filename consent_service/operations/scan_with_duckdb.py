"""Scan the Parquet views of many packs on one machine, with DuckDB (extra `duckdb`)."""

from binascii import unhexlify
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from consent_service.errors import ExtraNotInstalled
from consent_service.ledger.merkle import HASH_SIZE
from consent_service.ledger.subtrees import Node, chunk_nodes
from consent_service.operations.scan_packs import Outcome, Unreadable, leaf_files, table_files

_OUTCOMES = (
    "SELECT purpose, status, strftime(make_timestamp(epoch_us(recorded_at)), '%Y-%m'), count(*) "
    "FROM read_parquet(?) WHERE purpose IS NOT NULL GROUP BY ALL"
)


class DuckdbEngine:
    """The engine that needs nothing but a package."""

    name = "duckdb"

    def __init__(self) -> None:
        try:
            import_module("pyarrow")
            duckdb = import_module("duckdb")
        except ImportError:
            raise ExtraNotInstalled("duckdb") from None
        self._error: type[Exception] = duckdb.Error
        self._duckdb: Any = duckdb.connect()

    def close(self) -> None:
        """Let go of what the engine holds."""
        self._duckdb.close()

    def nodes(self, folder: Path) -> Iterator[tuple[int, Node] | Unreadable]:
        """Yield (number of the pack, root of a subtree) for every chunk of every pack in the folder."""
        for pack, files in leaf_files(folder):
            try:
                for start, hashes in self._ahead(files):
                    if hashes is None:
                        yield Unreadable(pack=pack, reason="not one range of leaves", index=start)
                    else:
                        yield from [(pack, node) for node in chunk_nodes(start, hashes)]
            except self._error as error:
                yield Unreadable(pack=pack, reason=_first_line(error))

    def _ahead(self, files: list[Path]) -> Iterator[tuple[int, bytes | None]]:
        """Yield what is in each file, a chunk, while DuckDB hashes the next one."""
        with ThreadPoolExecutor(1) as beside:
            coming = deque([beside.submit(self._read, files[0])])
            for following in [*files[1:], None]:
                found = coming.popleft().result()
                if following is not None:
                    coming.append(beside.submit(self._read, following))
                yield found

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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _digests(column: Any) -> bytes:
    """Return the digests of a column of hexadecimal texts, all of one length."""
    digits = 2 * HASH_SIZE
    start = column.offset * digits
    return unhexlify(memoryview(column.buffers()[2])[start : start + len(column) * digits])
