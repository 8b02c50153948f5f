"""The tables. A row stays in `storage`; times are milliseconds since the epoch, UTC.

Everything but `tenant` carries `tenant_id`, and every query of a store filters by it: `TenantScope` is the
one place that does. `entry`, full tiles and checkpoints are append-only by trigger (see the migrations).
"""

from sqlalchemy import BigInteger, Dialect, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING


class Bytes(LargeBinary):
    """Bytes as both drivers take and give them: SQLAlchemy's conversion of each value costs a call."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        """Convert nothing on the way in."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Convert nothing on the way out."""


RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit row number; SQLite numbers rows by itself only where the column is spelled INTEGER."""


class TenantRow(SQLModel, table=True):
    """One shop with its own ledger; `origin` names the log in every leaf and checkpoint, for ever.

    `grace_days`, `evidence_key` and `evidence_days` are the tenant's own word on what the settings of these
    names say for the others; an empty key keeps no proof. The notice at `reckoned_index` is the newest by
    whose retention every value's `look_at_ms` was reckoned; that at `swept_index` the newest whose grace is
    over and by which every key grant was looked at.
    """

    __tablename__ = "tenant"
    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    name: str = Field(sa_type=Text, unique=True)
    origin: str = Field(sa_type=Text, unique=True)
    created_at_ms: int = Field(sa_type=BigInteger)
    grace_days: int | None = Field(default=None, sa_type=Integer)
    reckoned_index: int | None = Field(default=None, sa_type=BigInteger)
    swept_index: int | None = Field(default=None, sa_type=BigInteger)
    evidence_key: str | None = Field(default=None, sa_type=Text)
    evidence_days: int | None = Field(default=None, sa_type=Integer)


class ApiKeyRow(SQLModel, table=True):
    """A credential of a tenant: only the SHA-256 of the key is kept."""

    __tablename__ = "api_key"
    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    tenant_id: int = Field(foreign_key="tenant.id", sa_type=RowId, index=True)
    role: str = Field(sa_type=Text)
    digest: bytes = Field(sa_type=Bytes, unique=True)
    origins: str = Field(sa_type=Text, description="JSON list of web origins; empty for secret keys")
    created_at_ms: int = Field(sa_type=BigInteger)
    revoked_at_ms: int | None = Field(default=None, sa_type=BigInteger)


class TenantKeyRow(SQLModel, table=True):
    """A key of a tenant, wrapped by the root key: `purpose` is signing, vault, token and the like.

    `root` is no key of the tenant's: such a row has nothing wrapped, and says how often the root key was new.
    `wraps` counts what a vault key wrapped: it is replaced long before random nonces could meet. `public` is
    the verifier key of a signing key; it stays, with nothing wrapped, when the key itself was destroyed.
    `index` is the entry that says that the key is new; a tenant's first keys have none.
    """

    __tablename__ = "tenant_key"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    purpose: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    wrapped: bytes = Field(sa_type=Bytes)
    created_at_ms: int = Field(sa_type=BigInteger)
    wraps: int = Field(default=0, sa_type=BigInteger)
    public: str = Field(default="", sa_type=Text)
    index: int | None = Field(default=None, sa_type=BigInteger)


class HeadRow(SQLModel, table=True):
    """The head of a tenant's ledger: the row every writer locks, so that indexes are dense."""

    __tablename__ = "head"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    size: int = Field(sa_type=BigInteger)
    frontier: bytes = Field(sa_type=Bytes)
    checkpoint: bytes = Field(sa_type=Bytes)
    notice_index: int | None = Field(default=None, sa_type=BigInteger)
    next_subject_id: int = Field(sa_type=BigInteger)


class EntryRow(SQLModel, table=True):
    """A leaf, stored verbatim and never touched again."""

    __tablename__ = "entry"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    index: int = Field(primary_key=True, sa_type=BigInteger)
    leaf: bytes = Field(sa_type=Bytes)


class RecordRow(SQLModel, table=True):
    """The erasable side of an entry: opening and canonical record."""

    __tablename__ = "record"
    __table_args__ = (Index(None, "tenant_id", "subject_id", "index"),)
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    index: int = Field(primary_key=True, sa_type=BigInteger)
    subject_id: int | None = Field(default=None, sa_type=BigInteger)
    opening: bytes = Field(sa_type=Bytes)
    body: bytes = Field(sa_type=Bytes)


class TileRow(SQLModel, table=True):
    """A C2SP tile of 32-byte hashes, or an entry bundle where level is -1. Full ones never change.

    `nodes` are the 16 half-way up a full tile of hashes; other rows have none.
    """

    __tablename__ = "tile"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    level: int = Field(primary_key=True)
    n: int = Field(primary_key=True, sa_type=BigInteger)
    width: int
    data: bytes = Field(sa_type=Bytes)
    nodes: bytes = Field(default=b"", sa_type=Bytes)


class CheckpointRow(SQLModel, table=True):
    """Every checkpoint that was ever signed."""

    __tablename__ = "checkpoint"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    size: int = Field(primary_key=True, sa_type=BigInteger)
    note: bytes = Field(sa_type=Bytes)


