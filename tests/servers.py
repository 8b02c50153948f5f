"""Real server processes for the tests: started, waited for, ended. One that ends early shows its log."""

import itertools
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.forked import CONSENT, ForkedProgram

# How often a condition is looked at: the only sleep of the test suite.
_INTERVAL_S = 0.02

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `verify=` of requests to servers under test, which speak plain HTTP.

Reading the machine's certificates, as httpx does for every request without a client, takes forty times as
long as the request.
"""


def wait_until(condition: Callable[[], bool], *, what: str, timeout: float = 90.0) -> None:
    """Return as soon as the condition holds; fail when it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {timeout:g} s in vain for {what}.")
        time.sleep(_INTERVAL_S)


def _ports_of_this_process() -> Iterator[int]:
    """Ports below those of outgoing connections; each process of a test run has its own."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(12_000 + own, 32_000, processes)
    start = os.getpid() * 97 % len(ports)  # Two test runs at a time begin at different places.
    return itertools.cycle((*ports[start:], *ports[:start]))


_PORTS = _ports_of_this_process()


def unused_port() -> int:
    """A TCP port of the loopback address that nobody listens on and no other test is given."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """A process that serves until it is told to stop; as a context manager it stops at the end.

    `account` is the user and group id to run as (root only); standard output and error go to `log`. A program
    of ours may be `forked` (see `tests.forked`), which starts it sooner.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        account: tuple[int, int] | None = None,
        forked: bool = False,
    ) -> None:
        self.command = tuple(command)
        self.log = log
        self._process: ForkedProgram | subprocess.Popen[bytes]
        whole = {**os.environ, **(environment or {})}
        if forked:
            log.touch()
            self._process = ForkedProgram(
                self.command, folder=folder, output=log, errors=log, environment=whole
            )
            return
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=folder,
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=account[0] if account else None,
                group=account[1] if account else None,
                extra_groups=[] if account else None,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], bool], *, what: str, timeout: float = 90.0) -> None:
        """Wait until the condition holds; fail at once, with the log, when the process ends before."""

        def holds() -> bool:
            if not self.runs():
                raise AssertionError(
                    f"{self.command[0]} ended with {self._process.returncode}:\n{self.output()}"
                )
            return condition()

        try:
            wait_until(holds, what=what, timeout=timeout)
        except AssertionError as error:
            error.add_note(self.output())
            raise

    def wait_until_ready(
        self,
        condition: Callable[[], bool],
        *,
        what: str,
        timeout: float = 120.0,  # a busy machine starts slowly
    ) -> None:
        """Wait until the condition holds for the first time; when it never does, leave no process behind."""
        try:
            self.wait_until(condition, what=what, timeout=timeout)
        except BaseException:
            self.kill()
            raise

    def output(self) -> str:
        """What the process has written so far."""
        return self.log.read_text(errors="replace")

    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal and go on."""
        self._process.send_signal(number)

    def wait(self, *, timeout: float = 30.0) -> int:
        """Wait for the process to end and return its exit code (negative: the signal that ended it)."""
        return self._process.wait(timeout)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 30.0) -> int:
        """Ask the process to end, wait for it and return its exit code; one that ended before is no error."""
        if self.runs():
            self.send(number)
        try:
            return self.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.command[0]} did not end on {number.name}:\n{self.output()}"
            ) from None

    def kill(self) -> None:
        """End the process without a chance to tidy up."""
        self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class ConsentServer(ServerProcess):
    """`consent serve` on a free port of the loopback address, ready when the constructor returns."""

    def __init__(
        self,
        *,
        home: Path,
        database_url: str,
        options: Sequence[str] = (),
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [CONSENT, "serve", "--host", "127.0.0.1", "--port", str(self.port), *options],
            folder=home,
            log=home / "server.log",
            environment={
                "CONSENT_HOME": str(home),
                "CONSENT_DATABASE_URL": database_url,
                **(environment or {}),
            },
            forked=True,
        )
        self.wait_until_ready(self.ready, what=f"{self.url}/ready to answer 200")

    def ready(self) -> bool:
        """Whether the service says that it may be used."""
        try:
            answer = httpx2.get(f"{self.url}/ready", timeout=5.0, verify=PLAIN)
        except httpx2.TransportError:
            return False
        return answer.status_code == httpx2.codes.OK
