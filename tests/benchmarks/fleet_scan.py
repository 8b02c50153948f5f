"""What a scan of many packs costs: leaves hashed and trees folded, beside DuckDB's own scan-and-hash.

Sixteen aligned chunks, 1,048,576 leaves (eight with QUICK=1), read from Parquet. The bare query hashes every
leaf of the same files and keeps the largest hash.
"""

import hashlib
import tempfile
import time
from importlib import import_module
from pathlib import Path

from consent_service.ledger.entry import Kind, leaf
from consent_service.ledger.merkle import tree_root
from consent_service.ledger.subtrees import folded
from consent_service.operations.parquet_views import leaves_parquet
from consent_service.operations.scan_with_duckdb import DuckdbEngine
from tests.benchmarks.measure import QUICK, interleaved, median, ratio

_CHUNK = 65_536
_CHUNKS = 8 if QUICK else 16
_SIZE = _CHUNK * _CHUNKS
_BARE = "SELECT max(sha256('\\x00'::BLOB || leaf)) FROM read_parquet(?)"


def figures() -> dict[str, object]:
    """Return leaves a second of the scan and of the bare query, and the ratio of neighbours."""
    with tempfile.TemporaryDirectory(prefix="consent-scan-bench-") as name:
        folder = Path(name)
        files = _written(folder / "leaves" / "pack=0")
        engine = DuckdbEngine()
        bare = import_module("duckdb").connect()

        def scan() -> float:
            started = time.perf_counter()
            tree_root(_SIZE, folded(each[1] for each in engine.nodes(folder) if isinstance(each, tuple)))
            return _SIZE / (time.perf_counter() - started)

        def hashing() -> float:
            started = time.perf_counter()
            bare.execute(_BARE, [files]).fetchall()
            return _SIZE / (time.perf_counter() - started)

        measured = interleaved({"scan": scan, "bare": hashing}, rounds=5)
        engine.close()
        bare.close()
    return {
        "leaves": _SIZE,
        "scan_leaves_per_s": median(measured["scan"]),
        "bare_leaves_per_s": median(measured["bare"]),
        "ratio": ratio(measured, "scan", "bare"),
    }


def _written(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    files = []
    for chunk in range(_CHUNKS):
        start = chunk * _CHUNK
        leaves = [
            leaf("consent.example/shop", Kind.DECISION, hashlib.sha256(b"%d" % number).digest())
            for number in range(start, start + _CHUNK)
        ]
        file = folder / f"{chunk:06}.parquet"
        file.write_bytes(leaves_parquet(start, leaves))
        files.append(str(file))
    return files
