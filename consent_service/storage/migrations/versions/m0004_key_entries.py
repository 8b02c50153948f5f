"""Where the ledger says that a key is new, and each tenant's own grace.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenant_key", sa.Column("index", sa.BigInteger(), nullable=True))
    op.add_column("tenant", sa.Column("grace_days", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("tenant", "grace_days")
    op.drop_column("tenant_key", "index")
