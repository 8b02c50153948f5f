"""When the sweep looks at a subject's key grants, and indexes by what else it deletes.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Zero: whoever was there before is looked at once.
    op.add_column("subject", sa.Column("look_at_ms", sa.BigInteger(), nullable=True, server_default="0"))
    op.add_column("tenant", sa.Column("swept_index", sa.BigInteger(), nullable=True))
    for table, column in (
        ("subject", "look_at_ms"),
        ("use_day", "day"),
        ("tombstone", "erased_at_ms"),
        ("sealed_evidence", "keep_until_ms"),
    ):
        op.create_index(f"ix_{table}_tenant_id_{column}", table, ["tenant_id", column])
