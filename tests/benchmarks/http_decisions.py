"""POST /v1/decisions and POST /v1/gate over HTTP, against bare endpoints that do less."""

import itertools
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import SECONDS, interleaved, median, ratio
from tests.benchmarks.services import Served, Servers, a_cluster, bare, count_rows, served
from tests.postgres import PostgresServer

_CONNECTIONS = 64
_FEW = 16
_BATCH = "/v1/decisions/batch"
_BATCHES = 4
"""Connections that send batches: while one is committed the next is read."""
_IMPORTER = 1
"""One import job, which waits for each answer: it may send decisions alone or 500 at a time."""
_WARMED = {"decision", "commit", "orm_few"}
_GATE = '{"purposes": ["recommendations"]}'


def figures() -> dict[str, object]:
    """Return the ratios of the HTTP paths on both databases."""
    measured: dict[str, object] = {}
    with Servers() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        folder.chmod(0o755)
        cluster = servers.start(a_cluster(folder))
        measured["sqlite"] = _on(folder / "sqlite", cluster)
        postgres = cluster.result()
        urls = [postgres.url(postgres.create_database()) for _ in range(3)]
        measured["postgresql"] = _on(folder / "postgresql", cluster, *urls)
    return measured


def _on(
    folder: Path, beside: Future[PostgresServer], url: str | None = None, *others: str
) -> dict[str, object]:
    """Return the ratios on one database, once what starts beside has started."""
    bare_url, two_url = others or (None, None)
    with Servers() as servers:
        starting = servers.start(served(folder, url)), servers.start(bare(folder, bare_url))
        ours, port = starting[0].result(), starting[1].result()
        beside.result()
        loads = {
            "decision": _load(ours, ours.port, "/v1/decisions", ours.decision()),
            "commit": _load(ours, port, "/bare/commit", ours.decision()),
            "noop": _load(ours, port, "/bare/noop", ours.decision()),
            "gate": _load(ours, ours.port, "/v1/gate", _GATE, subjects=1000),
            "decision_few": _load(ours, ours.port, "/v1/decisions", ours.decision(), connections=_FEW),
            "orm_few": _load(ours, port, "/bare/orm", ours.decision(), connections=_FEW),
            "batch": _load(ours, ours.port, _BATCH, ours.decision(), connections=_BATCHES, lines=500),
            "importer_single": _load(
                ours, ours.port, "/v1/decisions", ours.decision(), connections=_IMPORTER
            ),
            "importer_batch": _load(
                ours, ours.port, _BATCH, ours.decision(), connections=_IMPORTER, lines=500
            ),
        }
        _warm_up(loads, *filter(None, (url, bare_url)))
        rates = interleaved(loads)
    with served(folder / "two", two_url, workers=2) as two:
        loads = {"decision": _load(two, two.port, "/v1/decisions", two.decision())}
        _warm_up(loads, *filter(None, (two_url,)))
        rates["decision_two_workers"] = interleaved(loads)["decision"]
    return {
        "decision_to_bare_group_commit": ratio(rates, "decision", "commit"),
        "decision_to_noop": ratio(rates, "decision", "noop"),
        "gate_to_noop": ratio(rates, "gate", "noop"),
        "decision_to_orm_commit_16_connections": ratio(rates, "decision_few", "orm_few"),
        "batch_of_500_to_single_per_decision": ratio(rates, "batch", "decision"),
        "import_job": {"batch_of_500_to_single": ratio(rates, "importer_batch", "importer_single")},
        "two_workers_to_one": ratio(rates, "decision_two_workers", "decision"),
        "rates_per_second": {name: median(values) for name, values in rates.items()},
    }


def _warm_up(loads: Mapping[str, Callable[[], float]], *urls: str) -> None:
    """Make rows and connections, so that a short round measures what a long one does."""
    for name in _WARMED & loads.keys():
        loads[name]()
    for url in urls:
        count_rows(url)


def _load(ours: Served, port: int, path: str, body: str, **shape: int) -> Callable[[], float]:
    rounds = itertools.count()
    connections = shape.get("connections", _CONNECTIONS)

    def measure() -> float:
        load = Load(
            port=port,
            path=path,
            body=body,
            connections=connections,
            seconds=SECONDS,
            headers=ours.headers,
            # Nobody is new twice; the gate is asked about those who decided first.
            prefix=f"/v1/decisions-{_CONNECTIONS}-0-"
            if "subjects" in shape
            else f"{path}-{connections}-{next(rounds)}-",
            subjects=shape.get("subjects", 10**9),
            lines=shape.get("lines", 0),
        )
        return apply_load(load).rate

    return measure
