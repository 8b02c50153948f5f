"""Programs of ours in processes forked from one that has imported the service.

A process of its own for each server or command is what the tests are about; importing the web framework and
the database layer anew for each, two seconds of processor time, is not. The standard library's fork server
imports them once. `tests/cli` and `tests/packaging` start the installed command itself.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

CONSENT = str(Path(sys.executable).with_name("consent"))
"""The installed command."""

_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["consent_service.cli.serve", "consent_service.api.app", "tests.forked"])


class ForkedProgram:
    """A process that does what a command would do, with the methods of `subprocess.Popen` that tests use.

    The command is `[CONSENT, …]`, `[sys.executable, FILE, …]` or `[sys.executable, "-m", MODULE, …]`;
    `environment` is the whole environment. Standard output and error are appended to files; `said` is what
    standard input gives.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        output: Path,
        errors: Path,
        environment: Mapping[str, str],
        said: str = "",
    ) -> None:
        self.args = tuple(command)
        self._process = _CONTEXT.Process(
            target=_become, args=(self.args, folder, (output, errors), dict(environment), said)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for the signal that ended it; `None` while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, or `None` while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raise `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.send_signal(signal.SIGKILL)


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    said: str = "",
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program of ours to its end, as `subprocess.run` with captured text does."""
    with TemporaryDirectory(prefix="consent-run-") as place:
        output, errors = Path(place) / "output", Path(place) / "errors"
        program = ForkedProgram(
            command,
            folder=folder or Path.cwd(),
            output=output,
            errors=errors,
            environment=os.environ if environment is None else environment,
            said=said,
        )
        try:
            code = program.wait(timeout)
        finally:
            program.kill()
        said, complained = (path.read_text() if path.exists() else "" for path in (output, errors))
        return subprocess.CompletedProcess(list(command), code, said, complained)


def _become(
    command: Sequence[str], folder: Path, logs: tuple[Path, Path], environment: Mapping[str, str], said: str
) -> None:
    for number, path in enumerate(logs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = StringIO(said)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program, *arguments = command
    if program == CONSENT:
        from consent_service.cli.main import app  # noqa: PLC0415  # in the new process only

        sys.argv = ["consent", *arguments]
        app()
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
