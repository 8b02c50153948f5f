"""What the stream and the snapshot say, read from their bytes (DESIGN section 9, ADR 0040)."""

from __future__ import annotations

from consent_sdk._frozen import Frozen, set_slot
from consent_sdk.protocol import Malformed, Request, is_purpose, read_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from consent_sdk._sse import Event
    from consent_sdk.verdict import Reason

State = tuple["Reason", int, "int | None"]
"""Reason, until when (epoch seconds, 0 for no end), and the entry that decided where the service says so."""

NOBODY = "-"
"""The subject of an entry that changes nothing."""

_LATEST = (1 << 32) - 1
_LONGEST_LEAF = 64
_SHORTEST_GROUP = 3


class Change(Frozen):
    """Entry `index` left these purposes of this subject so; the others are as they were.

    The subject `-` is nobody: an entry that changes nothing. `leaf` tells the entry from that of another
    history with the same index, where it is known.
    """

    __slots__ = ("consents", "index", "leaf", "subject")

    index: int
    subject: str
    consents: Mapping[str, State]
    leaf: str | None

    def __init__(
        self, *, index: int, subject: str, consents: Mapping[str, State], leaf: str | None = None
    ) -> None:
        set_slot(self, "index", index)
        set_slot(self, "subject", subject)
        set_slot(self, "consents", consents)
        set_slot(self, "leaf", leaf)

    def __hash__(self) -> int:
        return hash((self.index, self.subject))


class Head(Frozen):
    """A proof: `at` seconds after the answer began the ledger ended with entry `index`, all of it sent."""

    __slots__ = ("at", "index", "leaf")

    index: int
    at: float | None
    leaf: str | None

    def __init__(self, *, index: int, at: float | None = None, leaf: str | None = None) -> None:
        self._init(index=index, at=at, leaf=leaf)


class Reset(Frozen):
    """Everything may have changed: forget it. The stream goes on after entry `index`, where that is said."""

    __slots__ = ("index",)

    index: int | None

    def __init__(self, *, index: int | None = None) -> None:
        self._init(index=index)


class Header(Frozen):
    """The first line of a snapshot: the ledger's size, the published purposes, the key of refs."""

    __slots__ = ("head", "leaf", "purposes", "ref_key", "retired")

    head: int
    leaf: str | None
    purposes: frozenset[str] | None
    retired: frozenset[str]
    ref_key: bytes

    def __init__(
        self,
        *,
        head: int,
        purposes: frozenset[str] | None,
        ref_key: bytes,
        retired: frozenset[str] = frozenset(),
        leaf: str | None = None,
    ) -> None:
        self._init(head=head, purposes=purposes, ref_key=ref_key, retired=retired, leaf=leaf)

    def __repr__(self) -> str:
        return f"<Header head={self.head}>"


def stream_request(cursor: int | None, leaf: str | None) -> Request:
    """Follow from after entry `cursor`, which had this leaf, or from now."""
    headers = (
        ("Accept", "text/event-stream"),
        ("Accept-Encoding", "identity"),
        ("Cache-Control", "no-store"),
    )
    after = () if cursor is None else (("Last-Event-ID", str(cursor)),)
    known = () if cursor is None or leaf is None else (("Consent-Leaf", leaf),)
    return Request("GET", "/v1/stream", headers=(*headers, *after, *known))


def relay_request() -> Request:
    """Ask for the names and the key of the tenant's relay."""
    return Request("GET", "/v1/relay", headers=(("Accept", "application/json"),))


def snapshot_request() -> Request:
    """Ask for where everybody stands."""
    return Request("GET", "/v1/snapshot", headers=(("Accept", "application/x-ndjson"),))


