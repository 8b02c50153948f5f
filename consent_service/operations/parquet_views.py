"""The Parquet views of an audit pack: made from what they stand for, and compared with it.

Needs the extra `audit` (pyarrow). A pack has two for each aligned chunk of 65,536 entries: `leaves`, one row
group of index and leaf, which a scan hashes anew, and `table`, the rows of the CSV table with their types.
"""

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from itertools import accumulate, islice
from pathlib import Path
from types import ModuleType
from typing import Any

from consent_service.errors import ExtraNotInstalled
from consent_service.verifier.verify import PARQUET_UNREAD, VIEW_HEADER, Fault, Pack

EXTRA = "audit"
_COLUMNS = VIEW_HEADER.strip().split(",")
_MOMENTS = frozenset({"recorded_at", "decided_at", "valid_until"})
_GUARDED = r"^'([=+\-@\t\r])"
"""What the CSV puts an apostrophe before, so that no spreadsheet takes it for a formula."""
_LEAF = re.compile(rb'\{"index":(\d+),"leaf":(\{[^{}]*\}),')
LARGEST_VIEW = 1 << 28
"""Bytes of a view that are read at most: some ten times as many as one has."""
_ROWS = 1 << 13
"""Rows of a view that are compared at once."""
_BLOCK = 1 << 22
"""Bytes of a table that are parsed at once: longer than any row, and little beside a chunk."""


@cache
def parquet_installed() -> bool:
    """Whether this installation writes and reads Parquet."""
    return find_spec("pyarrow") is not None


class TableParquet:
    """The rows of a CSV table as Parquet, a row group for each piece: one is held with its types."""

    def __init__(self) -> None:
        self._sink = BytesIO()
        schema = _arrow().schema(list(_types().items()))
        self._writer: Any = _arrow("parquet").ParquetWriter(self._sink, schema, **_form(schema.names))

    def append(self, rows: bytes) -> None:
        """Add whole rows, without a header."""
        self._writer.write_table(_typed(rows, names=_COLUMNS))

    def close(self) -> bytes:
        """Return the file."""
        self._writer.close()
        return self._sink.getvalue()


def leaves_parquet(start: int, leaves: list[bytes]) -> bytes:
    """Return the leaves from index `start` as Parquet: one row group."""
    table, sink = _numbered(range(start, start + len(leaves)), leaves), BytesIO()
    form = _form(table.column_names)
    _arrow("parquet").write_table(table, sink, row_group_size=max(len(table), 1), **form)
    return sink.getvalue()


