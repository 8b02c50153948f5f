"""What goes wrong with streams: readers that do not read, keys that go, backups that come back."""

import signal
import sqlite3
from pathlib import Path

import pytest
from consent_sdk import ConsentClient
from sqlalchemy import make_url

from consent_service.operations.manage_tenants import revoke_key
from tests.followers.following import Following, Place
from tests.postgres import PostgresServer
from tests.servers import wait_until

SMALL = 4096


def test_a_reader_who_does_not_read_is_cut_off_and_nobody_else_is(own_place: Place) -> None:
    with own_place.serve(stream_write_seconds=0.5) as server:
        idle = own_place.follow(server, receive_buffer=SMALL)
        with own_place.follow(server) as reading:
            reading.until("head")
            last = own_place.decide_many(
                server, [f"s-{number}" for number in range(3000)], {"coupons": "granted"}
            )
            changes = reading.changes_until(last)

            own_place.wait_for_metric(server, "consent_stream_cut_total", 1)
            own_place.wait_for_metric(server, "consent_stream_subscribers", 1)

        received = idle.rest()
        idle.close()

    assert len(changes) == 3000
    assert not any(event.name == "head" and event.data["index"] == last for event in received)


def test_a_reader_who_was_cut_off_resumes_where_it_was(own_place: Place) -> None:
    with own_place.serve(stream_write_seconds=0.5) as server:
        with own_place.follow(server, receive_buffer=SMALL) as idle:
            last = own_place.decide_many(
                server, [f"s-{number}" for number in range(3000)], {"coupons": "granted"}
            )
            own_place.wait_for_metric(server, "consent_stream_cut_total", 1)
            seen = [event.id for event in idle.rest() if event.id is not None]

        with own_place.follow(server, after=seen[-1]) as resumed:
            rest = [event.id for event in resumed.changes_until(last)]

    assert seen + rest == list(range(1, last + 1))


def test_a_frozen_reader_costs_nobody_anything(own_place: Place) -> None:
    with own_place.serve() as server, own_place.follow(server) as reading:
        frozen = [own_place.follow(server, receive_buffer=SMALL) for _ in range(20)]
        for number in range(20):
            index = own_place.decide(server, f"c-{number}", {"coupons": "granted"})
            (change,) = reading.changes_until(index)
            assert change.data["consents"]["coupons"][0] == "granted"
        for following in frozen:
            following.close()
        own_place.wait_for_metric(server, "consent_stream_subscribers", 1)


def test_a_revoked_key_ends_its_streams_and_no_other(own_place: Place) -> None:
    other = own_place.new_key()
    tenant = own_place.tenant
    with (
        own_place.serve() as server,
        own_place.follow(server, key=other) as theirs,
        own_place.follow(server) as ours,
    ):
        ours.until("head")
        theirs.until("head")
        revoke_key(own_place.service.deployment, tenant, own_place.key_id(other))

        theirs.rest()
        with Following(server.url, other) as again:
            refused = again.status
        index = own_place.decide(server, "ana", {"coupons": "granted"})
        last = ours.changes_until(index)[-1].id

    assert (refused, last) == (401, index)


def test_a_process_has_as_many_streams_as_it_may(own_place: Place) -> None:
    with own_place.serve(stream_subscribers=2) as server:
        first, second = own_place.follow(server), own_place.follow(server)
        with own_place.follow(server) as third:
            status, retry_after = third.status, third.response.headers["Retry-After"]
        first.close()
        own_place.wait_for_metric(server, "consent_stream_subscribers", 1)

        with own_place.follow(server) as fourth:
            assert fourth.status == 200
        second.close()

    assert (status, int(retry_after) >= 1) == (503, True)


def test_whoever_was_away_too_long_is_told_to_begin_anew(own_place: Place) -> None:
    with own_place.serve(stream_replay=64) as server:
        last = own_place.decide_many(server, [f"s-{number}" for number in range(200)], {"coupons": "granted"})

        with own_place.follow(server, after=last - 100) as far, own_place.follow(server, after=10) as further:
            told = [following.next() for following in (far, further)]
            heads = [following.next() for following in (far, further)]
        with own_place.follow(server, after=last - 63) as near:
            made_up = near.until("head")

    assert [event and event.data for event in told] == [{"index": last, "why": "behind"}] * 2
    assert [event and event.data["index"] for event in heads] == [last, last]
    assert [event.id for event in made_up[:-1]] == list(range(last - 62, last + 1))


