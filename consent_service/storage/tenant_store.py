"""Tenants, their credentials and wrapped keys: what is looked up before a tenant is known.

The only store that works on a bare connection; everything it answers carries its tenant.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from consent_service.domain.subject import TenantName
from consent_service.errors import TenantExists
from consent_service.storage.tables import ApiKeyRow, TenantKeyRow, TenantRow

_tenant, _api_key, _tenant_key = (
    SQLModel.metadata.tables[str(row.__tablename__)] for row in (TenantRow, ApiKeyRow, TenantKeyRow)
)

_TENANTS = select(_tenant.c.id, _tenant.c.name, _tenant.c.origin).order_by(_tenant.c.id)
_RECKONED = select(_tenant.c.reckoned_index).where(_tenant.c.id == bindparam("tenant"))
_SWEPT = select(_tenant.c.swept_index).where(_tenant.c.id == bindparam("tenant"))
_GRACE = select(_tenant.c.grace_days).where(_tenant.c.id == bindparam("tenant"))
_EVIDENCE = select(_tenant.c.evidence_key, _tenant.c.evidence_days).where(_tenant.c.id == bindparam("tenant"))
_KEY_COLUMNS = (_api_key.c.id, _api_key.c.tenant_id, _api_key.c.role, _api_key.c.origins)
_BY_DIGEST = select(*_KEY_COLUMNS).where(
    _api_key.c.digest == bindparam("digest"), _api_key.c.revoked_at_ms.is_(None)
)
_BY_NUMBER = select(*_KEY_COLUMNS).where(
    _api_key.c.id == bindparam("number"), _api_key.c.revoked_at_ms.is_(None)
)
_LIVE = select(*_KEY_COLUMNS).where(_api_key.c.revoked_at_ms.is_(None)).order_by(_api_key.c.id)
_TENANT_KEYS = (
    select(_tenant_key.c.purpose, _tenant_key.c.version, _tenant_key.c.wrapped, _tenant_key.c.public)
    .where(_tenant_key.c.tenant_id == bindparam("tenant"))
    .order_by(_tenant_key.c.purpose, _tenant_key.c.version)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTenant:
    """A tenant's row."""

    id: int
    name: TenantName
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApiKey:
    """A live credential: what it may do, for whom, and from which web origins (publishable keys only)."""

    id: int
    tenant_id: int
    role: str
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A tenant key under the root key."""

    purpose: str
    version: int
    wrapped: bytes
    public: str = ""


def list_tenants(connection: Connection) -> list[StoredTenant]:
    """Return every tenant, oldest first."""
    return [
        StoredTenant(id=row.id, name=TenantName(row.name), origin=row.origin)
        for row in connection.execute(_TENANTS)
    ]


def find_grace(connection: Connection, tenant_id: int) -> int | None:
    """Return a tenant's own grace in days, or `None` where the setting holds."""
    days: int | None = connection.execute(_GRACE, {"tenant": tenant_id}).scalar_one()
    return days


def find_evidence_choice(connection: Connection, tenant_id: int) -> tuple[str, int] | None:
    """Return a tenant's own auditor's key and days of keeping, or `None` where the settings hold.

    An empty key says that nothing is kept.
    """
    row = connection.execute(_EVIDENCE, {"tenant": tenant_id}).one()
    return None if row.evidence_key is None else (row.evidence_key, row.evidence_days)


def store_evidence_choice(connection: Connection, tenant_id: int, choice: tuple[str, int] | None) -> None:
    """Store what `find_evidence_choice` returns."""
    key, days = choice or (None, None)
    row = update(_tenant).where(_tenant.c.id == tenant_id)
    connection.execute(row.values(evidence_key=key, evidence_days=days))


def find_reckoned(connection: Connection, tenant_id: int) -> int | None:
    """Return the index of the notice by which the moments of all of a tenant's values were reckoned."""
    index: int | None = connection.execute(_RECKONED, {"tenant": tenant_id}).scalar_one()
    return index


def store_reckoned(connection: Connection, tenant_id: int, index: int) -> None:
    """Store the index of that notice."""
    connection.execute(update(_tenant).where(_tenant.c.id == tenant_id).values(reckoned_index=index))


