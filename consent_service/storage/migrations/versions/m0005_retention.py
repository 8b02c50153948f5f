"""When the sweep looks at a value's age, by which notice that was reckoned, and each tenant's own proof of consents.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("profile_value", sa.Column("look_at_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_profile_value_tenant_id_look_at_ms", "profile_value", ["tenant_id", "look_at_ms"])
    op.add_column("tenant", sa.Column("reckoned_index", sa.BigInteger(), nullable=True))
    op.add_column("tenant", sa.Column("evidence_key", sa.Text(), nullable=True))
    op.add_column("tenant", sa.Column("evidence_days", sa.Integer(), nullable=True))
