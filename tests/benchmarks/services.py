"""Servers for the benchmarks: ours and the bare one, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TypeVar

import httpx2
from pydantic import SecretStr
from sqlalchemy import text

from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_notice_file import load_notice_file
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from consent_service.storage.engine import Database
from tests.postgres import PostgresServer
from tests.servers import PLAIN, ServerProcess, unused_port

T = TypeVar("T")

_CONSENT = str(Path(sys.executable).parent / "consent")
_ROOT = Path(__file__).parents[2]
NOTICE = _ROOT / "examples" / "notice.yaml"
CHOICES = {
    "recommendations": "granted",
    "coupons": "denied",
    "support_context": "granted",
    "ai_assistance": "denied",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A service under load: its port, a backend key and the digest of its notice."""

    port: int
    key: str
    notice: str
    home: Path
    environment: dict[str, str]

    def decision(self, choices: Mapping[str, str] = CHOICES) -> str:
        """Return the body of a decision about four purposes."""
        document = {
            "notice": self.notice,
            "choices": dict(choices),
            "method": "save",
            "source": "banner",
            "language": "en",
        }
        return json.dumps(document)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate."""
        return {"Authorization": f"Bearer {self.key}"}


def consent(*arguments: str, environment: dict[str, str]) -> dict[str, object]:
    """Run a command of ours and return its JSON answer."""
    command = [_CONSENT, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


class Servers(ExitStack):
    """Servers that start at the same time, since a start is no figure, and end where this context ends."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPoolExecutor()

    def start(self, server: AbstractContextManager[T]) -> Future[T]:
        """Begin to start a server; its result is what the context gives, once it answers."""
        return self._pool.submit(self.enter_context, server)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End them all, those that still start as well."""
        self._pool.shutdown()
        return bool(super().__exit__(kind, error, trace))


_MIGRATING = Lock()  # Alembic has one context for the whole process.


def set_up(home: Path, database_url: str | None = None) -> tuple[str, str]:
    """Create what a service needs before it serves; return a backend key and the example notice's digest."""
    url = None if database_url is None else SecretStr(database_url)
    with _MIGRATING:
        service = ConsentService.open(Settings(home=home, database_url=url))
    try:
        return ready_to_decide(service)
    finally:
        service.close()


def ready_to_decide(service: ConsentService) -> tuple[str, str]:
    """Publish the example notice; return a backend key and the notice's digest."""
    tenant = require_tenant(service.deployment, "default")
    notice = load_notice_file(NOTICE.read_bytes())
    published = service.committer.submit_blocking(tenant, PublishNotice(notice=notice))
    assert isinstance(published, PublishedNotice)
    return create_api_key(service.deployment, tenant, Role.BACKEND).key, published.digest


def count_rows(url: str) -> None:
    """Let PostgreSQL count its rows, as it does within a minute: till then it plans for empty tables."""
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text("ANALYZE"))
    database.close()


def wait_for(server: ServerProcess, port: int, path: str, *, timeout: float = 60.0) -> None:
    """Wait until a GET of this path answers 200, for so many seconds at most."""

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}{path}", verify=PLAIN).status_code == 200
        except httpx2.TransportError:
            return False

    server.wait_until_ready(answers, what=path, timeout=timeout)


def prepared(folder: Path, database_url: str | None = None) -> Served:
    """Return the toolkit in an empty folder, with the example notice published, before it is served."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "CONSENT_HOME": str(folder / "home"),
        "PATH": "/usr/bin:/bin",
        "CONSENT_LOG_LEVEL": "warning",
    }
    if database_url is not None:
        environment["CONSENT_DATABASE_URL"] = database_url
    key, notice = set_up(folder / "home", database_url)
    return Served(port=unused_port(), key=key, notice=notice, home=folder / "home", environment=environment)


@contextmanager
def serving(folder: Path, ours: Served, port: int, *, workers: int = 1) -> Iterator[int]:
    """Serve what was prepared, or what is served already, on a port; yield the port."""
    command = [_CONSENT, "serve", "--port", str(port), "--workers", str(workers)]
    log = folder / f"serve-{port}.log"
    with ServerProcess(command, folder=_ROOT, log=log, environment=ours.environment) as server:
        wait_for(server, port, "/ready")
        yield port


@contextmanager
def served(folder: Path, database_url: str | None = None, *, workers: int = 1) -> Iterator[Served]:
    """Serve the toolkit from an empty folder, with the example notice published."""
    ours = prepared(folder, database_url)
    with serving(folder, ours, ours.port, workers=workers):
        yield ours


@contextmanager
def a_cluster(folder: Path) -> Iterator[PostgresServer]:
    """Serve PostgreSQL from a new folder below this one."""
    cluster = folder / "cluster"
    cluster.mkdir()
    server = PostgresServer(cluster)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def bare(folder: Path, database_url: str | None = None) -> Iterator[int]:
    """Serve the bare endpoints; yield the port."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"BARE_DATABASE_URL": database_url or f"sqlite:///{folder / 'bare.db'}"}
    port = unused_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "tests.benchmarks.bare_app:create_bare_app"),
        *("--port", str(port), "--no-access-log", "--log-level", "warning"),
    ]
    with ServerProcess(command, folder=_ROOT, log=folder / "bare.log", environment=environment) as server:
        wait_for(server, port, "/openapi.json")
        yield port
