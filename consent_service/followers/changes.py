"""What followers tell about an entry: one small encoded event, the same bytes for everybody (ADR 0070).

    id: 7
    event: change
    data: {"subject":"s_…","consents":{"recommendations":["withdrawn",1795000000]},"leaf":"mFTiSnpW"}

A change has the purposes whose standing choice is that entry's, as they stand when it is told: what a later
entry decided again is told with that one. So whoever takes in every entry ends up with what the gate says.

No event of a change is larger than 300 bytes (ADR 0043): purposes that stand alike are named together where
that is needed, and what is too much even so is told in several events. Only the last event of an entry has
its id, so that whoever was cut off between two comes back for all of them.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.consent import SubjectState
from consent_service.domain.gate import Verdict, evaluate_key
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.ledger.merkle import leaf_hash
from consent_service.operations.deployment import Deployment
from consent_service.operations.notice_book import NoticeBook, PublishedNotice
from consent_service.operations.tenant import Tenant
from consent_service.storage.change_store import StoredChange, glance_at_changes, read_changes, read_erased
from consent_service.storage.ledger_store import read_head
from consent_service.storage.subject_store import decode_decided_at

_SUBJECT = re.compile(rb'^data: \{"subject":"([^"]+)"', re.MULTILINE)
_LEAF = re.compile(rb'"leaf":"([^"]+)"\}\n\n$')
_LEAF_BYTES = 6
LARGEST_CHANGE = 300
"""Bytes of one event of a change at most, of its three lines and the empty one."""
Row = tuple[SubjectRef, Mapping[PurposeKey, Verdict]]
NOBODY_REF = SubjectRef("-")
"""The subject of a change that names nobody: an erased record, a decision that a later one replaced."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The events of the entries from `start` on, one element an entry, out of a log of `size` entries.

    `leaves` are the RFC 6962 hashes of those entries' leaves, `before` that of the entry before them, None
    where there is none. `resets` says that there may be a reset among the events.
    """

    start: int
    events: list[bytes]
    size: int
    leaves: Sequence[bytes] = ()
    before: bytes | None = None
    resets: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing follows."""
        return self.stop >= self.size

    @property
    def stop(self) -> int:
        """The index after the last entry in here."""
        return self.start + len(self.events)

    @property
    def last(self) -> bytes | None:
        """The hash of the leaf before `stop`."""
        return self.leaves[-1] if self.leaves else self.before

    def continues(self, last: bytes | None) -> bool:
        """Whether this ledger's entry before `start` has the leaf `last`: no older backup took its place."""
        return self.start <= self.size and (last is None or last == self.before)


def read_events(deployment: Deployment, tenant: Tenant, start: int, limit: int) -> Chunk:
    """Return the events of up to `limit` entries from `start` on, from one snapshot of the database."""
    with deployment.glancing(tenant) as scope:
        glance = glance_at_changes(scope, max(0, start - 1), start + limit)
    book = deployment.known_book(tenant)
    fresh = [change for change in glance.changes if change.index >= start]
    if fresh and (book.last_index != glance.notice_index or any(change.ref is None for change in fresh)):
        return _read_all_kinds(deployment, tenant, start, limit)
    return _Telling(start, glance.changes, book, deployment.clock()).chunk(glance.size)


def _read_all_kinds(deployment: Deployment, tenant: Tenant, start: int, limit: int) -> Chunk:
    """Return what `read_events` does where there are other entries than decisions, or a newer notice."""
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        book = deployment.book(scope, head)
        changes = read_changes(scope, max(0, start - 1), start + limit)
        nameless = any(change.ref is None for change in changes)
        erased = read_erased(scope, start, start + limit) if nameless else []
    telling = _Telling(start, changes, book, deployment.clock())
    for index, ref in erased:
        telling.erased(index, ref)
    publications = [p for p in book.publications if start <= p.index < start + len(telling.leaves)]
    for published in publications:
        earlier = [p for p in book.publications if p.index < published.index]
        telling.published(published, earlier)
    return telling.chunk(head.size, resets=bool(publications))


class _Telling:
    """Makes the events of the entries from `start` on, at one moment under one catalogue."""

    def __init__(self, start: int, changes: Sequence[StoredChange], book: NoticeBook, now: datetime) -> None:
        leaves = [leaf_hash(change.leaf) for change in changes]
        before = sum(change.index < start for change in changes)
        self.leaves = leaves[before:]
        self._before = leaves[0] if before else None
        self._start = start
        self._book = book
        self._now = now
        self._rows: list[list[Row]] = [[] for _ in self.leaves]
        self._notices: dict[int, bytes] = {}
        for change in changes[before:]:
            if change.ref is not None and change.state is not None:
                state = decode_decided_at(change.state, change.index)
                self._tell(change.index, change.ref, state, state.consents)

    def erased(self, index: int, ref: SubjectRef) -> None:
        catalogue = self._book.catalogue
        self._tell(index, ref, SubjectState(erased=True), [*catalogue.purposes, *sorted(catalogue.retired)])

    def published(self, published: PublishedNotice, earlier: Sequence[PublishedNotice]) -> None:
        leaf = self.leaves[published.index - self._start]
        self._notices[published.index] = encode_notice(published, earlier, leaf)

    def chunk(self, size: int, *, resets: bool = False) -> Chunk:
        events = [
            self._notices.get(index) or encode_change(index, rows, leaf)
            for index, (rows, leaf) in enumerate(zip(self._rows, self.leaves, strict=True), self._start)
        ]
        return Chunk(self._start, events, size, self.leaves, self._before, resets)

    def _tell(self, index: int, ref: SubjectRef, state: SubjectState, keys: Iterable[PurposeKey]) -> None:
        verdicts = {key: evaluate_key(key, self._book.catalogue, state, self._now) for key in keys}
        if verdicts:
            self._rows[index - self._start].append((ref, verdicts))


