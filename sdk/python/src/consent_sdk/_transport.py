"""Send one request, get one answer or `Unreachable`: over httpx2, which is imported when first needed."""

from __future__ import annotations

import os

from consent_sdk._importing import IMPORTING
from consent_sdk.errors import ConfigurationError
from consent_sdk.protocol import Answer, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from logging import LogRecord
    from ssl import SSLContext
    from threading import Lock

    import httpx2

    from consent_sdk.protocol import Request


class Unreachable(Exception):
    """No complete answer: refused, reset, timed out, cut, or not HTTP. Says what kind, never where or who."""


class TurnedAway(Exception):
    """An answer that is not the one asked for: its `status`, and the seconds it asks to stay away."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = retry_after(Answer(status, {name.lower(): headers[name] for name in headers}, b""))


_OTHER_FAILURES = (ImportError, OSError, RuntimeError, ValueError)
"""Of a proxy that needs more than httpx2, of certificates, of sockets, of an event loop that has ended, of a
host that no name can have."""

ABANDONED: list[object] = []
"""Connections inherited by a fork: kept, so that nothing says goodbye to the service in the parent's name."""


class Endpoint:
    """Where the service is and what proves who we are; its repr shows neither."""

    __slots__ = ("_api_key", "url")

    def __init__(self, url: str, api_key: str) -> None:
        if not _is_address(url):
            raise ConfigurationError(
                "The service's URL must begin with http:// or https:// and name a host, and at most a port "
                "and a path: a key goes into api_key."
            )
        given: object = api_key
        if not isinstance(given, str) or not given or not given.isascii() or not given.isprintable():
            raise ConfigurationError("An API key (ck_...) is needed: consent key create --role backend.")
        self.url = url.rstrip("/")
        self._api_key = api_key

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """Return the request's headers with the credential."""
        return [*request.headers, ("Authorization", f"Bearer {self._api_key}"), ("User-Agent", "consent-sdk")]

    def trust(self) -> bool | SSLContext:
        """Return what to check certificates by: with https:// what is usual, with http:// nothing is read.

        Reading the machine's certificates takes longer than everything else that a client does at its start.
        """
        if self.url.startswith("https://"):
            return True
        import ssl  # noqa: PLC0415  # httpx2 imported it already

        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def keep_out_of_logs(self) -> None:
        """Let no log line of httpx2 carry the service's URL."""
        import logging  # noqa: PLC0415  # too slow to import with the package

        logger = logging.getLogger("httpx2")
        if not any(isinstance(known, _NoAddress) and known.url == self.url for known in logger.filters):
            logger.addFilter(_NoAddress(self.url))

    def __repr__(self) -> str:
        return "<Endpoint>"


def _is_address(url: object) -> bool:
    """Whether a service can be at this URL: httpx2 would send a name in it in the place of our key."""
    from urllib.parse import urlsplit  # noqa: PLC0415  # httpx2 needs it too

    if not isinstance(url, str) or not url.isprintable() or not {" ", "?", "#", "@"}.isdisjoint(url):
        return False
    try:
        parts = urlsplit(url)
        return url.startswith(("http://", "https://")) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _NoAddress:
    """A log filter: httpx2 writes a line with the URL per request, and an address is nobody's business."""

    def __init__(self, url: str) -> None:
        self.url = url

    def filter(self, record: LogRecord) -> bool:
        """Return whether the record may pass."""
        return not any(str(detail).startswith(self.url) for detail in record.args or ())


