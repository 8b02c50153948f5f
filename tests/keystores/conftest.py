"""The real servers and tokens behind each kind of keystore."""

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx2
import pytest

from tests.programs import installed_program
from tests.servers import PLAIN, ServerProcess, unused_port

PIN = "1234"
TOKEN = "root-token-of-the-tests"


class OpenBaoServer(ServerProcess):
    """OpenBao in dev mode with a transit engine."""

    def __init__(self, folder: Path) -> None:
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [
                str(Path(sys.executable).with_name("bao")),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={TOKEN}",
                f"-dev-listen-address=127.0.0.1:{self.port}",
            ],
            folder=folder,
            log=folder / "openbao.log",
        )
        self.wait_until(self._ready, what="OpenBao to be unsealed")
        self.api("POST", "sys/mounts/transit", {"type": "transit"})

    def api(self, method: str, path: str, body: dict[str, object] | None = None) -> httpx2.Response:
        """Call OpenBao directly, as its operator would."""
        response = httpx2.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": TOKEN},
            timeout=10.0,
            verify=PLAIN,
        )
        response.raise_for_status()
        return response

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/v1/sys/health", timeout=5.0, verify=PLAIN).is_success
        except httpx2.TransportError:
            return False


class MotoServer(ServerProcess):
    """moto: a server that answers like AWS KMS."""

    def __init__(self, folder: Path) -> None:
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(self.port)],
            folder=folder,
            log=folder / "moto.log",
        )
        self.wait_until(self._ready, what="moto to answer")

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/moto-api/", timeout=5.0, verify=PLAIN).is_success
        except httpx2.TransportError:
            return False


class Line:
    """A TCP line to a port of this machine, which a test may cut and mend."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = unused_port()
        self._ends: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        """Let whoever calls through."""
        server = socket.create_server(("127.0.0.1", self.port))
        self._ends.append(server)
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and take no other."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                self._ends.append(near)
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends.append(far)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65_536):
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBaoServer]:
    """One OpenBao for this test process."""
    with OpenBaoServer(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """One moto for this test process."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of SoftHSM's library, set up for one folder of tokens that lasts as long as the process."""
    return _softhsm_in(tmp_path_factory.getbasetemp() / "softhsm")


@cache
def _softhsm_in(folder: Path) -> str:
    """Set it up once, also where several files have the fixture: the library keeps its first folder."""
    program = installed_program("softhsm2-util", debian_package="softhsm2")
    folder.mkdir()
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)  # the library reads it when it is loaded, once
    subprocess.run(
        [program, "--init-token", "--free", "--label", "shop", "--pin", PIN, "--so-pin", PIN],
        check=True,
        capture_output=True,
        timeout=60,
    )
    [library] = {path.resolve() for path in Path("/usr/lib").glob("**/libsofthsm2.so")}
    return str(library)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that moto takes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture(params=["file", "openbao", "pkcs11", "aws-kms"])
def keystore_location(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Location and secret of a keystore that has no key yet; a test that asks for it runs on every kind."""
    name = f"consent-{secrets.token_hex(4)}"
    if request.param == "file":
        return str(tmp_path / "keys.json"), ""
    if request.param == "openbao":
        bao: OpenBaoServer = request.getfixturevalue("openbao")
        return f"openbao+{bao.url}/transit/{name}", TOKEN
    if request.param == "pkcs11":
        library: str = request.getfixturevalue("softhsm")
        return f"pkcs11:token=shop;object={name}?module-path={library}", PIN
    request.getfixturevalue("aws_credentials")
    server: MotoServer = request.getfixturevalue("moto")
    return f"aws-kms:eu-west-3/{name}?endpoint={server.url}", ""
