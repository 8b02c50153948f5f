"""What the SDK does while the service is away and when it is back: recovery, reconnects, gates open late."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from consent_sdk import ConsentClient

from tests.benchmarks.measure import QUICK

_ROOT = Path(__file__).parents[2]
_OUTAGE_S = 8.0 if QUICK else 45.0
_REFUSED_S = 15.0
_CLIENTS = 10
_REPORT = re.compile(r"(\d+) cuts; recovery in ([\d.]+) s, in ([\d.]+) s at most")


def figures() -> dict[str, object]:
    """Return seconds until healthy again, connections of one client, and gates that were open late."""
    with ThreadPoolExecutor() as pool:  # All of them wait most of the time.
        recovering, cutting = pool.submit(_recoveries), pool.submit(_cuts)
        refused, closed = pool.map(_reconnects, ("503", "close"))
        recoveries = sorted(recovering.result())
    return {
        "outage_s": _OUTAGE_S,
        "recovery_s_median": round(recoveries[len(recoveries) // 2], 2),
        "recovery_s_worst": round(recoveries[-1], 2),
        "reconnects_in_15s_of_503": refused,
        "reconnects_in_15s_of_clean_close": closed,
        "cuts": cutting.result(),
    }


class _Stream(BaseHTTPRequestHandler):
    """Answers every request as its server's `mode` says: a stream of heads, a 503, a stream that ends."""

    server: "_Service"

    def do_GET(self) -> None:
        self.server.asked += 1
        mode = self.server.mode
        self.send_response(503 if mode == "503" else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with suppress(OSError):
            while mode == self.server.mode == "up":
                self.wfile.write(b'event: head\ndata: {"index":0}\n\n')
                time.sleep(0.2)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Service(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, mode: str = "up") -> None:
        self.mode = mode
        self.asked = 0
        super().__init__(("127.0.0.1", port), _Stream)
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def end(self) -> None:
        """Stop listening and end every stream."""
        self.mode = "gone"
        self.shutdown()
        self.server_close()


def _recoveries() -> list[float]:
    """Seconds from when the service listens again until each client is healthy."""
    service = _Service()
    port = service.server_port
    with ExitStack() as stack:
        clients = [stack.enter_context(_client(port)) for _ in range(_CLIENTS)]
        assert all(client.wait_until_ready(20) for client in clients)
        service.end()
        time.sleep(_OUTAGE_S)
        assert not any(client.healthy for client in clients)
        service = _Service(port)
        back, waiting, found = time.monotonic(), set(clients), []
        while waiting:
            for client in [client for client in waiting if client.healthy]:
                waiting.discard(client)
                found.append(time.monotonic() - back)
            time.sleep(0.01)
        service.end()
    return found


def _reconnects(mode: str) -> int:
    service = _Service(mode=mode)
    with _client(service.server_port):
        time.sleep(_REFUSED_S)
    service.end()
    return service.asked


def _cuts() -> dict[str, float]:
    """Run the two hundred random cuts of the tests, which fail where a gate is open late."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-s", "-n0", "-p", "no:cacheprovider"),
        *("sdk/python/tests/test_cuts.py", "-k", "200_random_cuts"),
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    report = _REPORT.search(done.stdout)
    if report is None:
        raise AssertionError(done.stdout)
    return {
        "cuts": float(report[1]),
        "late_yes": 0.0 if done.returncode == 0 else 1.0,
        "recovery_s_median": float(report[2]),
        "recovery_s_worst": float(report[3]),
    }


def _client(port: int) -> ConsentClient:
    return ConsentClient(f"http://127.0.0.1:{port}", api_key="ck_none")
