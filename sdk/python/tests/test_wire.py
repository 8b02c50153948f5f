"""What lies between a shop and its service: servers of other kinds, proxies, addresses."""

import gzip
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from consent_sdk import ConsentClient, Reason
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live_service import STREAM_HEAD, LiveService, a_live_service, wait_for
from stand_in import StandIn, a_gate_answer, an_answer, read_request

HEAD = b'event: head\ndata: {"index": 0}\n\n'
STALENESS = 1.0


def streaming(head: bytes, each: Callable[[int], bytes], *, every: float = 0.05):  # noqa: ANN201  # a handler
    """A handler that answers streams with this head and then pieces for ever, and gates with a grant."""

    def handle(connection: socket.socket, request: bytes) -> None:
        with suppress(OSError):
            while not request.startswith(b"GET"):
                connection.sendall(an_answer(a_gate_answer()))
                request = read_request(connection)
                if not request:
                    return
            connection.sendall(head)
            for number in range(10_000):
                connection.sendall(each(number))
                time.sleep(every)

    return handle


@contextmanager
def a_client(stand_in: StandIn, path: str = "") -> Iterator[ConsentClient]:
    with ConsentClient(
        stand_in.url + path, api_key="ck_test", max_staleness=STALENESS, miss_timeout=2.0
    ) as client:
        yield client


OPENING = {
    "a head of HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "a type in capitals": b"HTTP/1.1 200 OK\r\nCONTENT-TYPE: Text/Event-Stream;charset=UTF-8\r\n\r\n",
    "a date that is none": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Date: Mon, 99999999999999999999 Jan 2020 00:00:00 GMT\r\n\r\n",
}


@pytest.mark.parametrize("head", OPENING.values(), ids=OPENING.keys())
def test_a_stream_is_one_however_its_head_is_spelt(stand_in: StandIn, head: bytes) -> None:
    stand_in.say(streaming(head, lambda _number: HEAD))

    with a_client(stand_in) as client:
        assert client.wait_until_ready(10)


def test_a_chunk_for_each_byte_is_a_stream(stand_in: StandIn) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    stand_in.say(
        streaming(head, lambda number: b"1\r\n%c\r\n" % HEAD[number % len(HEAD)], every=0.001),
    )

    with a_client(stand_in) as client:
        assert client.wait_until_ready(10)


CLOSED = {
    "a redirection": an_answer({}, status=307, headers="Location: /elsewhere\r\n"),
    "a permanent one": an_answer(
        HEAD, status=301, headers="Location: /v1/stream\r\n", kind="text/event-stream"
    ),
    "a part": an_answer(HEAD, status=206, kind="text/event-stream"),
    "no content": b"HTTP/1.1 204 No Content\r\nContent-Type: text/event-stream\r\n\r\n",
    "a page": an_answer(HEAD, kind="text/html"),
    "plain text": an_answer(HEAD, kind="text/plain"),
    "two types": an_answer(HEAD, kind="text/html, text/event-stream"),
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(HEAD), HEAD),
    "gzip": an_answer(gzip.compress(HEAD), headers="Content-Encoding: gzip\r\n", kind="text/event-stream"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-st",
    "an early hint": b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/event-stream\r\n\r\n",
}


