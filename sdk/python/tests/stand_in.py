"""A stand-in server on a real socket: it says exactly the bytes a test wants the wire to carry."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

Handler = Callable[[socket.socket, bytes], None]


def an_answer(body: object, *, status: int = 200, headers: str = "", kind: str = "application/json") -> bytes:
    """The bytes of one complete HTTP/1.1 answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


def a_gate_answer(
    reason: str = "granted", *, purpose: str = "recommendations", **more: object
) -> dict[str, object]:
    """The body of `POST /v1/gate` for one purpose."""
    verdict = {
        "allowed": reason == "granted",
        "reason": reason,
        "valid_until": "2030-01-01T00:00:00Z",
        "index": 7,
    }
    return {"subject": "s_0123456789abcdefghijklmn", "verdicts": {purpose: verdict | more}, "head": 8}


class StandIn:
    """Serves the next scripted answers, one a request, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answers: list[bytes | Handler] = [an_answer({})]
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def say(self, *answers: bytes | Handler) -> None:
        """Give these answers to the next requests."""
        self.answers = list(answers)

    def close(self) -> None:
        """End every connection and stop listening."""
        if self._socket.fileno() < 0:
            return
        for open_socket in (self._socket, *self._open):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := read_request(connection):
                self.requests.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if callable(answer):
                    answer(connection, request)
                    return
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """One whole request, head and body; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
