"""What the benchmarks of other consent services share: our side, filled and asked as theirs is."""

import json
from collections.abc import Callable, Mapping, Sequence

import httpx2
from sqlalchemy import text

from consent_service.storage.engine import Database
from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import QUICK, median, ratio
from tests.benchmarks.services import Served, count_rows

GATE = '{"purposes": ["recommendations"]}'
_SECONDS = 0.3 if QUICK else 4.0
_CONNECTIONS = 64
_BATCH = 1000


def rate(port: int, path: str, body: str, **more: object) -> float:
    """Return the answers a second of one round; `more` are fields of `Load`."""
    load = {"connections": _CONNECTIONS, "seconds": _SECONDS, **more}
    return apply_load(Load(port=port, path=path, body=body, **load)).rate  # type: ignore[arg-type]  # of the caller


def rate_of_ours(
    ours: Served, port: int, path: str, body: str, *, prefix: str = "load-", subjects: int = 10**9
) -> Callable[[], float]:
    """Return what measures a round of ours; a prefix of one's own stands for new subjects in each."""
    rounds = iter(range(1000))

    def measure() -> float:
        fresh = f"{prefix}{next(rounds)}-" if prefix != "load-" else prefix
        return rate(port, path, body, headers=ours.headers, prefix=fresh, subjects=subjects)

    return measure


def fill_ours(ours: Served, size: int) -> None:
    """Record a decision for each of so many subjects; PostgreSQL then counts its rows, as on their side."""
    line = json.loads(ours.decision())
    with httpx2.Client(headers=ours.headers, timeout=60) as client:
        for start in range(0, size, _BATCH):
            lines = [json.dumps({**line, "subject": f"load-{start + n}"}) for n in range(_BATCH)]
            answer = client.post(f"http://127.0.0.1:{ours.port}/v1/decisions/batch", content="\n".join(lines))
            assert answer.text.count('"status":201') == _BATCH
    if (url := ours.environment.get("CONSENT_DATABASE_URL")) is not None:
        count_rows(url)


def settings_of_ours(ours: Served, url: str | None) -> dict[str, str]:
    """Return what our own connections are set to, from one of them."""
    database = Database(url or f"sqlite:///{ours.home / 'consent.db'}")
    names = ("journal_mode", "synchronous") if url is None else ("synchronous_commit", "fsync")
    ask = "PRAGMA" if url is None else "SHOW"
    try:
        with database.writing() as connection:
            return {name: str(connection.execute(text(f"{ask} {name}")).scalar_one()) for name in names}
    finally:
        database.close()


def compared(rates: Mapping[str, list[float]], peers: Sequence[str]) -> dict[str, object]:
    """Return the ratios of ours, with one worker and two, to each peer's, and the median rates."""
    ratios = {
        f"{act}s{workers}_to_{peer}": ratio(rates, f"{act}{workers}", f"{act}_{peer}")
        for act in ("write", "question")
        for workers in ("", "_two_workers")
        for peer in peers
    }
    return {**ratios, "rates_per_second": {name: median(values) for name, values in rates.items()}}
