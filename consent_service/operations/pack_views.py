"""The tables that a pack has of its records, for people and their tools."""

from collections.abc import Iterator
from functools import partial

from consent_service.operations.pack_file import Ahead, PackFile
from consent_service.operations.parquet_views import TableParquet, parquet_installed
from consent_service.verifier.verify import VIEW_HEADER

_ROW_GROUP = 1 << 22
"""Bytes of a table from which on its rows become a row group of the Parquet view."""


class PackViews:
    """The tables of a chunk in the making: CSV, compressed at once, and Parquet where that is installed."""

    def __init__(self, file: PackFile) -> None:
        self._file, self._csv = file, Ahead(file)
        self._csv.add(VIEW_HEADER.encode())
        self._parquet = TableParquet() if parquet_installed() else None
        self._rows: list[bytes] = []
        self._size = 0

    def append(self, rows: list[str]) -> None:
        """Add the rows of some entries."""
        data = "".join(rows).encode()
        self._csv.add(data)
        self._rows.append(data)
        self._size += len(data)
        if self._size > _ROW_GROUP:
            self._group()

    def _group(self) -> None:
        if self._parquet is not None and self._size:
            self._file.later(self._size, partial(self._parquet.append, b"".join(self._rows)))
        self._rows.clear()
        self._size = 0

    def members(self, number: str) -> Iterator[bytes]:
        """Yield the members; nobody appends any more."""
        self._group()
        yield from self._file.member(f"table/{number}.csv", self._csv, ahead=True)
        if self._parquet is not None:
            name = f"table/{number}.parquet"
            yield from self._file.member(name, [self._parquet.close], stored=True, ahead=True)