class CosignatureRow(SQLModel, table=True):
    """A witness's cosignature on the checkpoint of this size: its vkey and the signature line, verbatim.

    `n` counts the cosignatures of a log: a reader that names the last one it saw sees those before again.
    """

    __tablename__ = "cosignature"
    __table_args__ = (Index(None, "tenant_id", "size"), Index(None, "tenant_id", "n"))
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    vkey: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(primary_key=True, sa_type=BigInteger)
    n: int = Field(sa_type=BigInteger)
    line: str = Field(sa_type=Text)
    cosigned_at: int = Field(sa_type=BigInteger)


class NoticeRow(SQLModel, table=True):
    """A published notice: its canonical JSON, verbatim."""

    __tablename__ = "notice"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    index: int = Field(primary_key=True, sa_type=BigInteger)
    digest: str = Field(sa_type=Text)
    document: bytes = Field(sa_type=Bytes)
    published_at_ms: int = Field(sa_type=BigInteger)


class SubjectRow(SQLModel, table=True):
    """A subject and the projection of all her entries: `state` is what `apply` made of them.

    None of her key grants closes before `look_at_ms`, but by a newer notice; none at all where it is null.
    """

    __tablename__ = "subject"
    __table_args__ = (
        UniqueConstraint("tenant_id", "blind_index"),
        Index(None, "tenant_id", "linked_to"),
        Index(None, "tenant_id", "look_at_ms"),
    )
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    id: int = Field(primary_key=True, sa_type=BigInteger)
    ref: str = Field(sa_type=Text)
    blind_index: bytes = Field(sa_type=Bytes)
    sealed_id: bytes = Field(sa_type=Bytes)
    state: str = Field(sa_type=Text)
    last_index: int = Field(sa_type=BigInteger)
    last_commitment: bytes = Field(sa_type=Bytes)
    linked_to: int | None = Field(default=None, sa_type=BigInteger)
    look_at_ms: int | None = Field(default=None, sa_type=BigInteger)


class IdempotencyRow(SQLModel, table=True):
    """An answer already given, by the digest of its idempotency key."""

    __tablename__ = "idempotency"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    key_digest: bytes = Field(primary_key=True, sa_type=Bytes)
    request_digest: bytes = Field(sa_type=Bytes)
    index: int = Field(sa_type=BigInteger)
    answer: str = Field(sa_type=Text)
    created_at_ms: int = Field(sa_type=BigInteger, index=True)


class KeyGrantRow(SQLModel, table=True):
    """A category key wrapped for one purpose: while the grant stands, and for a grace after it closed."""

    __tablename__ = "key_grant"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    subject_id: int = Field(primary_key=True, sa_type=BigInteger)
    purpose: str = Field(primary_key=True, sa_type=Text)
    category: str = Field(primary_key=True, sa_type=Text)
    purpose_version: int
    valid_until_ms: int = Field(sa_type=BigInteger)
    key_version: int
    wrapped: bytes = Field(sa_type=Bytes)


class ProfileValueRow(SQLModel, table=True):
    """A field of a profile, sealed by its category key; the field's name is sealed with it.

    `source` is the purpose that the value was derived for, or empty; `source_index` the entry it rests on.
    The sweep looks whether its retention is over at `look_at_ms`, and not before.
    """

    __tablename__ = "profile_value"
    __table_args__ = (Index(None, "tenant_id", "look_at_ms"),)
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    subject_id: int = Field(primary_key=True, sa_type=BigInteger)
    category: str = Field(primary_key=True, sa_type=Text)
    field_tag: bytes = Field(primary_key=True, sa_type=Bytes)
    source: str = Field(sa_type=Text)
    source_index: int | None = Field(default=None, sa_type=BigInteger)
    stored_at_ms: int = Field(sa_type=BigInteger)
    sealed: bytes = Field(sa_type=Bytes)
    look_at_ms: int = Field(default=0, sa_type=BigInteger)


class TombstoneRow(SQLModel, table=True):
    """Whom an erasure was about, for a week: gates and followers say so."""

    __tablename__ = "tombstone"
    __table_args__ = (Index(None, "tenant_id", "erased_at_ms"), Index(None, "ref"))
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    index: int = Field(primary_key=True, sa_type=BigInteger)
    ref: str = Field(primary_key=True, sa_type=Text)
    erased_at_ms: int = Field(sa_type=BigInteger)


class EvidenceRow(SQLModel, table=True):
    """Proof of an erased subject's consents, sealed to an auditor's offline key, until its retention ends."""

    __tablename__ = "sealed_evidence"
    __table_args__ = (Index(None, "tenant_id", "keep_until_ms"),)
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    index: int = Field(primary_key=True, sa_type=BigInteger)
    keep_until_ms: int = Field(sa_type=BigInteger)
    sealed: bytes = Field(sa_type=LargeBinary)


class SubjectKeyRow(SQLModel, table=True):
    """A subject's own key, wrapped by the tenant key; made when something of hers is first sealed by it."""

    __tablename__ = "subject_key"
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    subject_id: int = Field(primary_key=True, sa_type=BigInteger)
    key_version: int
    wrapped: bytes = Field(sa_type=Bytes)


class UseDayRow(SQLModel, table=True):
    """The uses of one subject's data on one day (days since the epoch), sealed by her own key."""

    __tablename__ = "use_day"
    __table_args__ = (Index(None, "tenant_id", "day"),)
    tenant_id: int = Field(foreign_key="tenant.id", primary_key=True, sa_type=RowId)
    subject_id: int = Field(primary_key=True, sa_type=BigInteger)
    day: int = Field(primary_key=True)
    sealed: bytes = Field(sa_type=Bytes)
