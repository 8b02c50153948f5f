"""What `consent serve` takes on a large ledger: seconds until it may be used, and memory, idle and busy.

On SQLite; the ledger is that of `ledger_scale`. Memory is the resident set of the one process that serves.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.benchmarks.ledger_scale import LARGE, large_ledger
from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import QUICK, ROUNDS
from tests.benchmarks.services import Served, ready_to_decide
from tests.servers import PLAIN, ServerProcess, unused_port

_CONSENT = str(Path(sys.executable).parent / "consent")
_DECISIONS = 10_000 if QUICK else 100_000
_LINES = 500
_LOOK_EVERY_S = 0.005


def figures() -> dict[str, object]:
    """Return seconds of a start, and MiB of memory."""
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as name, large_ledger(Path(name)) as shop:
        home = shop.service.settings.home
        environment = {**os.environ, "CONSENT_HOME": str(home), "CONSENT_LOG_LEVEL": "warning"}
        key, notice = ready_to_decide(shop.service)
        starts = []
        for _ in range(ROUNDS - 1):
            with _serving(environment, Path(name)) as (_, seconds):
                starts.append(seconds)
        with _serving(environment, Path(name)) as (server, seconds):
            starts.append(seconds)
            ours = Served(port=server.port, key=key, notice=notice, home=home, environment=environment)
            idle = server.resident_mib()
            decided = _decide(ours)
            busy = server.resident_mib()
    return {
        "entries": LARGE,
        "start_seconds": round(statistics.median(starts), 2),
        "interpreter_seconds": round(statistics.median(_bare_start() for _ in range(ROUNDS)), 2),
        "idle_rss_mib": idle,
        "decisions": decided,
        "rss_grown_mib": round(busy - idle, 1),
    }


class _Server:
    def __init__(self, process: ServerProcess, port: int) -> None:
        self._status = Path(f"/proc/{process.pid}/status")
        self.port = port

    def resident_mib(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", self._status.read_text())
        assert found is not None
        return round(int(found[1]) / 1024, 1)


@contextmanager
def _serving(environment: dict[str, str], folder: Path) -> Iterator[tuple[_Server, float]]:
    """Serve; yield the server and the seconds from its start to its first readiness."""
    port = unused_port()
    started = time.perf_counter()
    command = [_CONSENT, "serve", "--port", str(port)]
    with ServerProcess(command, folder=folder, log=folder / "log", environment=environment) as process:
        while not _ready(port):
            time.sleep(_LOOK_EVERY_S)
        yield _Server(process, port), time.perf_counter() - started


def _ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/ready", verify=PLAIN).status_code == 200
    except httpx2.TransportError:
        return False


def _bare_start() -> float:
    """Return the seconds of starting an interpreter that imports the web framework, and nothing of ours."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import fastapi, sqlmodel, uvicorn"], check=True)
    return time.perf_counter() - started


def _decide(ours: Served) -> int:
    """Record decisions of new subjects in batches, and return how many."""
    decided = 0
    while decided < _DECISIONS:
        load = Load(
            port=ours.port,
            path="/v1/decisions/batch",
            body=ours.decision(),
            connections=2,
            seconds=2,
            headers=ours.headers,
            prefix=f"busy-{time.time_ns()}-",
            lines=_LINES,
        )
        decided += apply_load(load).answered
    return decided
