"""`consent serve` that cannot begin says so by its exit code: 2, like every command that could not be run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_ends_the_command(tmp_path: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [Path(sys.executable).with_name("consent"), "serve", "--port", port, "--workers", workers],
            env={**os.environ, "CONSENT_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert done.returncode == 2
    assert "address already in use" in done.stderr.lower() + done.stdout.lower()


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, command: str) -> None:
    result = CliRunner(env={"CONSENT_HOME": str(tmp_path)}).invoke(app, [command, "--port", "65536"])

    assert result.exit_code == 2
