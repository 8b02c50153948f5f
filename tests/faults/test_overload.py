"""Ten times the load that may wait: what is accepted is kept, the rest is told so at once, memory stays."""

from pathlib import Path

import httpx2

from tests.faults.crowd import Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.servers import wait_until
from tests.size import size

MAY_WAIT = 32
CONNECTIONS = 10 * MAY_WAIT
DECISIONS = size(900, 60_000)
MOST_GROWTH = 40_000_000


def test_ten_times_the_load_is_refused_in_time_and_loses_nothing(place: Place) -> None:
    with place.serve(queue_limit=MAY_WAIT, batch_limit=MAY_WAIT) as server:
        with Crowd(place, server.port, CONNECTIONS, name="warm", each=3) as warm:
            warm.join()
        before = resident(server.pid)

        with Crowd(place, server.port, CONNECTIONS, name="over") as crowd:
            wait_until(crowd.when(DECISIONS), what=f"{DECISIONS} decisions", timeout=600)
        seen = crowd.seen

        grown = resident(server.pid) - before
        counted = refusals_counted(server.url)
        waiting = place.metric(server, "consent_committer_waiting")

    assert seen.unanswered == seen.not_admitted == 0
    assert set(seen.refused) == {503}
    assert seen.retry_after == {"1"}
    assert counted == seen.refused[503] + warm.seen.refused[503]
    assert seen.overtaken < CONNECTIONS, seen.overtaken_one
    assert waiting == 0
    assert grown < MOST_GROWTH
    acknowledged = warm.seen.acknowledged + seen.acknowledged
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)
    assert verified.size == 1 + len(acknowledged)


def resident(pid: int) -> int:
    """How many bytes of memory a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def refusals_counted(url: str) -> int:
    """How many answers of POST /v1/decisions were 503, as the service counts."""
    lines = httpx2.get(f"{url}/metrics", timeout=10).text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("consent_http_requests_total{")
        and 'route="/v1/decisions"' in line
        and 'status="503"' in line
    )
