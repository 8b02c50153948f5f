"""Find an erased subject by her reference.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_tombstone_ref", "tombstone", ["ref"])
