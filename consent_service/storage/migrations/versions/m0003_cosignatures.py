"""Cosignatures of witnesses.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cosignature",
        sa.Column("tenant_id", ROW_ID, nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("cosigned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "vkey", "size", name="pk_cosignature"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_cosignature_tenant_id"),
    )
    op.create_index("ix_cosignature_tenant_id_size", "cosignature", ["tenant_id", "size"])
    op.create_index("ix_cosignature_tenant_id_n", "cosignature", ["tenant_id", "n"])
