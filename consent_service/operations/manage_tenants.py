"""Create tenants and their credentials."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from consent_service.domain.subject import TenantName
from consent_service.errors import InvalidInput, TenantExists, UnknownTenant
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.merkle import Frontier
from consent_service.operations.deployment import KEYS_LOCK, Deployment
from consent_service.operations.tenant import Tenant, new_tenant_keys, open_tenant
from consent_service.settings import LONGEST_GRACE
from consent_service.storage.ledger_store import create_head
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import to_ms
from consent_service.storage.tenant_store import (
    StoredApiKey,
    StoredTenant,
    find_api_key,
    insert_api_key,
    insert_tenant,
    insert_wrapped_keys,
    list_api_keys,
    list_tenants,
    revoke_api_key,
    store_grace,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?", re.ASCII)
_OWN_PORT = re.compile(r"http://[^:]+:0*80|https://[^:]+:0*443")
_SECRET_BYTES = 32


class Role(StrEnum):
    """What a credential may do; `browser` keys are public and bound to web origins."""

    ADMIN = "admin"
    BACKEND = "backend"
    AUDITOR = "auditor"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A credential as it is shown once: only its digest is stored."""

    id: int
    role: Role
    tenant: TenantName
    key: str = field(repr=False)


def create_tenant(deployment: Deployment, name: str) -> Tenant:
    """Create a tenant with its keys and an empty log; raise `TenantExists` or `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("A tenant's name has 1 to 63 lower-case letters, digits and hyphens.")
    origin = f"{deployment.settings.log_origin}/{name}"
    created_at_ms = to_ms(deployment.clock())
    with deployment.database.exclusively(KEYS_LOCK), deployment.database.writing() as connection:
        tenant_id = insert_tenant(
            connection, name=TenantName(name), origin=origin, created_at_ms=created_at_ms
        )
        keys = new_tenant_keys(deployment.roots, origin)
        insert_wrapped_keys(connection, tenant_id, keys, created_at_ms=created_at_ms)
        stored = StoredTenant(id=tenant_id, name=TenantName(name), origin=origin)
        tenant = open_tenant(deployment.roots, stored, keys)
        empty = Checkpoint(origin=origin, size=0, root=Frontier.empty().root())
        create_head(TenantScope(connection, tenant_id), sign_checkpoint(empty, tenant.signer))
    return tenant


def find_tenant(deployment: Deployment, name: str) -> Tenant | None:
    """Return the tenant of this name, or `None` for the default one that nobody needed yet."""
    try:
        return deployment.tenant_named(name)
    except UnknownTenant:
        if name != deployment.settings.tenant:
            raise
    with deployment.database.reading() as connection:
        if list_tenants(connection):
            raise UnknownTenant(f"There is no tenant named {name!r}: consent tenant create NAME.")
    return None


def require_tenant(deployment: Deployment, name: str) -> Tenant:
    """Return the tenant of this name; the default one is created when it is first needed."""
    tenant = find_tenant(deployment, name)
    if tenant is not None:
        return tenant
    try:
        return create_tenant(deployment, name)
    except TenantExists:  # Another process was first.
        return deployment.tenant_named(name)


def set_grace(deployment: Deployment, tenant: Tenant, days: int | None) -> int:
    """Give a tenant a grace of its own, `None` for that of the settings; return the days in force."""
    if days is not None and not 0 <= days <= LONGEST_GRACE:
        raise InvalidInput(f"A grace is 0 to {LONGEST_GRACE} days.")
    with deployment.database.writing() as connection:
        store_grace(connection, tenant.id, days)
    return deployment.grace_days(tenant)


def create_api_key(
    deployment: Deployment, tenant: Tenant, role: Role, *, origins: Sequence[str] = ()
) -> NewApiKey:
    """Create a credential; a `browser` key needs at least one web origin, the others take none."""
    if (role is Role.BROWSER) != bool(origins):
        raise InvalidInput("A browser key is bound to at least one origin; other keys to none.")
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInput("An origin is a scheme and a host, such as https://shop.example.")
        if _OWN_PORT.fullmatch(origin):
            raise InvalidInput("Leave the port out: browsers name only one that is not the scheme's own.")
    prefix = "pk_" if role is Role.BROWSER else "ck_"
    key = prefix + secrets.token_urlsafe(_SECRET_BYTES)
    with deployment.database.writing() as connection:
        key_id = insert_api_key(
            connection,
            tenant_id=tenant.id,
            role=role.value,
            digest=key_digest(key),
            origins=origins,
            created_at_ms=to_ms(deployment.clock()),
        )
    return NewApiKey(id=key_id, role=role, tenant=tenant.name, key=key)


def key_digest(key: str) -> bytes:
    """Return the SHA-256 under which a credential is stored: it has 256 bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).digest()


def revoke_key(deployment: Deployment, tenant: Tenant, key_id: int) -> bool:
    """Revoke a credential; return whether it was live."""
    with deployment.database.writing() as connection:
        return revoke_api_key(
            connection, key_id, tenant_id=tenant.id, revoked_at_ms=to_ms(deployment.clock())
        )


def lookup_key(deployment: Deployment, key: str) -> StoredApiKey | None:
    """Return the live credential of this secret, or `None`."""
    with deployment.database.reading() as connection:
        return find_api_key(connection, key_digest(key))


def live_keys(deployment: Deployment) -> list[StoredApiKey]:
    """Return every live credential."""
    with deployment.database.reading() as connection:
        return list_api_keys(connection)


def list_keys(deployment: Deployment, tenant: Tenant) -> list[StoredApiKey]:
    """Return the live credentials of one tenant."""
    return [stored for stored in live_keys(deployment) if stored.tenant_id == tenant.id]