def verify_parquet(pack: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return the result of verifying a pack, with its Parquet views compared, too; raise `Fault`.

    Without the extra, or where there are none, the result stays as it is.
    """
    if not parquet_installed():
        return result
    checked = 0
    with Pack(pack) as opened:
        for name in [each for each in opened.members if each.endswith(".parquet")]:
            try:
                same = _same(opened, name)
            except (_arrow("lib").ArrowException, LookupError, ValueError) as error:
                raise Fault("views", name, f"is not a Parquet view of this pack: {error}") from None
            if not same:
                raise Fault("views", name, "does not say what the records say")
            checked += 1
    remarks = [remark for remark in result["remarks"] if remark != PARQUET_UNREAD]
    return {**result, "checked": {**result["checked"], "parquet": checked}, "remarks": remarks}


def require_columns(file: Path, name: str, columns: Mapping[str, str]) -> None:
    """Check that a file is Parquet with columns of these types; raise `Fault`, in the name of a member."""
    try:
        schema = _arrow("parquet").read_schema(file)
        found = {column: str(schema.field(column).type) for column in columns}
    except (_arrow("lib").ArrowException, LookupError, ValueError):
        found = {}
    if found != columns:
        raise Fault("views", name, "is not a Parquet view of a pack")


def _same(pack: Pack, name: str) -> bool:
    """Say whether a Parquet view is what it stands for, some rows at a time: a chunk of rows is large."""
    view = _arrow("parquet").ParquetFile(BytesIO(pack.read(name, LARGEST_VIEW)))
    batches, pa = view.iter_batches(_ROWS, use_threads=False), _arrow()
    held = pa.Table.from_batches([], view.schema_arrow)  # empty_table() would take pandas, where that is
    for expected in _expected(pack, name):
        while len(held) < len(expected) and (more := next(batches, None)) is not None:
            held = pa.concat_tables([held, pa.Table.from_batches([more])])
        if not held.slice(0, len(expected)).equals(expected):
            return False
        held = held.slice(len(expected))
    return not len(held) and next(batches, None) is None


def _expected(pack: Pack, name: str) -> Iterator[Any]:
    """Yield the rows that a Parquet view of this name has to have, in tables of so many as are compared."""
    if name.startswith("table/"):
        rows = pack.lines(name.replace(".parquet", ".csv"))
        next(rows)
        while some := list(islice(rows, _ROWS)):
            yield _typed(b"\n".join([*some, b""]), names=_COLUMNS)
        return
    entries = pack.lines(name.replace("leaves/", "entries/").replace(".parquet", ".ndjson"))
    found = ((int(match[1]), match[2]) for match in map(_LEAF.match, entries) if match is not None)
    while leaves := list(islice(found, _ROWS)):
        yield _numbered(*map(list, zip(*leaves, strict=True)))


def _types() -> dict[str, Any]:
    """Return the type of each column of a table."""
    pa = _arrow()
    types = dict.fromkeys(_COLUMNS, pa.string())
    return types | {
        "index": pa.int64(),
        "gpc": pa.bool_(),
        **dict.fromkeys(_MOMENTS, pa.timestamp("ms", "UTC")),
    }


def _typed(table: bytes, *, names: Sequence[str] = ()) -> Any:
    """Return a CSV table with its types; one without a header has these names for its columns.

    No thread of its own, so that the same bytes give the same table.
    """
    pa, csv, types = _arrow(), _arrow("csv"), _types()
    read = csv.read_csv(
        pa.BufferReader(table),
        read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=True, null_values=[""]
        ),
    )
    columns = [read[name] for name in _COLUMNS]
    if b"\"'" in table:  # Only a cell that begins so can have a guard, and hardly any does.
        columns = [_unguarded(each) if each.type == pa.string() else each for each in columns]
    return pa.table(columns, schema=pa.schema([(name, types[name]) for name in _COLUMNS])).combine_chunks()


def _unguarded(column: Any) -> Any:
    """Return a column of texts as they were before a spreadsheet was thought of; mostly the very same."""
    compute = _arrow("compute")
    if not compute.any(compute.match_substring_regex(column, _GUARDED)).as_py():
        return column
    return compute.replace_substring_regex(column, _GUARDED, r"\1")


def _numbered(indexes: Sequence[int], leaves: list[bytes]) -> Any:
    """Return a table of indexes and leaves, from buffers: from lists it would take pandas, where that is."""
    pa = _arrow()
    ends = array("i", accumulate(map(len, leaves), initial=0))
    buffers = [pa.py_buffer(array("q", indexes)), pa.py_buffer(ends), pa.py_buffer(b"".join(leaves))]
    columns = [
        pa.Array.from_buffers(pa.int64(), len(leaves), [None, buffers[0]]),
        pa.Array.from_buffers(pa.binary(), len(leaves), [None, *buffers[1:]]),
    ]
    return pa.table(columns, names=["index", "leaf"])


def _form(names: Sequence[str]) -> dict[str, Any]:
    """Return how a file of these columns is written: nothing in it depends on when or where it was."""
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in names if name not in {"index", "leaf"}],
        "store_schema": False,
        "write_statistics": ["index"],
    }


def _arrow(name: str = "") -> ModuleType:
    """Return pyarrow or a module of it; raise `ExtraNotInstalled`."""
    try:
        return import_module(f"pyarrow.{name}" if name else "pyarrow")
    except ImportError:
        raise ExtraNotInstalled(EXTRA) from None
