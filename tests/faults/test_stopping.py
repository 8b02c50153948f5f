"""A stop in the middle of the work: every request that was taken is answered and durable, nobody is reset."""

import http.client
import signal

import httpx2

from tests.faults.crowd import Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.faults.size import size
from tests.followers.following import Place
from tests.servers import wait_until

CONNECTIONS = size(32, 128)
STOPS = size(1, 10)


def test_a_stop_under_load_answers_what_was_sent_and_resets_no_connection(place: Place) -> None:
    acknowledged = []
    for number in range(STOPS):
        with (
            place.serve() as server,
            Crowd(place, server.port, CONNECTIONS, name=f"stop-{number}") as crowd,
        ):
            wait_until(crowd.when(10 * CONNECTIONS), what="the load to be under way")
            server.send(signal.SIGTERM)
            seen = crowd.join()
            code = server.wait()

        acknowledged += seen.acknowledged
        assert (seen.unanswered, seen.refused.total()) == (0, 0)
        assert seen.told_to_close == seen.not_admitted == CONNECTIONS
        assert code in {0, -signal.SIGTERM}
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)
    assert verified.size == 1 + len(acknowledged)


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


def admits(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", timeout=5.0).is_success
    except httpx2.TransportError:
        return False
