"""A crowd at the door: keep-alive connections, each with one decision under way, noting what was answered."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.builders import ChoiceName
from tests.followers.following import Place

CHOICES: tuple[ChoiceName, ...] = ("granted", "denied")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A decision that was answered with 201."""

    index: int
    subject: str
    choice: str


@dataclass(slots=True)
class Seen:
    """What a crowd saw.

    `unanswered` are requests that were sent and got no whole answer; `overtaken` says how many others at most
    were sent later and acknowledged sooner than one that was acknowledged, and `overtaken_one` which one.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    told_to_close: int = 0
    not_admitted: int = 0
    seconds: list[float] = field(default_factory=list)
    retry_after: set[str] = field(default_factory=set)
    overtaken: int = 0
    overtaken_one: str = ""

    @property
    def answered(self) -> int:
        """How many requests got a whole answer."""
        return len(self.acknowledged) + self.refused.total()


class Crowd:
    """Connections to one port, each deciding for a subject of its own, `coupons` granted and denied in turn.

    One that cannot connect any more goes home. `each` limits how many decisions a connection sends.
    """

    def __init__(
        self, place: Place, port: int, connections: int, *, name: str = "crowd", each: int | None = None
    ) -> None:
        self._place = place
        self._port = port
        self._connections = connections
        self._name = name
        self._each = each
        self._stop = threading.Event()
        self._sent = 0
        self._acknowledged: list[int] = []  # which request, in the order of the acknowledgements
        self._finished: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.seen = Seen()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self.join()

    def join(self) -> Seen:
        """Wait until everybody went home."""
        self._thread.join(300)
        assert not self._thread.is_alive(), f"{self._name} never ended: {self.seen}"
        self._finished.result(0)
        return self.seen

    def when(self, count: int) -> Callable[[], bool]:
        """The condition that so many decisions were acknowledged, or that everybody went home."""
        return lambda: len(self.seen.acknowledged) >= count or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._finished.set_exception(error)
        else:
            self._finished.set_result(None)

    async def _all(self) -> None:
        await asyncio.gather(*(self._one(number) for number in range(self._connections)))

    async def _one(self, number: int) -> None:
        subject, sent = f"{self._name}-{number}", 0
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stop.is_set() and (self._each is None or sent < self._each):
            try:
                stream = stream or await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.seen.not_admitted += 1
                return
            sent += 1
            if not await self._ask(*stream, subject, sent):
                stream[1].close()
                stream = None
        if stream is not None:
            stream[1].close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subject: str, sent: int
    ) -> bool:
        """Send one decision, the `sent`-th, note the answer; return whether the connection stays open."""
        choice = CHOICES[sent % 2]
        started, before = time.perf_counter(), len(self._acknowledged)
        self._sent += 1
        number = self._sent
        try:
            writer.write(self._request(subject, choice))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
        except (OSError, asyncio.IncompleteReadError):
            self.seen.unanswered += 1
            return False
        self.seen.seconds.append(time.perf_counter() - started)
        status = int(head[9:12])
        if status == 201:
            overtaken = sum(other > number for other in self._acknowledged[before:])
            self._acknowledged.append(number)
            if overtaken > self.seen.overtaken:
                self.seen.overtaken = overtaken
                waited = self.seen.seconds[-1]
                self.seen.overtaken_one = (
                    f"request {sent} of {subject}, after {before}, waited {waited:.3f} s"
                )
            self.seen.acknowledged.append(Acknowledged(json.loads(body)["index"], subject, choice))
        else:
            self.seen.refused[status] += 1
            self.seen.retry_after.add(headers.get("retry-after", ""))
        last = headers.get("connection") == "close"
        self.seen.told_to_close += last
        return not last

    def _request(self, subject: str, choice: str) -> bytes:
        body = json.dumps(self._place.decision({"coupons": choice})).encode()
        return (
            "POST /v1/decisions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._place.key}\r\nConsent-Subject: {subject}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
