"""Scan the Parquet views of very many packs on many machines, with Apache Spark (extra `spark`)."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from consent_service.errors import ConfigurationError, ExtraNotInstalled
from consent_service.ledger.subtrees import Node, chunk_nodes
from consent_service.operations.scan_packs import UNREADABLE, Outcome

_CHUNK = 65_536
# A whole chunk is folded where its leaves are, sixteen times in pairs; of a part the leaf hashes come back.
_CHUNKS = """
    SELECT pack, start, leaves, last, CASE WHEN leaves = 65536 THEN aggregate(
        sequence(1, 16), hashes,
        (nodes, level) -> transform(
            sequence(0, size(nodes) DIV 2 - 1),
            i -> unhex(sha2(concat(X'01', nodes[2 * i], nodes[2 * i + 1]), 256))))
        ELSE hashes END AS nodes
    FROM (
        SELECT pack, min(`index`) AS start, max(`index`) AS last, count(*) AS leaves,
            transform(array_sort(collect_list(
                struct(`index`, unhex(sha2(concat(X'00', leaf), 256)) AS hash))), each -> each.hash) AS hashes
        FROM parquet.`{folder}` GROUP BY pack, `index` DIV 65536)"""
_OUTCOMES = """
    SELECT pack, purpose, status, date_format(recorded_at, 'yyyy-MM') AS month, count(*)
    FROM parquet.`{folder}` WHERE purpose IS NOT NULL GROUP BY ALL"""


class SparkEngine:
    """A session on the cluster that `SPARK_REMOTE` or spark-submit names, else on this machine's cores."""

    name = "spark"

    def __init__(self, *, cores: str = "*") -> None:
        try:
            builder: Any = import_module("pyspark.sql").SparkSession.builder
            failed = import_module("pyspark.errors").PySparkException
        except ImportError:
            raise ExtraNotInstalled("spark") from None
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.session.timeZone": "UTC",
        }
        if "SPARK_REMOTE" not in os.environ and "MASTER" not in os.environ:
            settings |= {
                "spark.master": f"local[{cores}]",
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
                "spark.sql.shuffle.partitions": "4",
            }
        try:
            self._spark = builder.appName("consent audit scan").config(map=settings).getOrCreate()
        except failed as error:
            reason = type(error).__name__
            raise ConfigurationError(f"Spark did not start ({reason}): it needs Java 17 or 21.") from None

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()

    def nodes(self, folder: Path) -> Iterator[tuple[int, Node]]:
        """Yield (number of the pack, root of a subtree) for every chunk of every pack in the folder."""
        rows = self._spark.sql(_CHUNKS.format(folder=folder / "leaves")).toLocalIterator()
        for pack, start, leaves, last, nodes in rows:
            if last - start + 1 != leaves:
                yield pack, (UNREADABLE, start, b"not one range of leaves")
            elif leaves == _CHUNK:
                yield pack, (16, start // _CHUNK, bytes(nodes[0]))
            else:
                for node in chunk_nodes(start, b"".join(map(bytes, nodes))):
                    yield pack, node

    def outcomes(self, folder: Path) -> Iterator[Outcome]:
        """Yield how often each purpose got each status, by pack and month."""
        for pack, purpose, status, month, count in self._spark.sql(
            _OUTCOMES.format(folder=folder / "table")
        ).toLocalIterator():
            yield Outcome(pack=pack, purpose=purpose, status=status, month=month, count=count)