def test_a_stopping_service_ends_its_streams_at_once_and_the_next_goes_on(own_place: Place) -> None:
    with own_place.serve() as server:
        followings = [own_place.follow(server) for _ in range(10)]
        index = own_place.decide(server, "ana", {"coupons": "granted"})
        ends = [following.changes_until(index)[-1].id for following in followings]
        code = server.stop(timeout=20)  # A stream that went on would keep it for 30 s.
        rests = [following.rest() for following in followings]
        for following in followings:
            following.close()
    with own_place.serve() as server:
        withdrawn = own_place.decide(server, "ana", {"coupons": "denied"})
        with own_place.follow(server, after=ends[0]) as following:
            changes = following.changes_until(withdrawn)

    assert code in {0, -signal.SIGTERM}
    assert all(event.name == "head" for rest in rests for event in rest)
    assert [change.id for change in changes] == [withdrawn]


def test_to_the_sdk_neither_a_client_that_closes_nor_a_service_that_stops_breaks_a_stream(
    own_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with own_place.serve() as server:
        staying = ConsentClient(server.url, api_key=own_place.key)
        with ConsentClient(server.url, api_key=own_place.key) as leaving:
            assert leaving.wait_until_ready(20)
        said_on_closing = caplog.text
        assert staying.wait_until_ready(20)

        server.stop(timeout=20)

        wait_until(lambda: "ConnectError" in caplog.text, what="a client that comes back")
    staying.close()

    assert said_on_closing == ""
    assert "RemoteProtocolError" not in caplog.text


def test_a_killed_service_is_followed_on_at_another(own_place: Place) -> None:
    with own_place.serve() as other:
        with own_place.serve() as server:
            following = own_place.follow(server)
            index = own_place.decide(server, "ana", {"coupons": "granted"})
            seen = following.changes_until(index)[-1].id
            server.kill()
            following.rest()
            following.close()
        withdrawn = own_place.decide(other, "ana", {"coupons": "denied"})

        with own_place.follow(other, after=seen) as resumed:
            (change,) = resumed.changes_until(withdrawn)

    assert change.data["consents"]["coupons"][0] == "withdrawn"


def test_an_id_beyond_a_restored_backup_is_reset(
    own_place: Place, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with own_place.serve() as server:
        own_place.decide(server, "ana", {"coupons": "granted"})
    backup = back_up(own_place, postgres_server, tmp_path)
    with own_place.serve() as server:
        seen = own_place.decide_many(server, ["ben", "cleo", "dora"], {"coupons": "granted"})

    with own_place.serve(database_url=backup) as restored, own_place.follow(restored, after=seen) as back:
        reset, head = back.next(), back.next()

    assert reset is not None
    assert head is not None
    assert (reset.name, reset.data) == ("reset", {"index": 1, "why": "ahead"})
    assert (head.name, head.data["index"]) == ("head", 1)


def back_up(place: Place, postgres_server: PostgresServer, folder: Path) -> str:
    if place.service.deployment.database.dialect == "sqlite":
        copy = folder / "backup.db"
        source = sqlite3.connect(place.database_url.removeprefix("sqlite:///"))
        target = sqlite3.connect(copy)
        source.backup(target)
        target.close()
        source.close()
        return f"sqlite:///{copy}"
    place.service.deployment.database.close()  # A template may have no connections.
    name = make_url(place.database_url).database or ""
    return postgres_server.url(postgres_server.create_database(template=name))


def test_a_backup_restored_under_a_running_service_resets_its_followers(
    sqlite_url: str, tmp_path: Path
) -> None:
    place = Place(sqlite_url, tmp_path)
    database = Path(sqlite_url.removeprefix("sqlite:///"))
    with place.serve() as server, place.follow(server) as following:
        place.decide(server, "ana", {"coupons": "granted"})
        older = tmp_path / "older.db"
        source = sqlite3.connect(database)
        target = sqlite3.connect(older)
        source.backup(target)
        last = place.decide_many(server, ["ben", "cleo", "dora"], {"coupons": "granted"})
        following.changes_until(last)

        target.backup(source)  # The older pages are written over the newer ones, in a transaction.
        target.close()
        source.close()
        events = following.until("head", index=1)
    place.close()

    reset = next(event for event in events if event.name == "reset")
    assert reset.data == {"index": 0, "why": "restored"}
    told = events[events.index(reset) + 1 :]
    assert [event.id for event in told if event.name != "head"] == [1]


def test_a_service_without_its_database_proves_nothing(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    name = postgres_server.create_database()
    place = Place(postgres_server.url(name), tmp_path)
    with place.serve() as server, place.follow(server, patience=3) as following:
        following.until("head")
        place.close()
        postgres_server.drop_database(name)

        with pytest.raises(TimeoutError):
            following.rest()
