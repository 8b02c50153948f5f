"""POST /v1/decisions and POST /v1/gate over HTTP, against bare endpoints that do less."""

import json
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2

from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import SECONDS, interleaved, median, ratio
from tests.benchmarks.services import Served, bare, served
from tests.postgres import PostgresServer

_CONNECTIONS = 64
_FEW = 16
_GATE = '{"purposes": ["recommendations"]}'


def figures() -> dict[str, object]:
    """Return the ratios of the HTTP paths on both databases."""
    measured: dict[str, object] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        folder.chmod(0o755)
        measured["sqlite"] = _on(folder / "sqlite")
        cluster = folder / "cluster"
        cluster.mkdir()
        postgres = PostgresServer(cluster)
        stack.callback(postgres.stop)
        urls = [postgres.url(postgres.create_database()) for _ in range(3)]
        measured["postgresql"] = _on(folder / "postgresql", *urls)
    return measured


def _on(
    folder: Path, url: str | None = None, bare_url: str | None = None, two_url: str | None = None
) -> dict[str, object]:
    with served(folder, url) as ours, bare(folder, bare_url) as port:
        rates = interleaved(
            {
                "decision": _load(ours, ours.port, "/v1/decisions", ours.decision()),
                "commit": _load(ours, port, "/bare/commit", ours.decision()),
                "noop": _load(ours, port, "/bare/noop", ours.decision()),
                "gate": _load(ours, ours.port, "/v1/gate", _GATE, subjects=1000),
                "decision_few": _load(ours, ours.port, "/v1/decisions", ours.decision(), connections=_FEW),
                "orm_few": _load(ours, port, "/bare/orm", ours.decision(), connections=_FEW),
            }
        )
        batch = interleaved({"batch": lambda: _batch_rate(ours)})["batch"]
    with served(folder / "two", two_url, workers=2) as two:
        rates["decision_two_workers"] = interleaved(
            {"two": _load(two, two.port, "/v1/decisions", two.decision())}
        )["two"]
    return {
        "decision_to_bare_group_commit": ratio(rates, "decision", "commit"),
        "decision_to_noop": ratio(rates, "decision", "noop"),
        "gate_to_noop": ratio(rates, "gate", "noop"),
        "decision_to_orm_commit_16_connections": ratio(rates, "decision_few", "orm_few"),
        "batch_of_500_to_single_per_decision": round(median(batch) / median(rates["decision"]), 2),
        "two_workers_to_one": ratio(rates, "decision_two_workers", "decision"),
        "rates_per_second": {"batch": median(batch)}
        | {name: median(values) for name, values in rates.items()},
    }


def _batch_rate(ours: Served) -> float:
    """Return the decisions a second of batches of 500, one after the other."""
    line = json.loads(ours.decision())
    sent = 0
    started = time.perf_counter()
    with httpx2.Client(headers=ours.headers, timeout=60) as client:
        while time.perf_counter() - started < SECONDS:
            lines = [json.dumps({**line, "subject": f"batch-{uuid.uuid4()}"}) for _ in range(500)]
            answer = client.post(f"http://127.0.0.1:{ours.port}/v1/decisions/batch", content="\n".join(lines))
            assert answer.text.count('"status":201') == 500
            sent += 500
    return sent / (time.perf_counter() - started)


def _load(
    ours: Served, port: int, path: str, body: str, *, connections: int = _CONNECTIONS, subjects: int = 10**9
) -> Callable[[], float]:
    load = Load(
        port=port,
        path=path,
        body=body,
        connections=connections,
        seconds=SECONDS,
        headers=ours.headers,
        subjects=subjects,
    )
    return lambda: apply_load(load).rate
