"""A real server at log level debug, canaries in everything a caller controls: none shows anywhere.

Not in its log, its metrics, its command line or title, its errors, nor in clear in its database. Every route
of the OpenAPI document is asked with canaries wherever it takes something.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from consent_service.operations.manage_tenants import Role, create_api_key
from tests.installation import Installation, Tampering, a_secret
from tests.postgres import PostgresServer
from tests.servers import PLAIN, ConsentServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running `consent serve`, a backend's credential, and the way behind the server's back."""

    process: ConsentServer
    backend: str
    notice: str
    tampering: Tampering


@dataclass(slots=True)
class Canaries:
    """Hands out values to look for."""

    given: list[str]

    def new(self) -> str:
        """Return one more."""
        self.given.append(a_secret())
        return self.given[-1]


def a_body(server: Server) -> dict[str, object]:
    return {
        "notice": server.notice,
        "choices": {"coupons": "granted"},
        "method": "save",
        "source": "banner",
        "language": "en",
    }


class Requests:
    """Requests as a backend, each with fresh canaries in every header."""

    def __init__(self, server: Server, canaries: Canaries) -> None:
        self.server = server
        self.new = canaries.new

    def __call__(
        self, method: str, path: str, *, subject: str | None = None, **more: object
    ) -> httpx2.Request:
        new = self.new
        headers = {
            "Authorization": f"Bearer {self.server.backend}",
            "Consent-Subject": subject or new(),
            "Idempotency-Key": new(),
            "User-Agent": new(),
            "Referer": f"https://{new()}.example",
            "X-Request-Id": new(),
            "Cookie": f"consent-session={new()}",
            **more.pop("headers", {}),  # type: ignore[dict-item]  # of the caller
        }
        return httpx2.Request(method, f"{self.server.process.url}{path}", headers=headers, **more)  # type: ignore[arg-type]  # of the caller


def requests(server: Server, canaries: Canaries) -> Iterator[httpx2.Request]:
    """Yield requests of every kind, good and bad."""
    request, new = Requests(server, canaries), canaries.new
    body = a_body(server)
    subject = new()
    yield request("POST", "/v1/decisions", subject=subject, json=body)
    yield request("POST", "/v1/gate", subject=subject, json={"purposes": ["coupons", new()]})
    for path in ("/v1/consents", "/v1/decisions", "/v1/receipts/1", "/v1/personal-data", "/v1/uses"):
        yield request("GET", path, subject=subject)
    for spoilt in (
        {"choices": {new(): "granted"}},
        {"choices": {"coupons": new()}},
        {"notice": new()},
        {"method": new().upper()},
        {"source": new() + "!"},
        {"language": new()},
        {"decided_at": new()},
        {"evidence": new()},
        {new(): 1},
    ):
        yield request("POST", "/v1/decisions", json={**body, **spoilt})
    yield request("POST", "/v1/decisions", content=new().encode())
    yield request("POST", "/v1/decisions", subject=f"%{new()}", json=body)
    yield request("POST", "/v1/decisions", json=body, headers={"Authorization": f"Bearer {new()}"})
    yield request("POST", "/v1/gate", json={"purposes": []}, headers={"Authorization": f"Bearer ck_{new()}"})
    yield request("POST", "/v1/gate", json={}, headers={"Origin": f"https://{new()}.example"})
    yield request("POST", "/v1/subject/token", subject=subject)
    yield request("POST", "/v1/subject/link", json={"anonymous": new()})
    yield request("POST", "/v1/subject/link", content=new().encode())
    lines = [{**body, "subject": new(), "idempotency_key": new()}, {"subject": new()}]
    yield request("POST", "/v1/decisions/batch", content="\n".join(map(json.dumps, lines)) + new())
    yield request("PUT", "/v1/notice", content=new(), headers={"Content-Type": "application/yaml"})
    for path in ("/", "/v1/subjects/", "/v1/notices/", "/v1/ledger/tile/", "/v1/receipts/", "/static/"):
        yield request("GET", path + new())
    for path in ("/v1/consents?subject=", "/v1/consents?as_of=", "/v1/notice?language=", "/v1/banner?key="):
        yield request("GET", path + new())
    yield request("GET", "/v1/ledger/proof/inclusion?index=" + new())
    yield request(new().upper(), "/v1/gate")
    yield request("DELETE", "/v1/gate?subject=" + new())
    yield from later_requests(server, request, subject)


