"""The application: routes, middleware, errors and OpenAPI around one running service."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp

from consent_service.api import error_pages, errors, hot_routes, openapi
from consent_service.api.envelope import Envelope, answers_head
from consent_service.api.parameters import each_once
from consent_service.api.routers import (
    audit,
    browser,
    dashboard,
    decisions,
    docs_page,
    health,
    ledger,
    notices,
    ofrep,
    own_data,
    personal_data,
    preferences,
    profiles,
    receipts,
    stream,
    subjects,
    uses,
    verify_page,
)
from consent_service.followers.keeper import Keeper
from consent_service.followers.stream import Streams
from consent_service.followers.witnesses import Witnesses
from consent_service.observability import configure_logging
from consent_service.operations.deployment import Clock, utc_now
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings

_SUMMARY = "Explicit, revocable choices, kept as evidence that anyone can verify."
_NEW_OBJECTS = 20_000
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ROUTERS = (
    notices.router,
    decisions.router,
    receipts.router,
    audit.router,
    subjects.router,
    profiles.router,
    uses.router,
    personal_data.router,
    ledger.router,
    stream.router,
    ofrep.router,
    health.router,
    docs_page.router,
    own_data.router,
    preferences.router,
    browser.router,
    verify_page.router,
    dashboard.router,
)


class _Application(FastAPI):
    """FastAPI inside our own two layers, so that the hot routes do not pay for its machinery."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the envelope around the hot routes around FastAPI's own stack."""
        return Envelope(hot_routes.HotRoutes(super().build_middleware_stack()))


def create_app(settings: Settings | None = None, *, clock: Clock = utc_now) -> FastAPI:
    """Return the ASGI application; the service opens when it starts and drains when it stops."""
    settings = settings or Settings()
    configure_logging(settings.log_level)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await run_in_threadpool(ConsentService.open, settings, clock=clock)
        look_for_garbage_seldom()
        app.state.service = service
        app.state.streams = Streams(service)
        service.committer.when_committed = app.state.streams.wake
        keeper = Keeper(service)
        witnesses = Witnesses(service.deployment)
        try:
            yield
        finally:
            await run_in_threadpool(witnesses.close)
            await run_in_threadpool(keeper.close)
            await run_in_threadpool(app.state.streams.close)
            await run_in_threadpool(service.close)

    app = _Application(
        title="Consent Toolkit",
        version="1",
        summary=_SUMMARY,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        dependencies=[Depends(each_once)],
        strict_content_type=False,  # No page can send our callers' credentials along with such a body.
        redirect_slashes=False,  # A redirection would name the scheme and host that a proxy hides.
        generate_unique_id_function=lambda route: route.name,
    )
    for router in _ROUTERS:
        app.include_router(router)
    errors.install(app, lambda path: _methods_of(app, path), error_pages.answer)
    app.openapi = lambda: _openapi(app, ledger_public=settings.ledger_public)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def look_for_garbage_seldom() -> None:
    """Look for cycles among what is made from now on, and not at every 700 new objects.

    A batch of 500 decisions makes some thousands that live until its commit: looking through them over and
    over took 7 % of its time.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def _methods_of(app: FastAPI, path: str) -> set[str]:
    """Return the methods of every route at this path, hot ones included."""
    hot = {method for method, hot_path in hot_routes.ENDPOINTS if hot_path == path}
    methods = hot | {
        method for method in _METHODS if any(_leads(route, method, path) for route in app.routes)
    }
    return methods | {"HEAD"} if "GET" in methods and answers_head(path) else methods


def _leads(route: BaseRoute, method: str, path: str) -> bool:
    match, _ = route.matches({"type": "http", "method": method, "path": path, "root_path": "", "headers": []})
    return match is Match.FULL


def _openapi(app: FastAPI, *, ledger_public: bool) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = openapi.document(app, _ROUTERS, ledger_public=ledger_public)
    return app.openapi_schema
