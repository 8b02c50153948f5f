"""From an acknowledged withdrawal to its event at every follower, over two service processes on one database.

Times are of one clock: the load and the followers run in this process, on one event loop.
"""

import asyncio
import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from consent_service.domain.gate import Reason, Verdict
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.followers.changes import encode_change
from tests.benchmarks.measure import QUICK
from tests.benchmarks.services import Served, Servers, a_cluster, prepared, serving
from tests.postgres import PostgresServer
from tests.servers import unused_port

_FEW, _MANY = 100, 1000
_WITHDRAWALS = 40 if QUICK else 300
_WITHDRAWALS_TO_MANY = 10 if QUICK else 30
_EVERY_S = 0.02
_PATIENCE_S = 30.0


@dataclass(slots=True)
class _Seen:
    """When each follower read which entry."""

    followers: int
    arrived: dict[int, list[float]] = field(default_factory=dict)
    all_here: dict[int, asyncio.Event] = field(default_factory=dict)

    def note(self, index: int, at: float) -> None:
        times = self.arrived.setdefault(index, [])
        times.append(at)
        if len(times) == self.followers:
            self.all_here.setdefault(index, asyncio.Event()).set()

    async def everybody(self, index: int) -> list[float]:
        async with asyncio.timeout(_PATIENCE_S):
            await self.all_here.setdefault(index, asyncio.Event()).wait()
        return self.arrived[index]


def figures() -> dict[str, object]:
    """Return milliseconds from the acknowledgement to the event, and bytes of one withdrawal."""
    measured: dict[str, object] = {"withdrawal_bytes": _withdrawal_bytes()}
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with Servers() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        folder.chmod(0o755)
        cluster = servers.start(a_cluster(folder))
        measured["sqlite"] = _on(folder / "sqlite", cluster)
        postgres = cluster.result()
        measured["postgresql"] = _on(folder / "postgresql", cluster, postgres.url(postgres.create_database()))
    return measured


def _on(folder: Path, beside: Future[PostgresServer], url: str | None = None) -> dict[str, float]:
    """Return the milliseconds on one database, once what starts beside has started."""
    first, second = prepared(folder, url), unused_port()
    with Servers() as servers:
        for starting in [servers.start(serving(folder, first, port)) for port in (first.port, second)]:
            starting.result()
        beside.result()
        few = asyncio.run(_measure(first, (first.port, second), _FEW, _WITHDRAWALS))
        many = asyncio.run(_measure(first, (first.port, second), _MANY, _WITHDRAWALS_TO_MANY))
    every = sorted(ms for times in few for ms in times)
    last = [max(times) for times in many]
    return {
        "p50_ms_of_100": round(statistics.median(every), 2),
        "p99_ms_of_100": round(every[len(every) * 99 // 100], 2),
        "last_of_1000_ms_median": round(statistics.median(last), 1),
        "last_of_1000_ms_worst": round(max(last), 1),
    }


async def _measure(ours: Served, ports: tuple[int, int], followers: int, rounds: int) -> list[list[float]]:
    seen = _Seen(followers)
    following = [asyncio.ensure_future(_follow(ours, ports[number % 2], seen)) for number in range(followers)]
    measured = []
    async with httpx2.AsyncClient(headers=ours.headers, timeout=20) as client:
        await seen.everybody(-1)
        for number in range(rounds):
            subject = f"{followers}-{number}"
            await _decide(client, ours, ports[number % 2], subject, "granted")
            index = await _decide(client, ours, ports[number % 2], subject, "denied")
            acknowledged = time.perf_counter()
            times = await seen.everybody(index)
            measured.append([max(0.0, at - acknowledged) * 1000 for at in times])
            await asyncio.sleep(_EVERY_S)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return measured


async def _decide(client: httpx2.AsyncClient, ours: Served, port: int, subject: str, choice: str) -> int:
    body = {**json.loads(ours.decision()), "choices": {"recommendations": choice}}
    headers = {"Consent-Subject": subject}
    answer = await client.post(f"http://127.0.0.1:{port}/v1/decisions", json=body, headers=headers)
    index: int = answer.raise_for_status().json()["index"]
    return index


async def _follow(ours: Served, port: int, seen: _Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = ours.headers["Authorization"]
    writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: {key}\r\n\r\n".encode())
    await reader.readuntil(b"event: head")
    seen.note(-1, time.perf_counter())
    try:
        while data := await reader.read(65_536):
            at = time.perf_counter()
            for line in data.split(b"\n"):
                if line.startswith(b"id: "):
                    seen.note(int(line[4:]), at)
    finally:
        writer.close()


def _withdrawal_bytes() -> int:
    """Return what one withdrawal takes on the wire, HTTP's chunk around it included."""
    verdict = Verdict(allowed=False, reason=Reason.WITHDRAWN)
    row = (SubjectRef("s_" + "A" * 24), {PurposeKey("recommendations"): verdict})
    event = encode_change(1_000_000, [row], bytes(32))
    return len(event) + len("1795000000") - 1 + len(f"{len(event):x}\r\n\r\n")
