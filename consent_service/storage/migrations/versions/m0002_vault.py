"""Key grants, profile values, subject keys and uses.

Revision ID: 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def table(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        sa.Column("tenant_id", ROW_ID, nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("tenant_id", "subject_id", *key, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=f"fk_{name}_tenant_id"),
    )


def big(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def whole(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def blob(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    table(
        "key_grant",
        text("purpose"),
        text("category"),
        whole("purpose_version"),
        big("valid_until_ms"),
        whole("key_version"),
        blob("wrapped"),
        key=("purpose", "category"),
    )
    table(
        "profile_value",
        text("category"),
        blob("field_tag"),
        text("source"),
        big("source_index", nullable=True),
        big("stored_at_ms"),
        blob("sealed"),
        key=("category", "field_tag"),
    )
    table("subject_key", whole("key_version"), blob("wrapped"), key=())
    table("use_day", whole("day"), blob("sealed"), key=("day",))
    op.create_table(
        "tombstone",
        sa.Column("tenant_id", ROW_ID, nullable=False),
        big("index"),
        text("ref"),
        big("erased_at_ms"),
        sa.PrimaryKeyConstraint("tenant_id", "index", "ref", name="pk_tombstone"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_tombstone_tenant_id"),
    )
    op.create_table(
        "sealed_evidence",
        sa.Column("tenant_id", ROW_ID, nullable=False),
        big("index"),
        big("keep_until_ms"),
        blob("sealed"),
        sa.PrimaryKeyConstraint("tenant_id", "index", name="pk_sealed_evidence"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_sealed_evidence_tenant_id"),
    )
    op.add_column("tenant_key", sa.Column("wraps", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("tenant_key", sa.Column("public", sa.Text(), nullable=False, server_default=""))
