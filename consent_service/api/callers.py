"""From headers to callers and subjects: authentication, roles, and whom a request is about."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar
from urllib.parse import unquote_to_bytes
from weakref import WeakKeyDictionary

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from consent_service.errors import Forbidden, InvalidSubject, Unauthenticated
from consent_service.operations.credentials import SUBJECT_ROLE, Caller
from consent_service.operations.manage_tenants import Role
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject, Tenant

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., object])

SUBJECT_HEADER = "Consent-Subject"
_MAX_HEADER = 4096
_ADMIN_TOO = frozenset({Role.BACKEND, Role.AUDITOR})
"""What these may do an admin may do."""
_HEX = frozenset("0123456789abcdefABCDEF")
_lookups: WeakKeyDictionary[ConsentService, dict[str, asyncio.Future[Caller]]] = WeakKeyDictionary()


def service_of(request: Request) -> ConsentService:
    """Return the running service of this application."""
    service: ConsentService = request.app.state.service
    return service


def authenticate(service: ConsentService, headers: Headers) -> Caller:
    """Return who sent these headers; raise `Unauthenticated`, or `Forbidden` for a foreign web origin."""
    caller = service.credentials.caller(_credential_in(headers))
    if caller.role in {Role.BROWSER, SUBJECT_ROLE}:
        _check_origin(service, headers, caller)
    return caller


def _credential_in(headers: Headers) -> str:
    values = headers.getlist("authorization")
    if len(values) > 1:
        raise Unauthenticated("Send one Authorization header: nobody can say which of several is meant.")
    scheme, _, credential = values[0].partition(" ") if values else ("", "", "")
    if scheme.lower() != "bearer" or not credential.strip():
        raise Unauthenticated("Send Authorization: Bearer with an API key or a subject token.")
    return credential.strip()


async def authenticated(service: ConsentService, headers: Headers) -> Caller:
    """Do as `authenticate` on the event loop: what needs the database waits for it on another thread."""
    credential = _credential_in(headers)
    known = service.credentials.known(credential)
    if known is None and credential.startswith("ck_"):
        return await _looked_up(service, headers, credential)
    if known is None or known.role == Role.BROWSER:
        return await run_in_threadpool(authenticate, service, headers)
    return known


async def _looked_up(service: ConsentService, headers: Headers, credential: str) -> Caller:
    """Look a key up once for everybody who waits: a crowd must not take every thread when it is due."""
    lookups = _lookups.setdefault(service, {})
    lookup = lookups.get(credential)
    if lookup is None:
        lookup = asyncio.ensure_future(run_in_threadpool(authenticate, service, headers))
        lookups[credential] = lookup

        def forget(done: asyncio.Future[Caller]) -> None:
            del lookups[credential]
            if not done.cancelled():
                done.exception()  # Seen, even where everybody who waited went away.

        lookup.add_done_callback(forget)
    return await asyncio.shield(lookup)


def _check_origin(service: ConsentService, headers: Headers, caller: Caller) -> None:
    origin = headers.get("origin")
    if origin is None or origin.partition("://")[2] == headers.get("host"):
        return
    bound = (
        origin in caller.origins
        if caller.role == Role.BROWSER
        else service.credentials.is_bound(caller.tenant, origin)
    )
    if not bound:
        raise Forbidden("This credential is not for that web origin.")


def require_role(caller: Caller, *roles: str) -> Caller:
    """Return the caller if she has one of the roles; an admin may do what a backend or an auditor may."""
    if caller.role in roles or (caller.role == Role.ADMIN and not _ADMIN_TOO.isdisjoint(roles)):
        return caller
    raise Forbidden(f"This needs a credential of role {' or '.join(roles)}.")


def subject_of(headers: Headers, caller: Caller) -> Subject:
    """Return the subject of a request: of the token, else of the `Consent-Subject` header.

    Raises `InvalidSubject`, or `Forbidden` where a subject token comes with somebody's header.
    """
    values = headers.getlist(SUBJECT_HEADER)
    if caller.subject is not None:
        if values:
            raise Forbidden("A subject token names its subject: send no Consent-Subject header.")
        return caller.subject
    if len(values) != 1:
        raise InvalidSubject("Send exactly one Consent-Subject header with the subject's identifier.")
    return caller.tenant.subject(decode_subject(values[0]))


def decode_subject(value: str) -> str:
    """Return the identifier in a `Consent-Subject` header: percent-encoded UTF-8; raise `InvalidSubject`."""
    if len(value) > _MAX_HEADER:
        raise InvalidSubject("The Consent-Subject header is too long.")
    if "%" not in value and value.isascii():
        return value
    if not value.isascii():
        raise InvalidSubject("Percent-encode what is not ASCII in the Consent-Subject header.")
    for position, character in enumerate(value):
        if character == "%" and not _HEX.issuperset(value[position + 1 : position + 3].ljust(2)):
            raise InvalidSubject("The Consent-Subject header is badly percent-encoded.")
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSubject("The Consent-Subject header is not UTF-8 once decoded.") from None


def gpc_of(headers: Headers) -> bool:
    """Return whether the request carries a Global Privacy Control signal: `Sec-GPC: 1`, also repeated."""
    values = [part.strip() for value in headers.getlist("sec-gpc") for part in value.split(",")]
    return bool(values) and all(value == "1" for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call a route: `roles`, and `everybody` always, or where the settings say so."""

    roles: tuple[str, ...] = ()
    everybody: bool = False
    by_setting: bool = False


