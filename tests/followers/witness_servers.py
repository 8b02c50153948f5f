"""Witnesses to send checkpoints to: one that does what it should, and some that do not."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from consent_service.errors import ConsentToolkitError, WitnessConflict
from consent_service.operations.witness import Witness
from consent_service.verifier.verify import Policy
from tests.installation import Installation

NOW = 1_795_000_000
Answer = tuple[int, bytes]


class WitnessServer:
    """A witness on a port of its own; `answer` is what it says to a request, its own code's by default."""

    def __init__(self, folder: Path, name: str, logs: list[str]) -> None:
        self.witness = Witness(folder / name, name=f"witness.example/{name}", vkeys=logs)
        self.name = name
        self.asked = 0
        self.answer: Callable[[bytes], Answer] = self.honest
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked += 1
                status, body = outer.answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def honest(self, body: bytes) -> Answer:
        """What a witness of ours answers."""
        try:
            return 200, self.witness.add_checkpoint(body, NOW).encode()
        except WitnessConflict as error:
            return 409, f"{error.size}\n".encode()
        except ConsentToolkitError:
            return 422, b""

    @property
    def line(self) -> str:
        """Its line in a policy."""
        host, port = self._server.server_address[:2]
        return f"witness {self.name} {self.witness.cosigner.vkey} http://{host!s}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hung up is no news."""


def have_witnessed(installation: Installation, *servers: WitnessServer, quorum: str = "any") -> Policy:
    """Give the installation a policy of these witnesses."""
    names = " ".join(server.name for server in servers)
    lines = [*(server.line for server in servers), f"group all-of-them {quorum} {names}"]
    policy = Policy("\n".join([*lines, "quorum all-of-them"]))
    installation.service.deployment.policy = policy
    return policy
