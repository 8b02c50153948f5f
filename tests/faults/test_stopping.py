"""A stop in the middle of the work: every request that was taken is answered and durable, nobody is reset."""

import http.client
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.faults.crowd import Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.programs import installed_program
from tests.servers import ConsentServer, ServerProcess, unused_port, wait_until
from tests.size import size

CONNECTIONS = size(32, 128)
STOPS = size(1, 10)
CONFIGURATION = """
daemon off; pid nginx.pid; error_log error.log info;
events {}
http {
    log_format answered "$upstream_addr $upstream_status"; access_log access.log answered;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; scgi_temp_path scgi; uwsgi_temp_path uwsgi;
    upstream services { %(servers)s keepalive 32; }
    server {
        listen 127.0.0.1:%(port)s;
        location / { proxy_pass http://services; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}
"""
HALF_A_REQUEST = b"""\
POST /v1/decisions HTTP/1.1\r
Host: 127.0.0.1\r
Authorization: Bearer %b\r
Consent-Subject: ana\r
Content-Type: application/json\r
Content-Length: 100\r
\r
{"""


Tell = Callable[[ConsentServer, signal.Signals], None]


def tell(server: ConsentServer, number: signal.Signals) -> None:
    server.send(number)


def tell_all(server: ConsentServer, number: signal.Signals) -> None:
    """Signal each worker and the parent, as a terminal, a shell's job control and systemd do."""
    for process in {server.pid, *workers_of(server)}:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def workers_of(server: ConsentServer, *, dead: int = 0) -> list[int]:
    """Wait until all workers have started, and as many more as have died; return the newest ones' ids."""
    count = int(server.command[server.command.index("--workers") + 1])
    wait_until(
        lambda: server.output().count("Application startup complete") == count + dead, what="every worker"
    )
    return [int(number) for number in re.findall(r"Started server process \[(\d+)\]", server.output())][
        -count:
    ]


def replace_workers(server: ConsentServer) -> None:
    """Kill every worker, and wait for those that replace them."""
    started = workers_of(server)
    for worker in started:
        os.kill(worker, signal.SIGKILL)
    workers_of(server, dead=len(started))


def test_a_stop_under_load_answers_what_was_sent_and_resets_no_connection(place: Place) -> None:
    stop_under_load(place, 1, tell)


@pytest.mark.parametrize(
    ("tell_to_stop", "prepare"),
    [(tell, replace_workers), (tell_all, workers_of)],
    ids=["the parent of workers that replaced dead ones is told", "all are told"],
)
def test_workers_stopped_under_load_answer_what_was_sent_and_reset_no_connection(
    place: Place, tell_to_stop: Tell, prepare: Callable[[ConsentServer], object]
) -> None:
    stop_under_load(place, 2, tell_to_stop, prepare)


def stop_under_load(
    place: Place,
    workers: int,
    tell_to_stop: Tell,
    prepare: Callable[[ConsentServer], object] = lambda _: None,
) -> None:
    acknowledged = []
    for number in range(STOPS):
        with place.serve("--workers", str(workers)) as server:
            prepare(server)
            with Crowd(place, server.port, CONNECTIONS, name=f"stop-{number}") as crowd:
                wait_until(crowd.when(10 * CONNECTIONS), what="the load to be under way")
                tell_to_stop(server, signal.SIGTERM)
                seen = crowd.join()
            code = server.wait()

        acknowledged += seen.acknowledged
        assert (seen.unanswered, seen.refused.total()) == (0, 0)
        assert seen.not_admitted == CONNECTIONS
        assert (
            CONNECTIONS <= seen.told_to_close <= workers * CONNECTIONS
        )  # A worker may take what another ends.
        assert code in {0, -signal.SIGTERM}
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)
    assert verified.size == 1 + len(acknowledged)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_behind_nginx_nobody_notices_that_one_of_two_services_stops(
    place: Place, tmp_path: Path, workers: str
) -> None:
    for number in range(STOPS):
        with (
            place.serve("--workers", workers) as leaving,
            place.serve() as staying,
            Nginx(tmp_path / f"nginx-{number}", leaving.port, staying.port) as nginx,
            Crowd(place, nginx.port, CONNECTIONS, name=f"stop-{number}") as crowd,
        ):
            wait_until(crowd.when(10 * CONNECTIONS), what="the load to be under way")
            code = leaving.stop()
            wait_until(crowd.when(len(crowd.seen.acknowledged) + 10 * CONNECTIONS), what="more decisions")

        assert code in {0, -signal.SIGTERM}
        assert (crowd.seen.unanswered, crowd.seen.refused.total(), crowd.seen.not_admitted) == (0, 0, 0)
        assert nginx.complaints() == []
        assert nginx.answered_by(leaving.port) > CONNECTIONS
        assert_nothing_is_lost(place.service.deployment, place.tenant, crowd.seen.acknowledged)


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)  # Nothing is ever decided.
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_interrupt_ends_it_at_once(place: Place, workers: str) -> None:
    """Half a request is under way, for whose other half the first interrupt lets it wait."""
    with (
        place.serve("--workers", workers) as server,
        socket.create_connection(("127.0.0.1", server.port)) as half,
    ):
        half.sendall(HALF_A_REQUEST % place.key.encode())
        tell_all(server, signal.SIGINT)
        wait_until(lambda: not admits(server.url), what="the door to close")
        closed = time.monotonic()
        wait_until(lambda: time.monotonic() > closed + 2.0, what="idle connections to be closed")
        assert server.runs()

        tell_all(server, signal.SIGINT)
        code = server.wait(timeout=20.0)  # It would wait 30 s for the request that it has half of.

    assert code in {0, -signal.SIGINT}


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)  # As above.
def test_a_request_on_an_idle_connection_meets_an_answer_not_a_reset(place: Place) -> None:
    with place.serve() as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        kept.request("GET", "/health")
        kept.getresponse().read()

        server.send(signal.SIGTERM)
        wait_until(lambda: not admits(server.url), what="the door to close")
        kept.request("GET", "/health")
        answer = kept.getresponse()

        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        kept.close()
        server.wait()


class Nginx(ServerProcess):
    """A real nginx that keeps its connections to services open; what it could not do is in its log."""

    def __init__(self, folder: Path, *services: int) -> None:
        folder.mkdir()
        self.port = unused_port()
        servers = " ".join(f"server 127.0.0.1:{port};" for port in services)
        (folder / "nginx.conf").write_text(CONFIGURATION % {"servers": servers, "port": self.port})
        program = installed_program("/usr/sbin/nginx", debian_package="nginx")
        command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
        super().__init__(command, folder=folder, log=folder / "output.log")
        self._folder = folder
        self.wait_until_ready(lambda: admits(f"http://127.0.0.1:{self.port}"), what="nginx to answer")

    def complaints(self) -> list[str]:
        """The errors in its log, save that a service lets nobody in any more: nginx asks the other one."""
        lines = (self._folder / "error.log").read_text().splitlines()
        return [line for line in lines if "[error]" in line and "connect() failed" not in line]

    def answered_by(self, service: int) -> int:
        """How many answers came from the service on this port."""
        return (self._folder / "access.log").read_text().count(f"127.0.0.1:{service} 201\n")


def admits(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", timeout=5.0).is_success
    except httpx2.TransportError:
        return False