@pytest.mark.parametrize("answer", CLOSED.values(), ids=CLOSED.keys())
def test_no_other_answer_lends_a_moment(stand_in: StandIn, answer: bytes) -> None:
    def one(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(answer)

    stand_in.say(one)
    with a_client(stand_in) as client:
        wait_for(lambda: len([request for request in stand_in.requests if b"/v1/stream" in request]) > 1)

        assert not client.healthy
        assert client.status.state == "not_ready"


@pytest.mark.parametrize(
    "drop", [b": still here\n\n", b"d", b"event: word\ndata: 1\n"], ids=["comment", "byte", "half"]
)
def test_a_connection_that_brings_no_event_is_left_for_another(stand_in: StandIn, drop: bytes) -> None:
    """As from a proxy that goes on pinging when what it stands before is gone."""
    stand_in.say(
        streaming(STREAM_HEAD, lambda number: HEAD if number < 3 else drop),
        streaming(STREAM_HEAD, lambda _number: drop),
        streaming(STREAM_HEAD, lambda _number: HEAD),
    )
    with a_client(stand_in) as client:
        assert client.wait_until_ready(10)
        wait_for(lambda: not client.healthy)

        wait_for(lambda: client.healthy, seconds=10)

        assert client.status.connections == 3


@pytest.mark.parametrize("path", ["/", "/consent", "/consent/", "/a/b//"])
def test_a_service_may_live_below_a_path(stand_in: StandIn, path: str) -> None:
    stand_in.say(streaming(STREAM_HEAD, lambda _number: HEAD))

    with a_client(stand_in, path) as client:
        assert client.wait_until_ready(10)

    assert stand_in.requests[0].startswith(b"GET %b/v1/stream HTTP" % path.rstrip("/").encode())


def test_a_service_may_have_an_address_of_six() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                streaming(STREAM_HEAD, lambda _number: HEAD)(connection, read_request(connection))

        threading.Thread(target=serve, daemon=True).start()
        with ConsentClient(f"http://[::1]:{port}", api_key="ck_test") as client:
            assert client.wait_until_ready(10)


def test_a_server_that_cannot_prove_its_name_is_not_asked(stand_in: StandIn) -> None:
    """TLS where there is none, and a name that no resolver takes."""
    for url in (stand_in.url.replace("http://", "https://"), "http://consent..internal"):
        with ConsentClient(url, api_key="ck_test", miss_timeout=5.0, timeout=1.0) as client:
            verdict = client.check("ana", "coupons")

            assert verdict.reason in (Reason.UNAVAILABLE, Reason.NOT_READY)
            assert client.consents("ana").reason is Reason.UNAVAILABLE
    assert not any(b"ck_test" in request for request in stand_in.requests)


def test_a_certificate_that_nobody_vouches_for_gets_no_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path / "both.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    met: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    with context.wrap_socket(connection, server_side=True) as secure:
                        met.append(secure.recv(65_536))
                except ssl.SSLError as refused:
                    met.append(str(refused).encode())
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with ConsentClient(url, api_key="ck_test", miss_timeout=5.0) as client:
            assert client.consents("ana").reason is Reason.UNAVAILABLE
            wait_for(lambda: met)
            assert not client.healthy
        server.shutdown(socket.SHUT_RDWR)

    assert not any(b"ck_test" in each for each in met)
    assert any(b"ALERT" in each.upper() for each in met)


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.grant("ana")
        yield service


NO_THREADS = """
import threading
from consent_sdk import ConsentClient

threading.stack_size(1 << 46)  # more than there are addresses: no thread starts
client = ConsentClient.from_env()
assert not client.wait_until_ready(0.05)
gate = client.gate("coupons")
for _ in range(20):
    assert not gate("ana")
    assert client.check("ana", "coupons").reason in ("unavailable", "not_ready")
    client.report_use("ana", "coupons", feature="page")
threading.stack_size(0)
assert client.wait_until_ready(20)
assert gate("ana")
client.report_use("ana", "coupons", feature="page")
client.close()
print("denied, then live")
"""
AT_THE_END = """
import atexit
from consent_sdk import ConsentClient

client = ConsentClient.from_env()
assert client.wait_until_ready(20)


class Last:
    def __del__(self, ask=client.allows):
        print("last", ask("cleo", "coupons") in (True, False))


@atexit.register
def ask():
    print("exit", client.allows("ben", "coupons"), client.allows("ana", "coupons"))


last = Last()
"""
THOUSANDS = """
import gc, os, threading
from consent_sdk import ConsentClient

def held():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()

def once():
    with ConsentClient.from_env() as client:
        client.allows("ana", "coupons")
        client.report_use("ana", "coupons", feature="page")

once()
before = held()
for _ in range(300):
    once()
after = held()
assert after[0] <= before[0] + 3, (before, after)
assert after[1] <= before[1] + 3, (before, after)
from consent_sdk._gatekeeper import _ALIVE
from consent_sdk._transport import ABANDONED
assert len(_ALIVE) <= 3, len(_ALIVE)
assert not ABANDONED
print("nothing is left")
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (NO_THREADS, "denied, then live\n"),
        (AT_THE_END, "exit False True\nlast True\n"),
        (THOUSANDS, "nothing is left\n"),
    ],
    ids=["without threads", "at the interpreter's end", "clients by the hundred"],
)
def test_in_a_process_that_is_short_of_something_or_ends(
    service: LiveService, program: str, said: str
) -> None:
    environment = {"CONSENT_URL": service.url, "CONSENT_API_KEY": "ck_test", "CONSENT_MISS_TIMEOUT": "2"}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == said
    assert "Traceback" not in done.stderr
