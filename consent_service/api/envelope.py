"""What every response has in common: security headers, CORS, a body limit, a log line and metrics.

One plain ASGI middleware, because Starlette's request-response kind costs a task per request.
"""

import time
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import Counter, Histogram
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent_service.api.errors import BodyTooLarge, CompressedBody, problem_of
from consent_service.errors import ConsentToolkitError, Unavailable
from consent_service.observability import REQUEST_SECONDS, REQUESTS, logger
from consent_service.operations.service import ConsentService

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
_SECURITY_RAW = [(name.lower().encode(), value.encode()) for name, value in _SECURITY.items()]
_LARGE_BODIES = frozenset(
    {"/v1/decisions/batch", "/v1/notice", "/v1/profile", "/v1/profiles/query", "/v1/uses"}
)
_PREFLIGHT_SECONDS = "7200"
_LENGTH_DIGITS = 18
"""More digits of a length than any limit has."""


class Envelope:
    """Wraps the application; the service is found on the application's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, receive, send).run(self._app)


class _Exchange:
    """One request and its response on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._bodiless = scope["method"] == "HEAD" and answers_head(scope["path"])
        self._scope = {**scope, "method": "GET"} if self._bodiless else scope
        self._receive = receive
        self._send = send
        self._service: ConsentService = scope["app"].state.service
        self._asked_origin: str | None = None
        self._origin: str | None = None
        self._preflight = False
        self._declared = 0
        self._compressed = False
        self._read_headers(scope["headers"])
        self._limit = self._body_limit()
        self._received = 0
        self._overflow: BodyTooLarge | None = None
        self._status = 0
        self._started = time.perf_counter()

    def _read_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                self._declared = int(value[:_LENGTH_DIGITS])
            elif name == b"content-encoding":
                self._compressed = value.lower() not in {b"", b"identity"}
            elif name == b"origin":
                self._asked_origin = value.decode("latin-1")
            elif name == b"access-control-request-method":
                self._preflight = self._scope["method"] == "OPTIONS"

    async def run(self, app: ASGIApp) -> None:
        try:
            if self._asked_origin is not None:
                await self._allow(self._asked_origin)
            if self._declared > self._limit:
                await self._answer(self._too_large())
            elif self._compressed:
                await self._answer(CompressedBody("Send the body as it is, without a Content-Encoding."))
            elif self._preflight and self._origin is not None:
                await self._answer_preflight()
            else:
                await app(self._scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001  # nothing may reach the server's own log
            # Whatever a server would print of an exception may quote data: nothing leaves this place.
            if self._status:
                if not isinstance(error, ConsentToolkitError):
                    logger.error("broken", error=type(error).__name__, exc_info=error)
            elif not isinstance(error, ClientDisconnect):
                await self._answer(error)
        finally:
            self._account()

    async def _allow(self, origin: str) -> None:
        """Allow the web origins that a publishable key is bound to; none while nobody can say."""
        credentials = self._service.credentials
        try:
            if credentials.origin_known(origin):
                allowed = credentials.origin_tenants(origin)
            else:
                allowed = await run_in_threadpool(credentials.origin_tenants, origin)
        except Unavailable:
            return
        if allowed:
            self._origin = origin

    async def _answer(self, error: Exception) -> None:
        overflow, self._overflow = self._overflow, None
        await problem_of(error).response()(self._scope, self._receive, self.send)
        self._overflow = overflow

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                self._overflow = self._too_large()
                raise self._overflow
        return message

    async def send(self, message: Message) -> None:
        if self._overflow is not None:  # Somebody took it for something else: that answer goes nowhere.
            if self._status == 0:
                await self._answer(self._overflow)
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = message["headers"]
            present = {name for name, _ in headers}
            message["headers"] = [*headers, *(pair for pair in _SECURITY_RAW if pair[0] not in present)]
            if self._origin is not None:
                mutable = MutableHeaders(raw=message["headers"])
                mutable["Access-Control-Allow-Origin"] = self._origin
                mutable["Access-Control-Expose-Headers"] = "ETag, Retry-After"
                mutable.add_vary_header("Origin")
        if self._bodiless and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _body_limit(self) -> int:
        settings = self._service.settings
        large = self._scope["path"] in _LARGE_BODIES
        return settings.max_batch_bytes if large else settings.max_body_bytes

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"This body may have at most {self._limit} bytes.")

    async def _answer_preflight(self) -> None:
        allowed: Iterable[tuple[bytes, bytes]] = (
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, idempotency-key, if-none-match"),
            (b"access-control-max-age", _PREFLIGHT_SECONDS.encode()),
            (b"content-length", b"0"),
        )
        await self.send({"type": "http.response.start", "status": 204, "headers": list(allowed)})
        await self.send({"type": "http.response.body", "body": b""})

    def _account(self) -> None:
        route = getattr(self._scope.get("route"), "path", None) or _hot_path(self._scope["path"])
        asked = "HEAD" if self._bodiless else self._scope["method"]
        method = asked if asked in _METHODS else "other"
        seconds = time.perf_counter() - self._started
        requests, request_seconds = _counters(route, method, self._status)
        requests.inc()
        if route not in _ENDLESS:
            request_seconds.observe(seconds)
        if self._service.settings.log_level == "debug":  # Asked here, for the logger takes longer to say no.
            logger.debug(
                "request", route=route, method=method, status=self._status, ms=round(seconds * 1000, 3)
            )


@lru_cache(maxsize=1024)  # Routes, methods and statuses are few; looking labels up costs more than counting.
def _counters(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, str(status)), REQUEST_SECONDS.labels(route)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ENDLESS = frozenset({"/v1/stream", "/ofrep/v1/stream"})
_NO_HEAD = _ENDLESS | {"/v1/audit/export", "/dashboard/audit-pack"}
"""What is endless, or much work for no body."""
_HOT_PATHS = frozenset({"/v1/decisions", "/v1/gate"})


def answers_head(path: str) -> bool:
    """Say whether a HEAD of this path is answered as GET is, without the body (RFC 9110, section 9.3.2)."""
    return path not in _NO_HEAD


def _hot_path(path: str) -> str:
    return path if path in _HOT_PATHS else "none"