EVERYBODY: Final = Access(everybody=True)
"""The access of a route that asks for no credential."""
_ACCESS: dict[Callable[..., object], Access] = {}


def access_of(route: APIRoute) -> Access:
    """Return who may call a route, from what checks it: a dependency of this module or its endpoint."""
    if route.endpoint in _ACCESS:
        return _ACCESS[route.endpoint]
    for dependency in route.dependant.dependencies:
        if dependency.call in _ACCESS:
            return _ACCESS[dependency.call]
    return EVERYBODY


def require_access(request: Request) -> None:
    """Raise `Unauthenticated` or `Forbidden` where the route of this request would not let its caller in.

    FastAPI reads a body before it asks who sent it; one that cannot be read must not hide a refusal.
    """
    route = request.scope.get("route")
    access = access_of(route) if isinstance(route, APIRoute) else EVERYBODY
    if not access.everybody:
        require_role(authenticate(service_of(request), request.headers), *access.roles)


def checks_itself(*roles: str) -> Callable[[_Endpoint], _Endpoint]:
    """Say of an endpoint that it lets only callers of one of `roles` in, by code of its own."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        _ACCESS[endpoint] = Access(roles=roles)
        return endpoint

    return mark


async def _service(request: Request) -> ConsentService:
    return service_of(request)


def caller_with(*roles: str) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that answers the caller, who must have one of `roles`.

    It waits for another thread only where the database has to be asked: FastAPI takes one for each that is
    no coroutine.
    """

    async def dependency(request: Request) -> Caller:
        return require_role(await authenticated(service_of(request), request.headers), *roles)

    _ACCESS[dependency] = Access(roles=roles)
    return dependency


def _ledger_tenant(request: Request) -> Tenant:
    service = service_of(request)
    if "authorization" not in request.headers and service.settings.ledger_public:
        return service.deployment.tenant_named(service.settings.tenant)
    return require_role(authenticate(service, request.headers), Role.AUDITOR, Role.BACKEND).tenant


def _public_tenant(request: Request) -> Tenant:
    service = service_of(request)
    if "authorization" not in request.headers:
        return service.deployment.tenant_named(service.settings.tenant)
    return authenticate(service, request.headers).tenant


_ACCESS[_ledger_tenant] = Access(roles=(Role.AUDITOR, Role.BACKEND), by_setting=True)
_ACCESS[_public_tenant] = Access(roles=(*Role, SUBJECT_ROLE), everybody=True)


def cached_for_ever(request: Request) -> dict[str, str]:
    """Return the headers of what never changes; a shared cache may keep only what anybody is shown."""
    visibility = "private" if "authorization" in request.headers else "public"
    return {
        "Cache-Control": f"{visibility}, max-age=31536000, immutable",
        "Vary": "Authorization, Origin",
    }


Service = Annotated[ConsentService, Depends(_service)]
Admin = Annotated[Caller, Depends(caller_with(Role.ADMIN))]
Backend = Annotated[Caller, Depends(caller_with(Role.BACKEND))]
BackendOrSubject = Annotated[Caller, Depends(caller_with(Role.BACKEND, SUBJECT_ROLE))]
AnyReader = Annotated[Caller, Depends(caller_with(Role.BACKEND, Role.AUDITOR, SUBJECT_ROLE))]
Auditor = Annotated[Caller, Depends(caller_with(Role.AUDITOR))]
LedgerTenant = Annotated[Tenant, Depends(_ledger_tenant)]
PublicTenant = Annotated[Tenant, Depends(_public_tenant)]