def read_event(event: Event) -> Change | Head | Reset | None:
    """Return what an event says; raise `Malformed` for nonsense.

    None for a kind of a newer service: if it stood for an entry, the next one shows a gap.
    """
    if event.name == "head":
        body = _object(event.data)
        index, at = body.get("index"), body.get("at")
        if type(index) is not int or index < -1:
            raise Malformed("a head without an index")
        return Head(index=index, at=float(at) if isinstance(at, (int, float)) else None, leaf=_leaf(body))
    if event.name == "reset":
        index = _object(event.data).get("index")
        return Reset(index=index if type(index) is int and index >= -1 else None)
    if event.name not in ("change", "notice"):
        return None
    if not event.id.isascii() or not event.id.isdigit():
        raise Malformed("an entry without an index")
    if event.name == "change":
        return read_change(event, int(event.id))
    return Change(index=int(event.id), subject=NOBODY, consents={}, leaf=_leaf(_object(event.data)))


def read_change(event: Event, index: int) -> Change:
    """Return what an event says of entry `index`; raise `Malformed`."""
    body = _object(event.data)
    states = _alike(body["alike"]) if "alike" in body else _states(body.get("consents"))
    return Change(index=index, subject=_text(body.get("subject")), consents=states, leaf=_leaf(body))


def read_header(line: bytes) -> Header:
    """Read the first line of a snapshot; raise `Malformed`."""
    from base64 import b64decode  # noqa: PLC0415  # too slow to import with the package

    body = _object(line)
    head, purposes, key = body.get("head"), body.get("purposes"), body.get("ref_key")
    if (
        type(head) is not int
        or head < 0
        or not isinstance(purposes, (dict, list))
        or not isinstance(key, str)
    ):
        raise Malformed("not the first line of a snapshot")
    try:
        ref_key = b64decode(key, validate=True)
    except ValueError:
        raise Malformed("not base64") from None
    retired = body.get("retired")
    return Header(
        head=head,
        purposes=frozenset(filter(is_purpose, purposes)),
        retired=frozenset(filter(is_purpose, retired)) if isinstance(retired, list) else frozenset(),
        ref_key=ref_key,
        leaf=_leaf(body),
    )


def read_row(line: bytes) -> tuple[str, Mapping[str, State]] | int:
    """Read a further line: a subject's ref and consents, or the count on the last line; raise `Malformed`."""
    body = _object(line)
    if body.get("end") is True:
        count = body.get("count")
        if type(count) is not int:
            raise Malformed("an end without a count")
        return count
    return _text(body.get("subject")), _states(body.get("consents"))


def _states(consents: object) -> dict[str, State]:
    if not isinstance(consents, dict):
        raise Malformed("no consents")
    return {purpose: _state(state) for purpose, state in consents.items()}


def _alike(groups: object) -> dict[str, State]:
    """Read [[reason, valid_until, purpose, …], …]."""
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and len(group) >= _SHORTEST_GROUP for group in groups
    ):
        raise Malformed("no consents")
    return {_text(purpose): _state(group[:2]) for group in groups for purpose in group[2:]}


def _leaf(body: dict[str, object]) -> str | None:
    """Return what tells the entry from another history's; it goes into a header, so it is checked."""
    leaf = body.get("leaf")
    if leaf is None:
        return None
    if not isinstance(leaf, str) or len(leaf) > _LONGEST_LEAF or not leaf.isascii() or not leaf.isprintable():
        raise Malformed("not a leaf")
    return leaf


def _state(state: object) -> State:
    if not isinstance(state, list) or len(state) not in (2, 3):
        raise Malformed("not [reason, valid_until]")
    reason, until = state[0], state[1]
    index = state[2] if len(state) == 3 else None  # noqa: PLR2004  # see above
    if type(until) is not int or until < 0 or (index is not None and (type(index) is not int or index < 0)):
        raise Malformed("not [reason, valid_until]")
    return read_reason(_text(reason)), min(until, _LATEST), index


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Malformed("not a text")
    return value


def _object(text: str | bytes) -> dict[str, object]:
    import json  # noqa: PLC0415  # too slow to import with the package

    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(body, dict):
        raise Malformed("not an object")
    return body
