"""What a relay says on NATS, and how it proves that it is the tenant's (docs/reference/relay.md)."""

from __future__ import annotations

from consent_sdk._frozen import Frozen
from consent_sdk._sse import BadStream, EventReader
from consent_sdk.errors import ConfigurationError
from consent_sdk.protocol import Malformed, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from consent_sdk.protocol import Answer

RUN = "Consent-Run"
_MAC = "Consent-Mac"
_EXTRA = "stream='nats://…' needs an optional dependency: pip install 'consent-sdk[nats]'."


class NatsAddress:
    """Where NATS is: `nats://…` or `tls://…`, several with commas, then `?credentials=FILE`.

    Its repr shows nothing of it. Raises `ConfigurationError`, also when the extra is not installed.
    """

    __slots__ = ("credentials", "servers")

    def __init__(self, url: str) -> None:
        from importlib.util import find_spec  # noqa: PLC0415  # too slow to import with the package

        servers, _, query = url.partition("?")
        name, _, value = query.partition("=")
        if query and (name != "credentials" or not value):
            raise ConfigurationError("The address of NATS takes ?credentials=FILE and nothing else.")
        if find_spec("nats") is None:
            raise ConfigurationError(_EXTRA)
        self.servers = servers.split(",")
        self.credentials = value or None

    def __repr__(self) -> str:
        return "<NatsAddress>"


class Hello(Frozen):
    """A relay's answer: its clock was `now` when it left, its ledger ended with entry `index`."""

    __slots__ = ("at", "event", "history", "index", "now", "run")

    at: float
    event: bytes
    history: str
    index: int
    now: float
    run: str

    def __init__(self, **values: object) -> None:
        self._init(**values)


class RelayNames:
    """One tenant's subjects and the key of its messages; the repr does not show it."""

    __slots__ = ("_key", "_log", "feed", "hello", "inbox", "stored")

    def __init__(self, *, tenant: str, log: str, key: bytes) -> None:
        self._log = log.encode()
        self._key = key
        self.feed = f"consent.{tenant}.feed.*"
        self.hello = f"consent.{tenant}.hello"
        self.inbox = f"consent.{tenant}.inbox"
        self.stored = f"$JS.API.DIRECT.GET.consent-{tenant}"

    def said(self, kind: str, data: bytes, headers: Mapping[str, str] | None) -> bool:
        """Whether the relay of this tenant said this: `kind` is entry or head."""
        run = (headers or {}).get(RUN, "").encode()
        parts = (b"entry", self._log, data) if kind == "entry" else (b"head", self._log, run, data)
        return self._proves(headers, *parts)

    def read_hello(self, data: bytes, headers: Mapping[str, str] | None, nonce: bytes) -> Hello:
        """Read the answer to the question with this nonce; raise `BadStream` or `Malformed`."""
        if not self._proves(headers, b"hello", self._log, nonce, data):
            raise BadStream("an answer that no relay of ours gave")
        body = _body(data)
        index, at, now = body.get("index"), body.get("at"), body.get("now")
        if type(index) is not int or not isinstance(at, (int, float)) or not isinstance(now, (int, float)):
            raise Malformed("not an answer to hello")
        return Hello(
            at=float(at),
            event=data,
            history=str(body.get("history")),
            index=index,
            now=float(now),
            run=str(body.get("run")),
        )

    def _proves(self, headers: Mapping[str, str] | None, *parts: bytes) -> bool:
        import hmac  # noqa: PLC0415  # too slow to import with the package

        given = (headers or {}).get(_MAC, "")
        return hmac.compare_digest(given.encode(), relay_mac(self._key, *parts).encode())


def relay_mac(key: bytes, *parts: bytes) -> str:
    """Return the base64 of HMAC-SHA256 over the parts, each after its length in four big-endian bytes."""
    import hmac  # noqa: PLC0415  # too slow to import with the package
    from base64 import b64encode  # noqa: PLC0415  # as above

    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return b64encode(hmac.digest(key, message, "sha256")).decode()


def made_at(head: bytes) -> float:
    """Return when a head was known, in seconds of its run; never for anything else. Raises `Malformed`."""
    at = _body(head).get("at")
    return float(at) if isinstance(at, (int, float)) else float("inf")


def _body(message: bytes) -> dict[str, object]:
    """Return the data of a message's first event."""
    import json  # noqa: PLC0415  # too slow to import with the package

    events = EventReader().feed(message)
    try:
        body = json.loads(events[0].data) if events else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Malformed("not an event of a relay")
    return body


def read_relay(answer: Answer) -> RelayNames:
    """Read the answer of `GET /v1/relay`; raise `Malformed`."""
    from base64 import b64decode  # noqa: PLC0415  # too slow to import with the package

    body = read_object(answer, 200)
    tenant, log, key = (str(body.get(name) or "") for name in ("tenant", "log", "key"))
    try:
        names = RelayNames(tenant=tenant, log=log, key=b64decode(key, validate=True))
    except ValueError:
        raise Malformed("not base64") from None
    if not tenant or not log or not key or any(sign in tenant for sign in " .*>"):
        raise Malformed("not the names of a relay")
    return names
