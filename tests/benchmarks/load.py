"""A load generator in a process of its own: N connections, each with one request under way."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from typing import cast

import uvloop


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send: the body stays the same, `Consent-Subject` is `prefix` and a number below `subjects`.

    For servers that want the subject elsewhere, `NUMBER` in path and body stands for that number. With
    `lines`, a request is that many lines of the body (NDJSON), each with the next subject in it; the rate
    then counts lines, and every one must be answered with 201.
    """

    port: int
    path: str
    body: str
    connections: int
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = "load-"
    subjects: int = 1_000_000_000
    method: str = "POST"
    lines: int = 0


NUMBER = "aaaaaaaaaaaa"
"""A number of as many digits, with a for 0: it is found again in identifiers of base 58."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Answers (or lines of them) in all and per second, answers that were not 2xx, and latencies."""

    answered: int
    rate: float
    errors: int
    p50_ms: float
    p99_ms: float


def numbered(number: int) -> str:
    """Return a number in the place of `NUMBER`."""
    return f"{number:0{len(NUMBER)}d}".replace("0", "a")


class _Connection(asyncio.Protocol):
    def __init__(self, sender: "_Sender") -> None:
        self._sender = sender
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if self._sender.over():
            self._transport.close()
            self._sender.closed()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._sender.next_request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        start = head.lower().find(b"content-length: ")
        length = int(head[start + 16 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        ok = head[9:10] == b"2" and rest.count(b'"status":201') >= self._sender.lines
        self._sender.answered(ok=ok, seconds=time.perf_counter() - self._sent_at)
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._sender.answered(ok=False, seconds=0.0)
            self._sender.closed()


class _Sender:
    def __init__(self, load: Load) -> None:
        lines = [f"{load.method} {load.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in load.headers.items()]
        body = load.body.encode()
        if load.lines:
            self._start = "\r\n".join(lines).encode() + b"\r\nContent-Length: "
            self._head, self._tail = body[:-1] + b',"subject":"' + load.prefix.encode(), b'"}\n'
        else:
            lines.append(f"Content-Length: {len(body)}")
            self._start = b""
            self._head = ("\r\n".join(lines) + "\r\nConsent-Subject: " + load.prefix).encode()
            self._tail = b"\r\n\r\n" + body
        self._numbered = NUMBER in load.path + load.body
        self.lines = load.lines
        self._load = load
        self._number = 0
        self._open = load.connections
        self._deadline = time.perf_counter() + load.seconds
        self._latencies: list[float] = []
        self._errors = 0
        self._started = time.perf_counter()
        self._last = self._started
        self.finished = asyncio.Event()

    def next_request(self) -> bytes:
        first, self._number = self._number + 1, self._number + max(1, self.lines)
        if not self.lines:
            number = first % self._load.subjects
            request = self._head + str(number).encode() + self._tail
            return request.replace(NUMBER.encode(), numbered(number).encode()) if self._numbered else request
        numbers = range(first, self._number + 1)
        body = b"".join([b"%b%d%b" % (self._head, number, self._tail) for number in numbers])
        return b"%b%d\r\n\r\n%b" % (self._start, len(body), body)

    def over(self) -> bool:
        return time.perf_counter() >= self._deadline

    def answered(self, *, ok: bool, seconds: float) -> None:
        self._latencies.append(seconds)
        self._errors += not ok
        self._last = time.perf_counter()

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.finished.set()

    def measured(self) -> Measured:
        ordered = sorted(self._latencies)
        answered = len(ordered) * max(1, self.lines)
        return Measured(
            answered=answered,
            rate=answered / (self._last - self._started),
            errors=self._errors,
            p50_ms=1000 * ordered[len(ordered) // 2],
            p99_ms=1000 * ordered[len(ordered) * 99 // 100],
        )


async def _run(load: Load) -> Measured:
    sender = _Sender(load)
    loop = asyncio.get_running_loop()
    for _ in range(load.connections):
        await loop.create_connection(lambda: _Connection(sender), "127.0.0.1", load.port)
    await sender.finished.wait()
    return sender.measured()


def apply_load(load: Load) -> Measured:
    """Run the load in the generator's process and return what it measured; every answer must be 2xx."""
    measured = _generator().submit(_measured, load).result(load.seconds + 60)
    if measured.errors:
        raise AssertionError(f"{measured.errors} answers of {load.path} were not 2xx")
    return measured


@cache
def _generator() -> ProcessPoolExecutor:
    """Return the process that makes the load: one for all rounds, since its start takes longer than some."""
    return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))


def _measured(load: Load) -> Measured:
    return uvloop.run(_run(load))
