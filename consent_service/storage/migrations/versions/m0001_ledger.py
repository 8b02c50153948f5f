"""Tenants, credentials, notices, subjects and the append-only ledger.

Revision ID: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def tenant_id() -> sa.Column[Any]:
    return sa.Column("tenant_id", ROW_ID, nullable=False)


def of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=f"fk_{table}_tenant_id")


def big(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def blob(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def table(name: str, *columns: sa.Column[Any] | sa.Constraint, key: tuple[str, ...]) -> None:
    # WITHOUT ROWID would cluster by key, but makes rows with blobs slow to scan: ordinary tables.
    op.create_table(
        name, tenant_id(), *columns, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"), of_tenant(name)
    )


def upgrade() -> None:
    op.create_table(
        "tenant",
        sa.Column("id", ROW_ID, primary_key=True),
        text("name"),
        text("origin"),
        big("created_at_ms"),
        sa.UniqueConstraint("name", name="uq_tenant_name"),
        sa.UniqueConstraint("origin", name="uq_tenant_origin"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", ROW_ID, primary_key=True),
        tenant_id(),
        text("role"),
        blob("digest"),
        text("origins"),
        big("created_at_ms"),
        big("revoked_at_ms", nullable=True),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        of_tenant("api_key"),
    )
    op.create_index("ix_api_key_tenant_id", "api_key", ["tenant_id"])
    table(
        "tenant_key",
        text("purpose"),
        sa.Column("version", sa.Integer(), nullable=False),
        blob("wrapped"),
        big("created_at_ms"),
        key=("tenant_id", "purpose", "version"),
    )
    table(
        "head",
        big("size"),
        blob("frontier"),
        blob("checkpoint"),
        big("notice_index", nullable=True),
        big("next_subject_id"),
        key=("tenant_id",),
    )
    table("entry", big("index"), blob("leaf"), key=("tenant_id", "index"))
    table(
        "record",
        big("index"),
        big("subject_id", nullable=True),
        blob("opening"),
        blob("body"),
        key=("tenant_id", "index"),
    )
    op.create_index("ix_record_tenant_id_subject_id_index", "record", ["tenant_id", "subject_id", "index"])
    table(
        "tile",
        sa.Column("level", sa.Integer(), nullable=False),
        big("n"),
        sa.Column("width", sa.Integer(), nullable=False),
        blob("data"),
        key=("tenant_id", "level", "n"),
    )
    table("checkpoint", big("size"), blob("note"), key=("tenant_id", "size"))
    table(
        "notice",
        big("index"),
        text("digest"),
        blob("document"),
        big("published_at_ms"),
        key=("tenant_id", "index"),
    )
    table(
        "subject",
        big("id"),
        text("ref"),
        blob("blind_index"),
        blob("sealed_id"),
        text("state"),
        big("last_index"),
        blob("last_commitment"),
        big("linked_to", nullable=True),
        sa.UniqueConstraint("tenant_id", "blind_index", name="uq_subject_tenant_id_blind_index"),
        key=("tenant_id", "id"),
    )
    op.create_index("ix_subject_tenant_id_linked_to", "subject", ["tenant_id", "linked_to"])
    table(
        "idempotency",
        blob("key_digest"),
        blob("request_digest"),
        big("index"),
        text("answer"),
        big("created_at_ms"),
        key=("tenant_id", "key_digest"),
    )
    op.create_index("ix_idempotency_created_at_ms", "idempotency", ["created_at_ms"])
    guard()
    announce()


def announce() -> None:
    """PostgreSQL tells listeners that a head has moved, in the transaction that moves it."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION consent_announce() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_notify('consent_head', NEW.tenant_id::text); RETURN NULL; END $$"
        )
        op.execute(
            "CREATE TRIGGER head_moves AFTER UPDATE ON head FOR EACH ROW EXECUTE FUNCTION consent_announce()"
        )


def guard() -> None:
    """Entries, checkpoints and notices are append-only; a tile may only grow."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION consent_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        for name in ("entry", "checkpoint", "notice"):
            op.execute(
                f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE ON {name} "
                "FOR EACH ROW EXECUTE FUNCTION consent_refuse()"
            )
            op.execute(
                f"CREATE TRIGGER {name}_keep BEFORE TRUNCATE ON {name} EXECUTE FUNCTION consent_refuse()"
            )
        op.execute(
            "CREATE TRIGGER tile_grows BEFORE UPDATE ON tile FOR EACH ROW WHEN (OLD.width = 256) "
            "EXECUTE FUNCTION consent_refuse()"
        )
        op.execute(
            "CREATE TRIGGER tile_stays BEFORE DELETE ON tile FOR EACH ROW EXECUTE FUNCTION consent_refuse()"
        )
        op.execute("CREATE TRIGGER tile_keep BEFORE TRUNCATE ON tile EXECUTE FUNCTION consent_refuse()")
        return
    for name in ("entry", "checkpoint", "notice"):
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
                f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
            )
    op.execute(
        "CREATE TRIGGER tile_grows BEFORE UPDATE ON tile WHEN OLD.width = 256 "
        "BEGIN SELECT RAISE(ABORT, 'a full tile is append-only'); END"
    )
    op.execute(
        "CREATE TRIGGER tile_stays BEFORE DELETE ON tile "
        "BEGIN SELECT RAISE(ABORT, 'tile is append-only'); END"
    )
