"""The service as an operator runs it: the `consent` command, and `consent serve` as a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

_CONSENT = Path(sys.executable).with_name("consent")
_START_SECONDS = 60
_STOP_SECONDS = 60
_OK = 200


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A folder with the service's database and keys, and the command that works on it."""

    home: Path
    database_url: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command: this installation's settings and nobody else's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_")}
        chosen = {} if self.database_url is None else {"CONSENT_DATABASE_URL": self.database_url}
        return {**inherited, "CONSENT_HOME": str(self.home), **chosen}

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run one command in a process of its own and return its JSON answer, also a negative one.

        Raises `DemoFailed` for a command that could not be run.
        """
        done = subprocess.run(  # noqa: S603  # our own program
            [_CONSENT, *arguments, "--json"],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise DemoFailed(f"consent {' '.join(arguments)} failed:\n{done.stderr.strip()}") from None
        if not isinstance(answer, dict):
            raise DemoFailed(f"consent {' '.join(arguments)} answered no JSON object.")
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """What the operator hands out: the notice's digest, two API keys, the ledger's verifier key to pin."""

    notice: str
    backend_key: str
    auditor_key: str
    verifier_key: str


def set_up(installation: Installation, notice: Path) -> HandedOut:
    """Publish the notice and create the keys: on an empty folder each command makes what is missing."""
    published = installation.ask("notice", "publish", str(notice))
    commands = (
        ("key", "create", "--role", "backend"),
        ("key", "create", "--role", "auditor"),
        ("tenant", "list"),
    )
    with ThreadPoolExecutor() as threads:
        backend, auditor, listed = threads.map(lambda command: installation.ask(*command), commands)
    tenants = listed["tenants"]
    if not isinstance(tenants, list) or len(tenants) != 1:
        raise DemoFailed("The demo needs an empty database.")
    return HandedOut(
        notice=text(published, "digest"),
        backend_key=text(backend, "key"),
        auditor_key=text(auditor, "key"),
        verifier_key=text(tenants[0], "vkey"),
    )


class ServedService:
    """`consent serve` on a port of the loopback address; ready when entered, stopped when left.

    Raises `DemoFailed` for a port that is taken; without one it takes any that is free.
    """

    def __init__(self, installation: Installation, *, port: int | None = None) -> None:
        self._installation = installation
        self._port = _free_port(port or 0)
        self._log = installation.home / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://127.0.0.1:{self._port}"

    def wait(self) -> int:
        """Wait until the service ends by itself."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [_CONSENT, "serve", "--port", str(self._port)],
                cwd=self._installation.home,
                env=self._installation.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with httpx2.Client(timeout=5.0) as http:
            while not self._ready(http):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoFailed(f"The service did not start:\n{self._log.read_text(errors='replace')}")
                time.sleep(0.05)

    def _ready(self, http: httpx2.Client) -> bool:
        try:
            return http.get(f"{self.url}/ready").status_code == _OK
        except httpx2.TransportError:
            return False

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def text(answer: Mapping[str, object], name: str) -> str:
    """Return a member of a JSON answer that must be a text."""
    value = answer.get(name)
    if not isinstance(value, str):
        raise DemoFailed(f"An answer has no {name}.")
    return value


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoFailed(f"Port {port} is taken: choose another one with --port.") from None
        free: int = probe.getsockname()[1]
        return free
