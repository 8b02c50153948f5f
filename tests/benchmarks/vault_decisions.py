"""Decisions that grant four purposes, with their key grants and without, over HTTP."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import QUICK, SECONDS, interleaved, median, ratio
from tests.benchmarks.services import Served, Servers, a_cluster, set_up, wait_for
from tests.postgres import PostgresServer
from tests.servers import ServerProcess, unused_port

_CONNECTIONS = 64
_ROUNDS, _ROUND_S = (5, 0.45) if QUICK else (3, SECONDS)
_WARM_UP_S = 0.2
"""Quick rounds are more than elsewhere, and warm: three cold ones said 0.55 to 0.79 of one program."""
_PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance")
_ROOT = Path(__file__).parents[2]
_FACTORIES = {
    "with_keys": "consent_service.api.app:create_app",
    "without": "tests.benchmarks.vault_bare_app:create_app_without_keys",
}


def figures() -> dict[str, object]:
    """Return the rate with key grants against that without, on both databases."""
    measured: dict[str, object] = {}
    with Servers() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        folder.chmod(0o755)
        cluster = servers.start(a_cluster(folder))
        measured["sqlite"] = _on(folder / "sqlite", cluster, {})
        postgres = cluster.result()
        urls = {name: postgres.url(postgres.create_database()) for name in _FACTORIES}
        measured["postgresql"] = _on(folder / "postgresql", cluster, urls)
    return measured


def _on(folder: Path, beside: Future[PostgresServer], urls: dict[str, str]) -> dict[str, object]:
    """Return the ratios on one database, once what starts beside has started."""
    with Servers() as servers:
        starting = {
            name: servers.start(_served(folder / name, factory, urls.get(name)))
            for name, factory in _FACTORIES.items()
        }
        served = {name: service.result() for name, service in starting.items()}
        beside.result()
        new = _measured(served, 1_000_000_000)
        known = _measured(served, 500)
    return {
        "new_subjects_with_keys_to_without": ratio(new, "with_keys", "without"),
        "renewals_with_keys_to_without": ratio(known, "with_keys", "without"),
        "rates_per_second": {f"new_{name}": median(values) for name, values in new.items()}
        | {f"renewals_{name}": median(values) for name, values in known.items()},
    }


def _measured(served: dict[str, Served], subjects: int) -> dict[str, list[float]]:
    loads = {name: _load(service, subjects) for name, service in served.items()}
    for load in loads.values():
        load(_WARM_UP_S)
    return interleaved({name: partial(load, _ROUND_S) for name, load in loads.items()}, rounds=_ROUNDS)


@contextmanager
def _served(folder: Path, factory: str, database_url: str | None) -> Iterator[Served]:
    folder.mkdir(parents=True)
    environment = {"CONSENT_HOME": str(folder / "home"), "CONSENT_LOG_LEVEL": "warning"}
    if database_url is not None:
        environment["CONSENT_DATABASE_URL"] = database_url
    key, notice = set_up(folder / "home", database_url)
    port = unused_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", factory, "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    with ServerProcess(command, folder=_ROOT, log=folder / "log", environment=environment) as server:
        wait_for(server, port, "/ready")
        yield Served(port=port, key=key, notice=notice, home=folder / "home", environment=environment)


def _load(service: Served, subjects: int) -> Callable[[float], float]:
    choices = dict.fromkeys(_PURPOSES, "granted")
    rounds = iter(range(1_000))

    def measure(seconds: float) -> float:
        prefix = "known-" if subjects < 1_000_000 else f"new-{next(rounds)}-"  # nobody is new twice
        load = Load(
            port=service.port,
            path="/v1/decisions",
            body=service.decision(choices),
            connections=_CONNECTIONS,
            seconds=seconds,
            headers=service.headers,
            prefix=prefix,
            subjects=subjects,
        )
        done = apply_load(load)
        if done.errors:
            raise AssertionError(f"{done.errors} decisions were refused")
        return done.rate

    return measure
