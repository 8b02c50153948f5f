"""Another consent service beside ours: record one decision of four purposes, ask one question, over HTTP.

@c15t/backend, as it ships and mended: with write-ahead logging and the two indexes that it lacks. Both sides
have as many subjects at the start, get the same load from the same generator in turn, and wait for the disk
as their settings say, which are among the figures. Its SQLite is libsql, whose driver npm has ready-made.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
from sqlalchemy.engine import make_url

from tests.benchmarks.beside import GATE, compared, fill_ours, rate, rate_of_ours, settings_of_ours
from tests.benchmarks.load import NUMBER
from tests.benchmarks.measure import QUICK, interleaved
from tests.benchmarks.services import Servers, a_cluster, served, serving, wait_for
from tests.postgres import PostgresServer
from tests.servers import ServerProcess, unused_port

SIZES = (10_000,) if QUICK else (10_000, 100_000)
_ROOT = Path(__file__).parents[2]
_SOURCES = Path(__file__).with_name("consent_peers")
_INSTALLED = _ROOT / "build" / "consent_peers"
_FIRST = {
    "type": "cookie_banner",
    "subjectId": "sub_first",
    "domain": "shop.example",
    "preferences": {"necessary": True, "functionality": True, "measurement": False, "marketing": False},
    "givenAt": 1_790_000_000_000,
    "metadata": {},
}
_FILL = (  # rows as its own first answer left them
    """INSERT INTO subject SELECT {subject} FROM subject, ({numbers}) AS numbers WHERE id = 'sub_first'""",
    """INSERT INTO consent SELECT {consent} FROM consent, ({numbers}) AS numbers
    WHERE "subjectId" = 'sub_first'""",
)


def figures() -> dict[str, object]:
    """Return the ratios of our rates to theirs on both databases at each size."""
    _install()
    measured: dict[str, object] = {}
    with Servers() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        folder.chmod(0o755)
        cluster = servers.start(a_cluster(folder))
        for size in SIZES:
            measured[f"sqlite_{size}"] = _beside(folder / f"sqlite-{size}", size, cluster)
            measured[f"postgresql_{size}"] = _beside(
                folder / f"postgresql-{size}", size, cluster, cluster.result()
            )
    return measured


def _install() -> None:
    """Install the peer in the versions of its lock file, once."""
    if (_INSTALLED / "package-lock.json").exists() and (_INSTALLED / "node_modules" / "kysely").exists():
        return
    npm = shutil.which("npm") or sys.exit("This benchmark needs npm: run it with `make bench`.")
    shutil.copytree(_SOURCES, _INSTALLED, dirs_exist_ok=True)
    command = [npm, "ci", "--prefix", str(_INSTALLED), "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peer:
    """The other service, running: its port, its database and its settings."""

    port: int
    location: tuple[str, str, str]
    settings: dict[str, str]


def _node() -> str:
    """Return the program itself: what a wheel puts on the path starts it, and does not take it along."""
    found = shutil.which("node") or sys.exit("This benchmark needs node: run it with `make bench`.")
    said = subprocess.run([found, "-p", "process.execPath"], check=True, capture_output=True, text=True)
    return said.stdout.strip()


@contextmanager
def _peer(folder: Path, url: str | None, *, mended: bool) -> Iterator[_Peer]:
    folder.mkdir(parents=True)
    location = ("sqlite", str(folder / "peer.db"), "-")
    if url is not None:
        database = make_url(url)
        location = ("postgresql", str(database.query["host"]), str(database.database))
    port = unused_port()
    shutil.copy(_SOURCES / "server.mjs", _INSTALLED)
    command = [_node(), str(_INSTALLED / "server.mjs"), str(port), *location, *(["mended"] if mended else [])]
    environment = {"NODE_ENV": "production"}
    log = folder / "peer.log"
    with ServerProcess(command, folder=_INSTALLED, log=log, environment=environment) as server:
        wait_for(server, port, "/status")
        yield _Peer(port=port, location=location, settings=json.loads(server.output().splitlines()[0]))


@contextmanager
def _filled_peer(folder: Path, url: str | None, size: int, *, mended: bool) -> Iterator[_Peer]:
    with _peer(folder, url, mended=mended) as peer:
        _fill_peer(peer, size)
        yield peer


def _fill_peer(peer: _Peer, size: int) -> None:
    """Give it as many subjects with a decision, as if each had sent one."""
    httpx2.post(f"http://127.0.0.1:{peer.port}/subjects", json=_FIRST, timeout=30).raise_for_status()
    kind, place, database = peer.location
    if kind == "sqlite":
        numbers = (
            f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {size - 1}) "
            f"SELECT replace(printf('%0{len(NUMBER)}d', i), '0', 'a') AS digits FROM n"
        )
        with closing(sqlite3.connect(place, timeout=60)) as session, session:
            columns = {
                table: [str(row[1]) for row in session.execute(f"PRAGMA table_info({table})")]
                for table in ("subject", "consent")
            }
            for statement in _filling(columns, numbers):
                session.execute(statement)
        return
    numbers = (
        f"SELECT replace(lpad(i::text, {len(NUMBER)}, '0'), '0', 'a') AS digits "
        f"FROM generate_series(0, {size - 1}) AS i"
    )
    with psycopg.connect(host=place, user="postgres", dbname=database, autocommit=True) as connection:
        columns = {}
        for table in ("subject", "consent"):
            described = connection.execute(f"TABLE {table} LIMIT 0".encode()).description or ()
            columns[table] = [column.name for column in described]
        for statement in _filling(columns, numbers):
            connection.execute(statement.encode())
        connection.execute("ANALYZE")


def _filling(columns: dict[str, list[str]], numbers: str) -> list[str]:
    fresh = {
        "subject": {"id": "'sub_' || digits", "externalId": "NULL"},
        "consent": {"id": "'cns_' || digits", "subjectId": "'sub_' || digits"},
    }
    values = {
        table: ", ".join(fresh[table].get(name, f'{table}."{name}"') for name in names)
        for table, names in columns.items()
    }
    return [statement.format(numbers=numbers, **values) for statement in _FILL]


def _beside(
    folder: Path, size: int, beside: Future[PostgresServer], postgres: PostgresServer | None = None
) -> dict[str, object]:
    """Return the figures of one database at one size, once what starts beside has started."""
    names = ("ours", "shipped", "mended")
    urls = {name: None if postgres is None else postgres.url(postgres.create_database()) for name in names}
    url = urls["ours"]
    with Servers() as servers:
        peers = [
            servers.start(_filled_peer(folder / name, urls[name], size, mended=name == "mended"))
            for name in names[1:]
        ]
        ours = servers.enter_context(served(folder / "ours", url))
        again = servers.start(serving(folder, ours, unused_port(), workers=2))
        fill_ours(ours, size)
        two, shipped, mended = again.result(), peers[0].result(), peers[1].result()
        beside.result()
        rates = interleaved(
            {
                "write": rate_of_ours(ours, ours.port, "/v1/decisions", ours.decision(), prefix="new-"),
                "write_two_workers": rate_of_ours(ours, two, "/v1/decisions", ours.decision(), prefix="two-"),
                "write_shipped": _theirs(shipped),
                "write_mended": _theirs(mended),
                "question": rate_of_ours(ours, ours.port, "/v1/gate", GATE, subjects=size),
                "question_two_workers": rate_of_ours(ours, two, "/v1/gate", GATE, subjects=size),
                "question_shipped": _theirs(shipped, asking=size),
                "question_mended": _theirs(mended, asking=size),
            }
        )
        settings = {
            "ours": settings_of_ours(ours, url),
            "shipped": shipped.settings,
            "mended": mended.settings,
        }
    return {**compared(rates, ("shipped", "mended")), "durability": settings}


def _theirs(peer: _Peer, *, asking: int = 0) -> Callable[[], float]:
    """Measure writes of new subjects, or questions about `asking` known ones."""
    rounds = iter("bcdefgh")
    if asking:
        path = f"/subjects/sub_{NUMBER}?type=cookie_banner"
        return lambda: rate(peer.port, path, "", method="GET", subjects=asking)
    return lambda: rate(
        peer.port, "/subjects", json.dumps({**_FIRST, "subjectId": f"sub_{next(rounds)}{NUMBER}"})
    )
