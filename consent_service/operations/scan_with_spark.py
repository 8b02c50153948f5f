"""Scan the Parquet views of very many packs on many machines, with Apache Spark (extra `spark`)."""

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from consent_service.errors import ConfigurationError, ExtraNotInstalled
from consent_service.ledger.subtrees import Node, chunk_nodes
from consent_service.operations.scan_packs import Outcome, Unreadable, leaf_files, table_files

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
        FROM {source} GROUP BY pack, `index` DIV 65536)"""
_OUTCOMES = """
    SELECT pack, purpose, status, date_format(recorded_at, 'yyyy-MM') AS month, count(*)
    FROM {source} WHERE purpose IS NOT NULL GROUP BY ALL"""

_ONE = "(SELECT {pack} AS pack, * FROM parquet.`{folder}`)"


class SparkEngine:
    """A session on the cluster that `SPARK_REMOTE` or spark-submit names, else on this machine's cores."""

    name = "spark"

    def __init__(self, *, cores: str = "*") -> None:
        try:
            builder: Any = import_module("pyspark.sql").SparkSession.builder
            failed: type[Exception] = import_module("pyspark.errors").PySparkException
        except ImportError:
            raise ExtraNotInstalled("spark") from None
        self._errors = failed, import_module("py4j.protocol").Py4JError
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.log.level": "OFF",  # what fails is said in one line, not in Java's words
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

    def nodes(self, folder: Path) -> Iterator[tuple[int, Node] | Unreadable]:
        """Yield (number of the pack, root of a subtree) for every chunk of every pack in the folder."""
        for row in self._rows(_CHUNKS, leaf_files(folder)):
            if isinstance(row, Unreadable):
                yield row
                continue
            pack, start, leaves, last, nodes = row
            if last - start + 1 != leaves:
                yield Unreadable(pack=pack, reason="not one range of leaves", index=start)
            elif leaves == _CHUNK:
                yield pack, (16, start // _CHUNK, bytes(nodes[0]))
            else:
                for node in chunk_nodes(start, b"".join(map(bytes, nodes))):
                    yield pack, node

    def outcomes(self, folder: Path) -> Iterator[Outcome | Unreadable]:
        """Yield how often each purpose got each status, by pack and month."""
        for row in self._rows(_OUTCOMES, table_files(folder), whole=True):
            if isinstance(row, Unreadable):
                yield row
            else:
                pack, purpose, status, month, count = row
                yield Outcome(pack=pack, purpose=purpose, status=status, month=month, count=count)

    def _rows(
        self, query: str, packs: Iterable[tuple[int, list[Path]]], *, whole: bool = False
    ) -> Iterator[Any]:
        """Yield the rows of a query over all packs; pack by pack where one of them cannot be read.

        Rows that came before that come again, unless they are fetched as a `whole`.
        """
        folders = {pack: files[0].parent for pack, files in packs}
        everything = f"parquet.`{next(iter(folders.values())).parent}`"
        try:
            yield from self._asked(query, everything, whole=whole)
        except self._errors:
            for pack, folder in folders.items():
                one = _ONE.format(pack=pack, folder=folder)
                try:
                    yield from self._asked(query, one, whole=whole)
                except self._errors as error:
                    yield Unreadable(pack=pack, reason=str(error).partition("\n")[0])

    def _asked(self, query: str, source: str, *, whole: bool) -> Iterable[Any]:
        found = self._spark.sql(query.format(source=source))
        rows: Iterable[Any] = found.collect() if whole else found.toLocalIterator()
        return rows
