"""A small consent service on a real socket: gate, stream, snapshot, and every way to break."""

import hmac
import json
import os
import socket
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from math import inf
from urllib.parse import unquote

from stand_in import an_answer, read_request

KEY = bytes(range(32))
RELAY_KEY = bytes(range(32, 64))
RELAY_LOG = "consent.test/shop"
VALIDITY = 15_552_000
HEARTBEAT = 0.1
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
)


def ref_of(subject: str) -> str:
    """The opaque ref of a subject, as the service makes it."""
    digest = hmac.digest(KEY, b"consent/v1/subject-ref\x00" + subject.encode(), "sha256")
    return "s_" + urlsafe_b64encode(digest[:18]).decode()


def wait_for(condition: Callable[[], object], *, seconds: float = 30.0) -> float:
    """Wait until the condition holds; return how long that took; fail when it takes too long."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.002)
    return time.monotonic() - began


def last_allowed(allows: Callable[[], object]) -> float:
    """Wait until it is denied; return a moment before the last time that it was allowed.

    However late a busy machine lets the test look, this says until when the gate was open.
    """
    allowed = [-inf]

    def denied() -> bool:
        asked = time.monotonic()
        if allows():
            allowed[0] = asked
            return False
        return True

    wait_for(denied)
    return allowed[0]


def in_a_child(act: Callable[[], bool]) -> bool:
    """Whether `act` is true in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class LiveService:
    """`trouble` is what it suffers from: None, or one of the names in `TROUBLES`."""

    def __init__(self, purposes: tuple[str, ...] = ("coupons", "support")) -> None:
        self.purposes = purposes
        self.entries: list[tuple[str, dict[str, list[object]]]] = []
        self.states: dict[str, dict[str, list[object]]] = {}
        self.trouble: str | None = None
        self.gate_delay = 0.0
        self.heartbeat = HEARTBEAT
        self.gate_answers = threading.Event()
        self.gate_answers.set()
        self.retry_after = ""
        self.asked: list[tuple[str, bytes]] = []
        self.changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    # What a test does

    def grant(self, subject: str, *purposes: str, until: int | None = None) -> None:
        """Record a grant of these purposes, of all unless given."""
        self._record(subject, "granted", purposes or self.purposes, until)

    def withdraw(self, subject: str, *purposes: str) -> None:
        """Record a withdrawal."""
        self._record(subject, "withdrawn", purposes or self.purposes, None)

    def leaf(self, index: int) -> str:
        """What tells an entry from one of another history with its index."""
        return sha256(json.dumps(self.entries[index]).encode()).hexdigest()[:8]

    def count(self, path: str) -> int:
        """How many requests there were for a path."""
        return sum(asked == path for asked, _ in self.asked)

    def suffer(self, trouble: str | None) -> None:
        """Begin to suffer from something, for connections there are as well; or recover."""
        with self.changed:
            self.trouble = trouble
            self.changed.notify_all()

    def restore(self, entries: int) -> None:
        """Go back to a backup with so many entries."""
        with self.changed:
            del self.entries[entries:]
            self.states = {}
            for subject, states in self.entries:
                self.states[subject] = {**self.states.get(subject, {}), **states}
        self.hang_up()

    def hang_up(self) -> None:
        """End every connection."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._stopped = True
        self.gate_answers.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.suffer("closed")
        self.hang_up()

    # How it answers

    def _record(self, subject: str, reason: str, purposes: tuple[str, ...], until: int | None) -> None:
        with self.changed:
            states = dict(self.states.get(subject, {}))
            for purpose in purposes:
                states[purpose] = [reason, until or int(time.time()) + VALIDITY]
            self.states[subject] = states
            self.entries.append((subject, {purpose: states[purpose] for purpose in purposes}))
            self.changed.notify_all()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := read_request(connection):
                path = request.split(b" ", 2)[1].decode()
                self.asked.append((path, request))
                if self.trouble == "refused":
                    connection.sendall(an_answer({}, status=503, headers=self.retry_after))
                elif self.trouble == "frozen":
                    self._wait_while("frozen")
                elif path == "/v1/stream":
                    self._stream(connection, request)
                    return
                else:
                    connection.sendall(self._answer(path, request))

    def _answer(self, path: str, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        with self.changed:
            size = len(self.entries)
            states = dict(self.states)
            leaf = self.leaf(size - 1) if size else None
        if path == "/v1/snapshot":
            lines: list[object] = [
                {
                    "head": size,
                    "leaf": leaf,
                    "purposes": dict.fromkeys(self.purposes, 1),
                    "ref_key": b64encode(KEY).decode(),
                }
            ]
            lines += [{"subject": ref_of(who), "consents": consents} for who, consents in states.items()]
            lines.append({"end": True, "count": len(states)})
            return an_answer("\n".join(map(json.dumps, lines)).encode() + b"\n", kind="application/x-ndjson")
        if path == "/v1/relay":
            return an_answer({"tenant": "shop", "log": RELAY_LOG, "key": b64encode(RELAY_KEY).decode()})
        if path != "/v1/gate":
            return an_answer({"type": "/problems/not-found"}, status=404)
        if self.gate_delay:
            time.sleep(self.gate_delay)
        self.gate_answers.wait()
        subject = unquote(_header(head, b"consent-subject"))
        verdicts = {
            purpose: self._verdict(states.get(subject, {}), purpose)
            for purpose in json.loads(body)["purposes"]
        }
        return an_answer({"subject": ref_of(subject), "verdicts": verdicts, "head": size})

    def _verdict(self, states: dict[str, list[object]], purpose: str) -> dict[str, object]:
        if purpose not in self.purposes:
            return {"allowed": False, "reason": "purpose_unknown"}
        reason, until = states.get(purpose, ["never_asked", 0])
        verdict: dict[str, object] = {"allowed": reason == "granted", "reason": reason, "index": 0}
        if until:
            verdict["valid_until"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(str(until))))
        return verdict

    def _stream(self, connection: socket.socket, request: bytes) -> None:
        if self.trouble == "lying":
            lie = b'event: head\ndata: {"index": %d}\n\n' % (len(self.entries) - 1)
            connection.sendall(an_answer(lie, status=503, kind="text/event-stream"))
            return
        if self.trouble == "lying page":
            lie = b'event: head\ndata: {"index": %d}\n\n' % (len(self.entries) - 1)
            connection.sendall(an_answer(lie, kind="text/html"))
            return
        if self.trouble == "revoked":
            connection.sendall(an_answer({"type": "/problems/unauthenticated"}, status=401))
            return
        connection.sendall(STREAM_HEAD)
        began = time.monotonic()
        cursor, greeting = self._resume(request.partition(b"\r\n\r\n")[0])
        connection.sendall(greeting)
        while not self._stopped and self.trouble in (None, "frozen", "garbage"):
            if self.trouble == "frozen":
                self._wait_while("frozen")
                continue
            if self.trouble == "garbage":
                connection.sendall(b"event: head\ndata: {not json\n\n")
                return
            news, cursor = self._news(cursor, time.monotonic() - began)
            connection.sendall(news)
            with self.changed:
                if len(self.entries) == cursor:
                    self.changed.wait(self.heartbeat)
        if self.trouble == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    def _resume(self, head: bytes) -> tuple[int, bytes]:
        """Where a stream begins, and what it is told before."""
        after, leaf = _header(head, b"last-event-id"), _header(head, b"consent-leaf")
        with self.changed:
            cursor, size = int(after) + 1 if after else len(self.entries), len(self.entries)
            if leaf and cursor <= size and leaf != self.leaf(cursor - 1):
                return size, b'event: reset\ndata: {"index":%d}\n\n' % (size - 1)
        return cursor, b""

    def _news(self, cursor: int, at: float) -> tuple[bytes, int]:
        """The changes since and a head, and where they end."""
        with self.changed:
            size = len(self.entries)
            beat = {"index": size - 1, "at": at, "leaf": self.leaf(size - 1) if size else None}
            told = [
                (index, {"subject": ref_of(subject), "consents": states, "leaf": self.leaf(index)})
                for index, (subject, states) in enumerate(self.entries[cursor:], cursor)
            ]
        events = [f"id: {index}\nevent: change\ndata: {json.dumps(body)}\n\n" for index, body in told]
        return "".join([*events, f"event: head\ndata: {json.dumps(beat)}\n\n"]).encode(), max(cursor, size)

    def _wait_while(self, trouble: str) -> None:
        with self.changed:
            while self.trouble == trouble and not self._stopped:
                self.changed.wait(1.0)


TROUBLES = ("refused", "frozen", "closed", "reset", "garbage", "lying", "lying page", "revoked")


@contextmanager
def a_live_service() -> Iterator[LiveService]:
    """A service, ended at the end."""
    service = LiveService()
    try:
        yield service
    finally:
        service.close()


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""
