"""Many who write at once, in many processes: all stored, dense indexes, one root."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.crowd import Acknowledged, Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.size import size

ROOT = Path(__file__).parents[2]
PROCESSES, APPENDS = 8, 500
CONNECTIONS = 64


def test_eight_processes_with_500_appends_each_make_one_dense_log(place: Place) -> None:
    command = [sys.executable, "-m", "tests.faults.writers", place.database_url, str(place.home / "home")]

    done = subprocess.run(
        [*command, str(PROCESSES), str(APPENDS), place.notice],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [Acknowledged(*json.loads(line)) for line in done.stdout.splitlines()]
    assert sorted(each.index for each in lines) == list(range(1, PROCESSES * APPENDS + 1))
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, lines)
    assert verified.size == PROCESSES * APPENDS + 1


def test_two_services_with_64_connections_each_make_one_dense_log(place: Place) -> None:
    each = size(10, 300)
    with (
        place.serve() as first,
        place.serve() as second,
        Crowd(place, first.port, CONNECTIONS, name="first", each=each) as one,
        Crowd(place, second.port, CONNECTIONS, name="second", each=each) as other,
    ):
        seen = [one.join(), other.join()]

    acknowledged = [each for crowd in seen for each in crowd.acknowledged]
    assert [crowd.refused.total() + crowd.unanswered + crowd.not_admitted for crowd in seen] == [0, 0]
    assert sorted(each.index for each in acknowledged) == list(range(1, 2 * CONNECTIONS * each + 1))
    assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)