def later_requests(server: Server, request: Requests, subject: str) -> Iterator[httpx2.Request]:
    """Yield what goes on with the subject, then every operation, then her erasure."""
    new = request.new
    purchases = {"purchases": {new(): new()}}
    yield request("PATCH", "/v1/profile", subject=subject, json=purchases)
    yield request("GET", "/v1/profile?purpose=coupons&feature=" + new(), subject=subject)
    yield request(
        "POST", "/v1/uses", subject=subject, json={"uses": [{"purpose": "coupons", "feature": new()}]}
    )
    for method, path, parameters in every_operation(server):
        filled = re.sub(r"\{\w+\}", lambda _: new(), path)
        query = "&".join(f"{name}={new()}" for name in parameters)
        yield request(method, f"{filled}?{query}", json={new(): new()})
    yield request("DELETE", "/v1/subject", subject=subject)


def every_operation(server: Server) -> Iterator[tuple[str, str, list[str]]]:
    """Yield method, path and query parameters of what the document describes and what ends by itself."""
    paths = httpx2.get(f"{server.process.url}/openapi.json", verify=PLAIN).json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            if "text/event-stream" not in operation["responses"].get("200", {}).get("content", {}):
                named = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
                yield method.upper(), path, named


def send_raw(server: Server, text: str) -> None:
    with socket.create_connection(("127.0.0.1", server.process.port), timeout=10) as connection:
        connection.sendall(text.encode())
        connection.settimeout(10)
        while connection.recv(65_536):
            pass


