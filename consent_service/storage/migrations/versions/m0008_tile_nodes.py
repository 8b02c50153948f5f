"""The nodes half-way up each full tile of hashes, beside it.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

from consent_service.ledger.tiles import half_way

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TILES_AT_ONCE = 256
_FULL = sa.text(
    "SELECT tenant_id, level, n, data FROM tile WHERE width = 256 AND level >= 0"
    " AND (tenant_id, level, n) > (:tenant_id, :level, :n) ORDER BY tenant_id, level, n LIMIT :most"
)
_KEEP = sa.text("UPDATE tile SET nodes = :nodes WHERE tenant_id = :tenant_id AND level = :level AND n = :n")


def upgrade() -> None:
    postgresql = op.get_context().dialect.name == "postgresql"
    none = sa.text("''" if postgresql else "x''")
    op.add_column("tile", sa.Column("nodes", sa.LargeBinary(), nullable=False, server_default=none))
    if postgresql:
        op.execute("ALTER TABLE tile DISABLE TRIGGER tile_grows")
        fill()
        op.execute("ALTER TABLE tile ENABLE TRIGGER tile_grows")
        return
    op.execute("DROP TRIGGER tile_grows")
    fill()
    op.execute(
        "CREATE TRIGGER tile_grows BEFORE UPDATE ON tile WHEN OLD.width = 256 "
        "BEGIN SELECT RAISE(ABORT, 'a full tile is append-only'); END"
    )


def fill() -> None:
    """Give every full tile of hashes its nodes: half a second of processor time for a million entries."""
    connection = op.get_bind()
    last = {"tenant_id": 0, "level": 0, "n": 0}
    while tiles := connection.execute(_FULL, {**last, "most": _TILES_AT_ONCE}).all():
        rows = [
            {"tenant_id": tenant_id, "level": level, "n": n, "nodes": half_way(bytes(data))}
            for tenant_id, level, n, data in tiles
        ]
        connection.execute(_KEEP, rows)
        last = {name: rows[-1][name] for name in last}
