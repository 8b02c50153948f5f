"""Who is calling: API keys, publishable keys and subject tokens."""

import base64
import binascii
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt

from consent_service.errors import SealBroken, Unauthenticated, UnknownTenant
from consent_service.operations.deployment import Deployment
from consent_service.operations.manage_tenants import Role, key_digest, live_keys, lookup_key
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.tenant_store import StoredApiKey

_ALGORITHM = "HS256"
_AUDIENCE = "consent"
_CACHE_LIMIT = 4096
_UNKNOWN_SECONDS = 0.1
"""How long an unknown origin stays unknown: a page with a new key works at once, a flood asks little."""
SUBJECT_ROLE = "subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A good credential: its tenant, its role, and the subject it is bound to (subject tokens only)."""

    tenant: Tenant
    role: str
    subject: Subject | None = None
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectToken:
    """A short-lived credential that names one subject."""

    token: str
    expires_at: datetime


class Credentials:
    """Resolves credentials. A key is trusted for `credential_cache_seconds` after it was looked up."""

    def __init__(self, deployment: Deployment, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._deployment = deployment
        self._monotonic = monotonic
        self._ttl = deployment.settings.credential_cache_seconds
        self._unknown_ttl = min(self._ttl, _UNKNOWN_SECONDS)
        self._callers: dict[bytes, tuple[float, Caller]] = {}
        self._origins: tuple[float, dict[str, frozenset[int]]] = (float("-inf"), {})

    def caller(self, credential: str) -> Caller:
        """Return who presents this credential; raise `Unauthenticated`."""
        if credential.startswith(("ck_", "pk_")):
            return self._key_holder(credential)
        return self._token_holder(credential)

    def known(self, key: str) -> Caller | None:
        """Return who presents this API key if that is known without asking the database."""
        cached = self._callers.get(key_digest(key))
        return cached[1] if cached is not None and self._monotonic() < cached[0] else None

    def _key_holder(self, key: str) -> Caller:
        known = self.known(key)
        if known is not None:
            return known
        digest = key_digest(key)
        stored = lookup_key(self._deployment, key)
        if stored is None:
            self._callers.pop(digest, None)
            raise Unauthenticated("This API key is unknown or revoked.")
        caller = self._caller_of(stored)
        if len(self._callers) >= _CACHE_LIMIT:
            self._callers.clear()
        self._callers[digest] = (self._monotonic() + self._ttl, caller)
        return caller

    def _caller_of(self, stored: StoredApiKey) -> Caller:
        tenant = self._deployment.tenant(stored.tenant_id)
        return Caller(tenant=tenant, role=stored.role, origins=stored.origins)

    def issue_subject_token(self, tenant: Tenant, subject: Subject) -> SubjectToken:
        """Return a token for one subject; her external id is in it only sealed."""
        now = self._deployment.clock()
        expires_at = now + timedelta(seconds=self._deployment.settings.subject_token_seconds)
        claims = {
            "iss": tenant.origin,
            "aud": _AUDIENCE,
            "sub": tenant.ref(subject),
            "sid": base64.urlsafe_b64encode(tenant.seal_id(subject)).decode("ascii"),
            "idx": base64.urlsafe_b64encode(subject.blind_index).decode("ascii"),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_urlsafe(12),
        }
        token = jwt.encode(claims, tenant.token_key, algorithm=_ALGORITHM, headers={"kid": str(tenant.id)})
        return SubjectToken(token=token, expires_at=expires_at.replace(microsecond=0))

    def _token_holder(self, token: str) -> Caller:
        refusal = Unauthenticated("This subject token is malformed, expired or not ours.")
        try:
            tenant = self._deployment.tenant(int(jwt.get_unverified_header(token)["kid"]))
            claims = jwt.decode(
                token,
                tenant.token_key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=tenant.origin,
                options={
                    "require": ["exp", "iat", "sub", "sid", "idx"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            index = base64.urlsafe_b64decode(claims["idx"])
            external_id = tenant.open_id(base64.urlsafe_b64decode(claims["sid"]), index)
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, binascii.Error) as error:
            raise refusal from error
        except (UnknownTenant, SealBroken) as error:
            raise refusal from error
        if claims["exp"] <= self._deployment.clock().timestamp():
            raise refusal
        return Caller(tenant=tenant, role=SUBJECT_ROLE, subject=tenant.named(external_id))

    def origin_known(self, origin: str) -> bool:
        """Whether `origin_tenants` answers without asking the database."""
        looked_up, origins = self._origins
        return self._monotonic() < looked_up + (self._ttl if origin in origins else self._unknown_ttl)

    def origin_tenants(self, origin: str) -> frozenset[int]:
        """Return the tenants that have a live publishable key bound to this web origin."""
        if not self.origin_known(origin):
            self._look_up_origins()
        return self._origins[1].get(origin, frozenset())

    def is_bound(self, tenant: Tenant, origin: str) -> bool:
        """Return whether a live publishable key of this tenant is bound to this web origin."""
        if tenant.id in self.origin_tenants(origin):
            return True
        if self._monotonic() >= self._origins[0] + self._unknown_ttl:
            self._look_up_origins()
        return tenant.id in self._origins[1].get(origin, frozenset())

    def _look_up_origins(self) -> None:
        now = self._monotonic()
        found: dict[str, set[int]] = {}
        for stored in live_keys(self._deployment):
            if stored.role == Role.BROWSER:
                for bound in stored.origins:
                    found.setdefault(bound, set()).add(stored.tenant_id)
        self._origins = (now, {bound: frozenset(tenants) for bound, tenants in found.items()})


def looks_like_a_token(text: str) -> bool:
    """Say whether this has the form of a subject token, good or not: no shop calls a subject like that."""
    try:
        header = jwt.get_unverified_header(text)
    except jwt.InvalidTokenError:
        return False
    return {"alg", "kid"} <= header.keys()