def find_swept(connection: Connection, tenant_id: int) -> int | None:
    """Return the index of the newest notice by which all of a tenant's key grants were looked at."""
    index: int | None = connection.execute(_SWEPT, {"tenant": tenant_id}).scalar_one()
    return index


def store_swept(connection: Connection, tenant_id: int, index: int) -> None:
    """Store the index of that notice."""
    connection.execute(update(_tenant).where(_tenant.c.id == tenant_id).values(swept_index=index))


def store_grace(connection: Connection, tenant_id: int, days: int | None) -> None:
    """Store a tenant's own grace in days; `None` gives it back to the setting."""
    connection.execute(update(_tenant).where(_tenant.c.id == tenant_id).values(grace_days=days))


def insert_tenant(connection: Connection, *, name: TenantName, origin: str, created_at_ms: int) -> int:
    """Store a tenant and return its number; raise `TenantExists`."""
    values = {"name": name, "origin": origin, "created_at_ms": created_at_ms}
    try:
        result = connection.execute(insert(_tenant).values(**values).returning(_tenant.c.id))
        return int(result.scalar_one())
    except IntegrityError as error:
        raise TenantExists(f"There is a tenant named {name!r} or one with its log origin.") from error


def insert_wrapped_keys(
    connection: Connection, tenant_id: int, keys: Sequence[WrappedKey], *, created_at_ms: int
) -> None:
    """Store wrapped tenant keys."""
    connection.execute(
        insert(_tenant_key),
        [
            {
                "tenant_id": tenant_id,
                "purpose": key.purpose,
                "version": key.version,
                "wrapped": key.wrapped,
                "public": key.public,
                "created_at_ms": created_at_ms,
            }
            for key in keys
        ],
    )


def wrapped_keys(connection: Connection, tenant_id: int) -> list[WrappedKey]:
    """Return a tenant's wrapped keys, every version."""
    return [
        WrappedKey(purpose=row.purpose, version=row.version, wrapped=row.wrapped, public=row.public)
        for row in connection.execute(_TENANT_KEYS, {"tenant": tenant_id})
    ]


def find_api_key(connection: Connection, digest: bytes) -> StoredApiKey | None:
    """Return the live credential with this SHA-256, or `None`."""
    row = connection.execute(_BY_DIGEST, {"digest": digest}).one_or_none()
    return None if row is None else _one_key(row)


def find_live_key(connection: Connection, key_id: int) -> StoredApiKey | None:
    """Return the live credential with this number, or `None`."""
    row = connection.execute(_BY_NUMBER, {"number": key_id}).one_or_none()
    return None if row is None else _one_key(row)


def list_api_keys(connection: Connection) -> list[StoredApiKey]:
    """Return every live credential."""
    return [_one_key(row) for row in connection.execute(_LIVE)]


def _one_key(row: Any) -> StoredApiKey:  # a Core row
    return StoredApiKey(
        id=row.id, tenant_id=row.tenant_id, role=row.role, origins=tuple(json.loads(row.origins))
    )


def insert_api_key(
    connection: Connection,
    *,
    tenant_id: int,
    role: str,
    digest: bytes,
    origins: Sequence[str],
    created_at_ms: int,
) -> int:
    """Store the digest of a credential and return its number."""
    values = {
        "tenant_id": tenant_id,
        "role": role,
        "digest": digest,
        "origins": json.dumps(list(origins)),
        "created_at_ms": created_at_ms,
    }
    result = connection.execute(insert(_api_key).values(**values).returning(_api_key.c.id))
    return int(result.scalar_one())


def revoke_api_key(connection: Connection, key_id: int, *, tenant_id: int, revoked_at_ms: int) -> bool:
    """Revoke a credential; return whether there was a live one of this tenant."""
    result = connection.execute(
        update(_api_key)
        .where(
            _api_key.c.id == key_id,
            _api_key.c.tenant_id == tenant_id,
            _api_key.c.revoked_at_ms.is_(None),
        )
        .values(revoked_at_ms=revoked_at_ms)
    )
    return result.rowcount == 1
