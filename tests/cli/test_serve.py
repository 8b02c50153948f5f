"""`consent serve`: where it listens; one that cannot begin says so by exit code 2, like every command."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from tests.forked import CONSENT
from tests.servers import PLAIN, ServerProcess, unused_port

IPV4, IPV6 = "127.0.0.1", "[::1]"
HOSTS = """
127.0.0.1 localhost
::1       localhost
192.0.2.1 localhost
"""  # The third (RFC 5737) is not this machine's.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_ends_the_command(tmp_path: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [CONSENT, "serve", "--port", port, "--workers", workers],
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


@pytest.mark.parametrize(("host", "asked"), [("::1", {IPV6}), ("::", {IPV4, IPV6})])
def test_it_listens_at_the_address_that_it_is_given(tmp_path: Path, host: str, asked: set[str]) -> None:
    port = unused_port()
    with serving(tmp_path, "--host", host, "--port", str(port)) as server:
        server.wait_until_ready(lambda: bool(answering(port)), what=f"an answer at {host}")

        assert answering(port) == asked


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_listens_at_every_address_that_localhost_has_on_this_machine(tmp_path: Path, workers: str) -> None:
    """The file of hosts is the test's own, in a namespace of its own: a machine may have one without IPv6."""
    port = unused_port()
    (tmp_path / "hosts").write_text(HOSTS)
    script = f'mount --bind {tmp_path / "hosts"} /etc/hosts && exec "$@"'
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    options = ["--host", "localhost", "--port", str(port), "--workers", workers]
    with serving(tmp_path, *options, within=namespace) as server:
        server.wait_until_ready(lambda: bool(answering(port)), what="an answer at localhost")

        assert answering(port) == {IPV4, IPV6}


def serving(home: Path, *options: str, within: Sequence[str] = ()) -> ServerProcess:
    return ServerProcess(
        [*within, CONSENT, "serve", *options],
        folder=home,
        log=home / "server.log",
        environment={"CONSENT_HOME": str(home / "home")},
    )


def answering(port: int) -> set[str]:
    """The addresses of this machine at which a service on this port says that it is ready."""
    return {address for address in (IPV4, IPV6) if is_ready(f"http://{address}:{port}/ready")}


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5.0, verify=PLAIN).is_success
    except httpx2.TransportError:
        return False
