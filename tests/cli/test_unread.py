"""A command whose reader goes away, as `head` does, ends like a program of Unix: quietly, as by SIGPIPE."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from consent_service.verifier import verify
from tests.builders import EXAMPLE_NOTICE

_CONSENT = str(Path(sys.executable).with_name("consent"))
_VERIFIER = [sys.executable, "-I", str(verify.__file__)]


def _unread(command: list[str], home: Path) -> tuple[int, str]:
    """Run a command into a pipe that nobody reads; return its exit code and what it complained of."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "CONSENT_HOME": str(home)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr.strip()  # A progress bar ends with a line feed.


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tenant, which these commands only read."""
    home = tmp_path_factory.mktemp("home")
    made = CliRunner(env={"CONSENT_HOME": str(home)}).invoke(app, ["tenant", "create", "default"])
    assert made.exit_code == 0
    return home


@pytest.mark.parametrize(
    "arguments",
    [["ledger", "verify"], ["ledger", "verify", "--json"], ["--version"], ["--help"], ["serve", "--help"]],
    ids=" ".join,
)
def test_a_command_that_nobody_reads_ends_quietly(home: Path, arguments: list[str]) -> None:
    assert _unread([_CONSENT, *arguments], home) == (141, "")


@pytest.mark.parametrize("contents", [None, "no receipt"], ids=["its manual", "a receipt"])
def test_a_verifier_that_nobody_reads_ends_quietly(tmp_path: Path, contents: str | None) -> None:
    file = tmp_path / "receipt.txt"
    file.write_text(contents or "")

    ended = _unread([*_VERIFIER, *([str(file)] if contents else [])], tmp_path)

    assert ended == (141, "")


def test_a_verifier_behind_a_pipe_to_head_shows_one_line_and_no_traceback(tmp_path: Path) -> None:
    shell = '"$0" -I "$1" | head -n 1; echo "${PIPESTATUS[0]}"'
    command = ["bash", "-c", shell, sys.executable, str(verify.__file__)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    assert done.stdout.splitlines()[0].startswith("Verify an audit pack")
    assert done.stdout.splitlines()[1] in {"2", "141"}  # Whether head was gone before the manual was written.
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command",
    [["ledger", "verify"], ["audit", "export", "--out", "pack.zip"], ["audit", "verify", "pack.zip"]],
    ids=" ".join,
)
def test_where_nobody_watches_there_is_no_progress_and_no_empty_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"CONSENT_HOME": str(tmp_path / "home")})
    for before in (["notice", "publish", str(EXAMPLE_NOTICE)], ["audit", "export", "--out", "pack.zip"]):
        assert runner.invoke(app, before).exit_code == 0

    result = runner.invoke(app, [*command, "--json"])

    assert (result.exit_code, result.stderr) == (0, "")