def encode_consents(verdicts: Mapping[PurposeKey, Verdict]) -> str:
    """Return the JSON of {purpose: [reason, valid_until in epoch seconds or 0]}; rounded down, never up."""
    # Purposes and reasons are plain ASCII words, so that nothing needs escaping.
    return "{" + ",".join([f'"{key}":["{v.reason.value}",{until(v)}]' for key, v in verdicts.items()]) + "}"


def until(verdict: Verdict) -> int:
    """Return until when the choice behind a verdict stands, in epoch seconds; 0 where there is none."""
    return 0 if verdict.valid_until is None else max(0, int(verdict.valid_until.timestamp()))


def encode_change(index: int, rows: Sequence[Row], leaf: bytes) -> bytes:
    """Return the events that this entry left these subjects so; without any, that it changed nobody."""
    bodies = [body for ref, verdicts in rows or [(NOBODY_REF, {})] for body in _bodies(ref, verdicts)]
    parts = [f"event: change\ndata: {{{body}}}\n\n" for body in bodies[:-1]]
    return "".join([*parts, _whole(index, bodies[-1], leaf)]).encode()


def leaf_name(leaf: bytes) -> str:
    """Return what tells an entry from one of another history: its leaf hash's first 48 bits in base64."""
    return b64encode(leaf[:_LEAF_BYTES]).decode("ascii")


def _whole(index: int, body: str, leaf: bytes) -> str:
    return f'id: {index}\nevent: change\ndata: {{{body},"leaf":"{leaf_name(leaf)}"}}\n\n'


_FRAME = len(_whole(10**12, "", bytes(32)))
_ROOM = LARGEST_CHANGE - _FRAME


def _bodies(ref: SubjectRef, verdicts: Mapping[PurposeKey, Verdict]) -> list[str]:
    """Return one body, or several where one would be too large; one with a single purpose never is."""
    body = f'"subject":"{ref}","consents":{encode_consents(verdicts)}'
    if len(body) > _ROOM:
        body = f'"subject":"{ref}","alike":{_encode_alike(verdicts)}'
    if len(body) <= _ROOM:
        return [body]
    by_state = sorted(verdicts, key=lambda key: (verdicts[key].reason, until(verdicts[key])))
    half = len(by_state) // 2
    return [
        part
        for keys in (by_state[:half], by_state[half:])
        for part in _bodies(ref, {key: verdicts[key] for key in keys})
    ]


def _encode_alike(verdicts: Mapping[PurposeKey, Verdict]) -> str:
    """Return the JSON of [[reason, valid_until, purpose, …], …]: what `encode_consents` says, in less."""
    alike: dict[tuple[str, int], list[PurposeKey]] = {}
    for key, verdict in verdicts.items():
        alike.setdefault((verdict.reason.value, until(verdict)), []).append(key)
    return json.dumps([[*state, *keys] for state, keys in alike.items()], separators=(",", ":"))


def leaf_in(events: bytes) -> str | None:
    """Return the name of the leaf of the entry that these are the events of."""
    found = _LEAF.search(events)
    return found[1].decode() if found else None


def subjects_in(events: bytes) -> list[SubjectRef]:
    """Return whom these events say something about."""
    return [SubjectRef(ref.decode()) for ref in _SUBJECT.findall(events)]


def encode_notice(published: PublishedNotice, earlier: Sequence[PublishedNotice], leaf: bytes) -> bytes:
    """Return the event of a publication after `earlier` ones, and before it a reset if verdicts change.

    Other words alone change none: the same purposes in the same versions.
    """
    versions = _versions(published)
    ever = {key for notice in earlier for key in _versions(notice)}
    body = json.dumps(
        {
            "notice": published.digest,
            "purposes": versions,
            "retired": sorted(ever - versions.keys()),
            "leaf": leaf_name(leaf),
        },
        separators=(",", ":"),
    )
    event = f"id: {published.index}\nevent: notice\ndata: {body}\n\n".encode()
    if earlier and _versions(earlier[-1]) == versions:
        return event
    return encode_reset(published.index - 1, "notice") + event


def encode_reset(index: int, why: str) -> bytes:
    """Return the event that everything known so far may be wrong; the stream goes on after entry `index`."""
    return f'event: reset\ndata: {{"index":{index},"why":"{why}"}}\n\n'.encode()


def encode_head(index: int, at: float, leaf: str | None) -> bytes:
    """Return the event that every change up to entry `index`, whose leaf is named, was sent before it.

    `at` is when this was known to be the ledger's end, in seconds after the answer began.
    """
    named = "" if leaf is None else f',"leaf":"{leaf}"'
    return f'event: head\ndata: {{"index":{index},"at":{at:.3f}{named}}}\n\n'.encode()


def _versions(published: PublishedNotice) -> dict[str, int]:
    return {str(key): purpose.version for key, purpose in published.notice.purposes.items()}