class HttpTransport:
    """Blocking; one connection pool, made at the first request; any thread may use it.

    A forked child makes its own, also where the fork ran no hooks: on a shared connection one process would
    read what the other asked about.
    """

    def __init__(self, endpoint: Endpoint, transport: httpx2.BaseTransport | None = None) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._client: httpx2.Client | None = None
        self._pid = os.getpid()
        self._lock = _a_lock()

    def send(self, request: Request, *, timeout: float) -> Answer:
        """Return the answer, read to its end within `timeout` seconds a step, or raise `Unreachable`."""
        try:
            client = self._http()
        except _OTHER_FAILURES as error:
            raise Unreachable(type(error).__name__) from None
        import httpx2  # noqa: PLC0415  # imported when the client starts

        try:
            response = client.request(
                request.method,
                self._endpoint.url + request.path,
                headers=self._endpoint.headers(request),
                content=request.content or None,
                timeout=timeout,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, *_OTHER_FAILURES) as error:
            raise Unreachable(type(error).__name__) from None
        return Answer(response.status_code, _lower(response.headers), response.content)

    def open(
        self, request: Request, *, connect: float, read: float
    ) -> AbstractContextManager[httpx2.Response]:
        """Return the answer while it arrives; entering and reading raise httpx2's errors."""
        client = self._http()
        import httpx2  # noqa: PLC0415  # imported when the client starts

        return client.stream(
            request.method,
            self._endpoint.url + request.path,
            headers=self._endpoint.headers(request),
            timeout=httpx2.Timeout(read, connect=connect),
        )

    def after_fork(self) -> None:
        """Leave the parent its connections: neither use nor close them."""
        if self._client is not None:
            ABANDONED.append(self._client)
        self._client = None
        self._pid = os.getpid()
        self._lock = _a_lock()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _http(self) -> httpx2.Client:
        if os.getpid() != self._pid:
            self.after_fork()
        with IMPORTING, self._lock:
            if self._client is None:
                # With the first client httpx2 imports the rest of itself, with the first address the codec.
                import encodings.idna  # noqa: F401, PLC0415  # too slow to import with the package

                import httpx2  # noqa: PLC0415  # imported when the client starts

                self._endpoint.keep_out_of_logs()
                self._client = httpx2.Client(
                    transport=self._transport, follow_redirects=False, verify=self._endpoint.trust()
                )
            return self._client


class AsyncHttpTransport:
    """As `HttpTransport`, for asyncio: each event loop has a pool of its own, for no other can use it."""

    def __init__(self, endpoint: Endpoint, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._pid = os.getpid()
        self._endpoint = endpoint
        self._transport = transport
        self._clients: dict[AbstractEventLoop, httpx2.AsyncClient] = {}

    async def send(self, request: Request, *, timeout: float) -> Answer:  # noqa: ASYNC109  # httpx2's
        """Return the answer, read to its end within `timeout` seconds a step, or raise `Unreachable`."""
        try:
            client = self._http()
        except _OTHER_FAILURES as error:
            raise Unreachable(type(error).__name__) from None
        import httpx2  # noqa: PLC0415  # imported when the client starts

        try:
            response = await client.request(
                request.method,
                self._endpoint.url + request.path,
                headers=self._endpoint.headers(request),
                content=request.content or None,
                timeout=timeout,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, *_OTHER_FAILURES) as error:
            raise Unreachable(type(error).__name__) from None
        return Answer(response.status_code, _lower(response.headers), response.content)

    def after_fork(self) -> None:
        """Leave the parent its connections: neither use nor close them."""
        ABANDONED.extend(self._clients.values())
        self._clients = {}
        self._pid = os.getpid()

    async def close(self) -> None:
        """Close the connections of this event loop; the next request opens new ones."""
        from asyncio import get_running_loop  # noqa: PLC0415  # too slow to import with the package

        client = self._clients.pop(get_running_loop(), None)
        self._clients = {}
        if client is not None:
            await client.aclose()

    def _http(self) -> httpx2.AsyncClient:
        from asyncio import get_running_loop  # noqa: PLC0415  # as above

        import httpx2  # noqa: PLC0415  # imported when the client starts

        if os.getpid() != self._pid:
            self.after_fork()
        loop = get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for ended in [each for each in tuple(self._clients) if each.is_closed()]:
                self._clients.pop(ended, None)
            self._endpoint.keep_out_of_logs()
            client = self._clients[loop] = httpx2.AsyncClient(
                transport=self._transport, follow_redirects=False, verify=self._endpoint.trust()
            )
        return client


def _a_lock() -> Lock:
    from threading import Lock  # noqa: PLC0415  # too slow to import with the package

    return Lock()


def _lower(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