def break_the_database(server: Server, canary: str) -> None:
    """Make every decision fail inside the database, with an error that quotes what it was given."""
    if server.tampering.dialect == "sqlite":
        server.tampering.run(
            f"CREATE TRIGGER quote BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'quoted: {canary}'); END"
        )
        return
    server.tampering.run(
        "CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'quoted: {canary} %', NEW.body; END $$"
    )
    server.tampering.run("CREATE TRIGGER quote BEFORE INSERT ON record FOR EACH ROW EXECUTE FUNCTION quote()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a full run left behind: the canaries that were sent, and all that may be read afterwards."""

    canaries: list[str]
    subjects: list[str]
    statuses: set[int]
    broken: httpx2.Response
    log: str
    metrics: str
    database: str
    backend: str
    workers: int
    processes: str
    errors: str


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A full run against a real server on each kind of database, on PostgreSQL one of two workers."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "sqlite":
        yield _run(home, f"sqlite:///{home / 'consent.db'}", workers=1)
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    name = postgres.create_database()
    yield _run(home, postgres.url(name), workers=2)
    postgres.drop_database(name)


def _run(home: Path, database_url: str, *, workers: int) -> Run:
    with Installation(home=home, database_url=database_url) as installation:
        notice = installation.publish().digest
        backend = create_api_key(installation.service.deployment, installation.tenant, Role.BACKEND).key
    tampering = Tampering(database_url)
    canaries = Canaries([])
    debugging = {"CONSENT_LOG_LEVEL": "debug"}
    with (
        ConsentServer(
            home=home,
            database_url=database_url,
            options=("--workers", str(workers)),
            environment=debugging,
        ) as process,
        httpx2.Client(timeout=30) as client,
    ):
        server = Server(process=process, backend=backend, notice=notice, tampering=tampering)
        answers = [client.send(request) for request in requests(server, canaries)]
        database = tampering.dump()
        break_the_database(server, canaries.new())
        broken = client.send(a_decision(server, canaries.new()))
        send_nonsense(server, canaries)
        metrics = client.get(f"{process.url}/metrics").text
        processes = titles(process.pid)
        process.stop()
        log = process.output()
    tampering.close()
    return Run(
        canaries=canaries.given,
        subjects=[answer.request.headers["Consent-Subject"] for answer in answers],
        statuses={answer.status_code for answer in answers},
        broken=broken,
        log=log,
        metrics=metrics,
        database=database,
        backend=backend,
        workers=workers,
        processes=processes,
        errors="\n".join(answer.text for answer in answers if answer.is_error),
    )


def titles(pid: int) -> str:
    """What anybody on the machine may read of a process, its threads and its children."""
    shown = []
    for place in (Path(f"/proc/{pid}"), *Path(f"/proc/{pid}/task").iterdir()):
        shown += [(place / name).read_bytes().decode(errors="replace") for name in ("cmdline", "comm")]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        shown += [titles(int(child)) for child in children.read_text().split()]
    return "\n".join(shown)


def a_decision(server: Server, subject: str) -> httpx2.Request:
    return httpx2.Request(
        "POST",
        f"{server.process.url}/v1/decisions",
        json=a_body(server),
        headers={"Authorization": f"Bearer {server.backend}", "Consent-Subject": subject},
    )


def send_nonsense(server: Server, canaries: Canaries) -> None:
    path = f"/{canaries.new()}?subject={canaries.new()}"
    host = f"Host: {canaries.new()}\r\n"
    send_raw(server, f"GET {path} HTTP/1.1\r\n{host}Bad Header {canaries.new()}\r\n\r\n")
    send_raw(
        server,
        f"GET {path} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )
    send_raw(server, f"{canaries.new()}\r\n\r\n")


def shown(run: Run, text: str) -> list[str]:
    return [canary for canary in run.canaries if canary in text.lower()]


def test_the_run_was_a_full_one(run: Run) -> None:
    assert run.statuses >= {200, 201, 400, 401, 403, 404, 405, 409, 422}
    assert len(run.canaries) > 200


def test_no_canary_shows_in_the_log(run: Run) -> None:
    assert shown(run, run.log) == []
    assert run.backend not in run.log


def test_no_canary_shows_in_the_metrics(run: Run) -> None:
    assert "consent_http_requests_total" in run.metrics
    assert shown(run, run.metrics) == []


def test_no_subject_and_no_credential_shows_in_an_error(run: Run) -> None:
    # Names of purposes, members and notices may be quoted to who sent them; the subject and the key never.
    assert run.errors.count('"type":"/problems/') > 40
    assert [name for name in run.subjects if name in run.errors] == []
    assert run.backend not in run.errors


def test_nothing_shows_in_what_the_machine_lists_of_a_process(run: Run) -> None:
    assert "serve" in run.processes
    assert ("spawn_main(" in run.processes) == (run.workers > 1)
    assert shown(run, run.processes) == []
    assert run.backend not in run.processes
    assert "DATABASE_URL" not in run.processes


@pytest.mark.parametrize("command", [("serve", "--port", "1"), ("ledger", "verify"), ("key", "list")])
def test_a_databases_password_shows_in_no_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    canary = a_secret()
    environment = {
        **os.environ,
        "CONSENT_HOME": str(tmp_path),
        "CONSENT_DATABASE_URL": f"postgresql+psycopg://somebody:{canary}@127.0.0.1:9/nowhere",
    }

    done = subprocess.run(
        [str(Path(sys.executable).with_name("consent")), *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert done.stderr
    assert canary not in done.stdout + done.stderr


def test_no_canary_is_stored_in_clear(run: Run) -> None:
    assert "recommendations" in run.database
    assert shown(run, run.database) == []
    assert run.backend not in run.database


def test_an_error_of_the_database_is_told_to_nobody(run: Run) -> None:
    assert run.broken.status_code == 500
    assert run.broken.json()["type"] == "/problems/internal-error"
    assert shown(run, run.broken.text) == []
    assert '"event": "bug"' in run.log


def test_every_line_of_the_log_is_json(run: Run) -> None:
    documents = [json.loads(line) for line in run.log.splitlines()]

    assert {"event", "level", "timestamp"} <= set.intersection(*(set(each) for each in documents))
    events = [document["event"] for document in documents]
    assert any(event.startswith("Uvicorn running on") for event in events)
    assert "Invalid HTTP request received." in events
    assert {"route": "/v1/consents", "method": "GET", "status": 200}.items() <= next(
        document.items() for document in documents if document.get("route") == "/v1/consents"
    )
