"""The primary dies under load and its synchronous standby takes over: nothing acknowledged is lost."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from consent_service.ledger.merkle import leaf_hash, root_hash
from consent_service.storage.ledger_store import read_leaves
from tests.faults.crowd import Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.installation import make_schema
from tests.postgres import PostgresServer
from tests.servers import wait_until
from tests.size import size

CONNECTIONS = size(8, 64)
BEFORE, AFTER = size(150, 3000), size(50, 3000)


class Pair:
    """A primary with a synchronous standby, and the URL that leads to whichever may be written to."""

    def __init__(self, first: Path, second: Path) -> None:
        self.primary = PostgresServer(first)
        name = self.primary.create_database()
        self.standby = self.primary.synchronous_standby(second)
        self.url = f"postgresql://postgres@/{name}?host={first}&host={second}&target_session_attrs=read-write"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with TemporaryDirectory(prefix="consent-a-") as first, TemporaryDirectory(prefix="consent-b-") as second:
        pair = Pair(Path(first), Path(second))
        yield pair
        pair.standby.stop()


def test_services_follow_a_promoted_standby_with_everything_they_acknowledged(
    pair: Pair, tmp_path: Path
) -> None:
    make_schema(pair.url)
    place = Place(pair.url, tmp_path)
    with (
        place.serve(lock_seconds=2) as one,
        place.serve(lock_seconds=2) as other,
        Crowd(place, one.port, CONNECTIONS, name="one") as first,
        Crowd(place, other.port, CONNECTIONS, name="other") as second,
    ):
        crowds = (first, second)
        for crowd in crowds:
            wait_until(crowd.when(BEFORE), what="the load to be under way")
        with place.service.deployment.reading(place.tenant) as scope:
            leaves = read_leaves(scope, 0, BEFORE)

        pair.primary.kill()
        pair.standby.promote()

        for crowd in crowds:
            there = len(crowd.seen.acknowledged)
            wait_until(crowd.when(there + AFTER), what="decisions at the new primary", timeout=120)
    seen = [crowd.seen for crowd in crowds]

    acknowledged = [each for each_seen in seen for each in each_seen.acknowledged]
    assert [each.not_admitted for each in seen] == [0, 0]
    assert {status for each in seen for status in each.refused} <= {503}
    assert sum(each.unanswered for each in seen) == 0
    assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)
    with place.service.deployment.reading(place.tenant) as scope:
        after = read_leaves(scope, 0, BEFORE)
    assert root_hash(hashes_of(after)) == root_hash(hashes_of(leaves))
    place.close()


def hashes_of(leaves: list[bytes]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]
