"""What no program of ours writes: rows of no entry, and values of a type that is not their column's."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Integer, LargeBinary, bindparam, func, or_, select
from sqlmodel import SQLModel

from consent_service.storage.scope import SCOPED, TenantScope, own_rows, scoped_select, table_of
from consent_service.storage.tables import (
    CheckpointRow,
    CosignatureRow,
    EntryRow,
    HeadRow,
    NoticeRow,
    RecordRow,
    SubjectRow,
    TenantKeyRow,
    TileRow,
)

_record, _tile = table_of(RecordRow), table_of(TileRow)
_BEYOND = (
    scoped_select(RecordRow, "index")
    .where(or_(_record.c.index < 0, _record.c.index >= bindparam("size")))
    .order_by(_record.c.index)
    .limit(1)
)
_SIZE = scoped_select(HeadRow, "size")
_TILES = (
    select(func.count()).select_from(_tile).where(own_rows(_tile)).execution_options(**SCOPED)
)  # Thousands, where the log has millions of entries.
_VERIFIED: tuple[type[SQLModel], ...] = (
    EntryRow,
    RecordRow,
    NoticeRow,
    TenantKeyRow,
    CheckpointRow,
    TileRow,
    SubjectRow,
    CosignatureRow,
    HeadRow,
)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A column that holds a value of another type; `index` is its entry's, else the log's last."""

    column: str
    index: int


def record_beyond(scope: TenantScope, size: int) -> int | None:
    """Return the index of the first record that a log of `size` entries has no entry for."""
    index: int | None = scope.run(_BEYOND, size=size).scalar_one_or_none()
    return index


def count_tiles(scope: TenantScope) -> int:
    """Return how many tiles and entry bundles are stored."""
    count: int = scope.run(_TILES).scalar_one()
    return count


def first_misfit(scope: TenantScope) -> Misfit | None:
    """Return the first value of a verified table that is not of its column's type.

    SQLite stores what it is given, whatever a column is declared; PostgreSQL does not.
    """
    if scope.dialect != "sqlite":
        return None
    for model in _VERIFIED:
        table = table_of(model)
        place = "index" if "index" in table.c else next(iter(table.primary_key)).name
        for column in table.c:
            kinds = [_kind(column.type), *(["null"] if column.nullable else [])]
            wrong = scoped_select(model, place).where(func.typeof(column).not_in(kinds)).limit(1)
            row = scope.run(wrong).first()
            if row is not None:
                at = row[0] if place == "index" else _last_index(scope)
                return Misfit(f"{table.name}.{column.name}", max(0, at) if isinstance(at, int) else 0)
    return None


def _last_index(scope: TenantScope) -> object:
    size = scope.run(_SIZE).scalar_one_or_none()
    return size - 1 if isinstance(size, int) else None


def _kind(column_type: object) -> str:
    if isinstance(column_type, LargeBinary):
        return "blob"
    return "integer" if isinstance(column_type, BigInteger | Integer) else "text"
