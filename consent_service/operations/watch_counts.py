"""The session of somebody who may watch a tenant's counts: begun with an API key, ended with it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from consent_service.errors import Forbidden, Unauthenticated, UnknownTenant
from consent_service.operations.deployment import Deployment
from consent_service.operations.manage_tenants import Role, lookup_key
from consent_service.operations.tenant import Tenant
from consent_service.storage.tenant_store import find_live_key

IDLE: Final = timedelta(minutes=30)
"""A session ends this long after the last page, whatever the key does."""

LONGEST: Final = timedelta(hours=8)
"""No session lasts longer than this: then the key is asked for again."""

_ROLES: Final = frozenset({Role.AUDITOR.value, Role.ADMIN.value})
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "consent-dashboard"
"""Unlike a subject token's, so that neither is ever taken for the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who watches: through which key of which tenant, in which role, since when."""

    tenant: Tenant
    key_id: int
    role: str
    since: datetime


def sign_in(deployment: Deployment, key: str) -> Watcher:
    """Return who holds this API key; raise `Unauthenticated`, or `Forbidden` for a role that sees no counts.

    The key is looked up by its digest, as everywhere: how long that takes says nothing about a wrong one.
    """
    stored = lookup_key(deployment, key)
    if stored is None:
        raise Unauthenticated("This API key is unknown or revoked.")
    if stored.role not in _ROLES:
        raise Forbidden("The dashboard needs an API key of role auditor or admin.")
    tenant = deployment.tenant(stored.tenant_id)
    return Watcher(tenant=tenant, key_id=stored.id, role=stored.role, since=deployment.clock())


def session_token(deployment: Deployment, watcher: Watcher) -> str:
    """Return what a browser keeps: signed by the tenant's token key, it names the key and holds none."""
    now = deployment.clock()
    claims = {
        "iss": watcher.tenant.origin,
        "aud": _AUDIENCE,
        "sub": str(watcher.key_id),
        "since": int(watcher.since.timestamp()),
        "exp": int(min(now + IDLE, watcher.since + LONGEST).timestamp()),
    }
    headers = {"kid": str(watcher.tenant.id)}
    return jwt.encode(claims, watcher.tenant.token_key, algorithm=_ALGORITHM, headers=headers)


def _claims(tenant: Tenant, token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token,
        tenant.token_key,
        algorithms=[_ALGORITHM],
        audience=_AUDIENCE,
        issuer=tenant.origin,
        # The time is compared by the deployment's clock.
        options={"require": ["exp", "sub", "since"], "verify_exp": False},
    )
    return claims


def watcher_of(deployment: Deployment, token: str) -> Watcher:
    """Return whose session this is; raise `Unauthenticated` where it is over or its key was revoked."""
    refusal = Unauthenticated("This session is over: sign in again.")
    try:
        tenant = deployment.tenant(int(jwt.get_unverified_header(token)["kid"]))
        claims = _claims(tenant, token)
        since = datetime.fromtimestamp(claims["since"], UTC)
        key_id = int(claims["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, OverflowError, UnknownTenant) as error:
        raise refusal from error
    if claims["exp"] <= deployment.clock().timestamp():
        raise refusal
    with deployment.database.reading() as connection:
        stored = find_live_key(connection, key_id)
    if stored is None or stored.tenant_id != tenant.id or stored.role not in _ROLES:
        raise refusal
    return Watcher(tenant=tenant, key_id=key_id, role=stored.role, since=since)
