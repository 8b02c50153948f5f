"""What witnesses signed under a log's checkpoints."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, select

from consent_service.storage.scope import SCOPED, TenantScope, own_rows, scoped_select, table_of
from consent_service.storage.tables import CheckpointRow, CosignatureRow

ALL = 2**63 - 1
"""As the last cosignature to see: every one there is."""

_cosignature, _checkpoint = table_of(CosignatureRow), table_of(CheckpointRow)
_COLUMNS = ("size", "vkey", "line", "cosigned_at")
_SEEN = _cosignature.c.n <= bindparam("seen")
_AT = (
    scoped_select(CosignatureRow, *_COLUMNS)
    .where(_cosignature.c.size == bindparam("at"), _SEEN)
    .order_by(_cosignature.c.cosigned_at, _cosignature.c.vkey)
)
_NEWEST = (
    scoped_select(CosignatureRow, *_COLUMNS)
    .where(_cosignature.c.size >= bindparam("least"), _SEEN)
    .order_by(_cosignature.c.size.desc(), _cosignature.c.cosigned_at, _cosignature.c.vkey)
    .limit(bindparam("most"))
)
_BY_SIZE = (
    scoped_select(CosignatureRow, *_COLUMNS)
    .where(_cosignature.c.size > bindparam("above"), _cosignature.c.size <= bindparam("most"), _SEEN)
    .order_by(_cosignature.c.size, _cosignature.c.cosigned_at, _cosignature.c.vkey)
)
_LAST_OF = (
    scoped_select(CosignatureRow, *_COLUMNS)
    .where(_cosignature.c.vkey == bindparam("witness"))
    .order_by(_cosignature.c.size.desc())
    .limit(1)
)
_LAST_NUMBER = (
    select(func.coalesce(func.max(_cosignature.c.n), 0))
    .where(own_rows(_cosignature))
    .execution_options(**SCOPED)
)
_NOTE = scoped_select(CheckpointRow, "note").where(_checkpoint.c.size == bindparam("at"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCosignature:
    """A cosignature on the checkpoint of `size` entries; `cosigned_at` is the witness's POSIX second."""

    size: int
    vkey: str
    line: str
    cosigned_at: int


def store_cosignatures(scope: TenantScope, cosignatures: Sequence[StoredCosignature]) -> None:
    """Keep cosignatures; what a witness said about a size before stays as it is."""
    number = last_cosignature(scope)
    rows = [
        {
            "size": each.size,
            "vkey": each.vkey,
            "line": each.line,
            "cosigned_at": each.cosigned_at,
            "n": number + count,
        }
        for count, each in enumerate(cosignatures, start=1)
    ]
    scope.insert_missing(CosignatureRow, rows)


def last_cosignature(scope: TenantScope) -> int:
    """Return the number of the last cosignature, 0 before the first: what a reader saw."""
    number: int = scope.run(_LAST_NUMBER).scalar_one()
    return number


def cosignatures_at(scope: TenantScope, size: int, *, seen: int = ALL) -> list[StoredCosignature]:
    """Return the cosignatures on one checkpoint, oldest first, up to the one with number `seen`."""
    return [_one(row) for row in scope.run(_AT, at=size, seen=seen)]


def newest_cosignatures(
    scope: TenantScope, *, most: int, least: int = 0, seen: int = ALL
) -> list[StoredCosignature]:
    """Return up to `most` cosignatures on checkpoints of `least` entries or more, the largest first."""
    return [_one(row) for row in scope.run(_NEWEST, most=most, least=least, seen=seen)]


def stream_cosignatures(
    scope: TenantScope, *, above: int = -1, most: int = ALL, seen: int = ALL
) -> Generator[StoredCosignature]:
    """Yield cosignatures on checkpoints of more than `above` and at most `most` entries, by size."""
    for row in scope.stream(_BY_SIZE, chunk=256, above=above, most=most, seen=seen):
        yield _one(row)


def last_cosigned(scope: TenantScope, vkey: str) -> StoredCosignature | None:
    """Return a witness's cosignature on the largest checkpoint, or `None`."""
    row = scope.run(_LAST_OF, witness=vkey).one_or_none()
    return None if row is None else _one(row)


def checkpoint_at(scope: TenantScope, size: int) -> bytes | None:
    """Return the checkpoint that was signed over exactly this many entries, or `None`."""
    note: bytes | None = scope.run(_NOTE, at=size).scalar_one_or_none()
    return note


def _one(row: Any) -> StoredCosignature:  # a Core row
    return StoredCosignature(size=row.size, vkey=row.vkey, line=row.line, cosigned_at=row.cosigned_at)
