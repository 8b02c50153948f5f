"""The stream over HTTP: every change, in order, resumable, from whichever process it was committed in."""

import json
from base64 import b64decode
from datetime import datetime
from typing import Any

import httpx2
import pytest

from consent_service.operations.link_subjects import LinkSubjects
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.vault.relay_mac import relay_key
from tests.builders import a_notice
from tests.followers.following import Following, Place
from tests.servers import ConsentServer


def test_a_withdrawal_reaches_a_follower_as_one_small_event(place: Place, server: ConsentServer) -> None:
    granted = place.decide(server, "ana", {"coupons": "granted", "recommendations": "granted"})

    with place.follow(server, after=granted) as following:
        withdrawn = place.decide(server, "ana", {"coupons": "denied"})
        (change,) = following.changes_until(withdrawn)

    assert change.data["subject"] == place.reference(server, "ana")
    assert {key: reason for key, (reason, _) in change.data["consents"].items()} == {"coupons": "withdrawn"}
    assert len(change.raw) <= 300


def test_valid_until_is_the_gates_in_whole_seconds(place: Place, server: ConsentServer) -> None:
    with place.follow(server) as following:
        index = place.decide(server, "vera", {"coupons": "granted"})
        (change,) = following.changes_until(index)

    gate = place.post(server, "/v1/gate", {"purposes": ["coupons"]}, "vera").json()
    until = datetime.fromisoformat(gate["verdicts"]["coupons"]["valid_until"])
    assert change.data["consents"] == {"coupons": ["granted", int(until.timestamp())]}


def test_a_new_follower_is_told_the_head_at_once(place: Place, server: ConsentServer) -> None:
    index = place.decide(server, "hana", {"coupons": "granted"})

    with place.follow(server) as following:
        first = following.next()

    assert first is not None
    assert (first.name, first.data["index"]) == ("head", index)
    assert first.data["at"] >= 0


def test_the_heartbeat_carries_the_head_and_when_it_was_known(place: Place, server: ConsentServer) -> None:
    with place.follow(server) as following:
        beats = [following.until("head")[-1].data for _ in range(3)]

    assert len({beat["index"] for beat in beats}) == 1
    first, second, third = (beat["at"] for beat in beats)
    assert first < second < third
    assert 0.5 < third - second < 3


def test_a_follower_who_comes_back_misses_nothing_and_gets_nothing_twice(
    place: Place, server: ConsentServer
) -> None:
    indexes = [place.decide(server, f"ben-{number}", {"coupons": "granted"}) for number in range(6)]

    with place.follow(server, after=indexes[1]) as following:
        events = following.until("head")

    assert [event.id for event in events[:-1]] == indexes[2:]
    assert events[-1].data["index"] == indexes[-1]


def test_a_follower_who_comes_back_with_another_historys_entry_begins_anew(
    place: Place, server: ConsentServer
) -> None:
    index = place.decide(server, "bea", {"coupons": "granted"})
    with place.follow(server, after=index - 1) as following:
        (change,) = following.changes_until(index)

    with place.follow(server, after=index, leaf=change.data["leaf"]) as following:
        same = following.until("head")
    with place.follow(server, after=index, leaf="AAAAAAAA") as following:
        other = following.until("head")

    assert [event.name for event in same] == ["head"]
    assert [(event.name, event.data.get("why")) for event in other] == [("reset", "restored"), ("head", None)]
    assert other[-1].data["leaf"] == same[-1].data["leaf"] == change.data["leaf"]


def test_a_follower_from_before_the_first_entry_gets_every_id(place: Place, server: ConsentServer) -> None:
    last = place.decide(server, "cleo", {"coupons": "granted"})

    with place.follow(server, after=-1) as following:
        events = following.until("head", index=last)

    ids = [event.id for event in events if event.id is not None]
    assert ids == list(range(last + 1))


def test_what_another_process_commits_is_followed(place: Place, server: ConsentServer) -> None:
    with place.serve() as other, place.follow(server) as here, place.follow(other) as there:
        first = place.decide(other, "dora", {"coupons": "granted"})
        second = place.decide(server, "dora", {"coupons": "denied"})

        for following in (here, there):
            events = following.until("change")
            events += following.changes_until(second)
            changes = [event for event in events if event.name == "change"]
            assert [event.id for event in changes] == [first, second]
            assert changes[-1].data["consents"]["coupons"][0] == "withdrawn"


def test_an_id_of_one_process_is_good_at_another_at_once(place: Place, server: ConsentServer) -> None:
    with place.serve() as other:
        for number in range(5):
            index = place.decide(server, f"eva-{number}", {"coupons": "granted"})
            with place.follow(other, after=index) as following:
                first = following.next()
                assert first is not None
                assert (first.name, first.data["index"]) == ("head", index)


def test_a_link_tells_where_the_known_subject_stands(place: Place, server: ConsentServer) -> None:
    place.decide(server, "anonymous-7", {"coupons": "denied"})
    before = place.decide(server, "fay", {"coupons": "granted"})
    tenant = place.tenant

    with place.follow(server, after=before) as following:
        place.service.committer.submit_blocking(
            tenant,
            LinkSubjects(
                anonymous=tenant.subject("anonymous-7"), known=tenant.subject("fay"), actor="backend"
            ),
        )
        (change,) = following.changes_until(before + 1)

    assert change.data["subject"] == place.reference(server, "fay")
    assert change.data["consents"]["coupons"][0] == "withdrawn"


def test_an_erasure_closes_everything_of_the_subject(place: Place, server: ConsentServer) -> None:
    granted = place.decide(server, "gil", {"coupons": "granted"})
    reference = place.reference(server, "gil")

    with place.follow(server, after=granted - 1) as following:
        following.changes_until(granted)
        erased = httpx2.delete(
            f"{server.url}/v1/subject",
            headers={"Authorization": f"Bearer {place.key}", "Consent-Subject": "gil"},
        )
        (change,) = following.changes_until(erased.json()["index"])

    assert change.data["subject"] == reference
    assert {reason for reason, _ in change.data["consents"].values()} == {"subject_erased"}
    assert set(change.data["consents"]) >= {"recommendations", "coupons", "support_context", "ai_assistance"}


def test_an_erased_decision_is_an_entry_about_nobody(place: Place, server: ConsentServer) -> None:
    granted = place.decide(server, "hugo", {"coupons": "granted"})
    reference = place.reference(server, "hugo")
    erased = httpx2.delete(
        f"{server.url}/v1/subject",
        headers={"Authorization": f"Bearer {place.key}", "Consent-Subject": "hugo"},
    ).json()["index"]

    with place.serve() as fresh, place.follow(fresh, after=granted - 1) as following:
        first, second = following.changes_until(erased)

    assert (first.data["subject"], first.data["consents"]) == ("-", {})
    assert second.data["subject"] == reference


def test_a_publication_that_changes_verdicts_resets_and_other_words_do_not(own_place: Place) -> None:
    with own_place.serve() as server, own_place.follow(server) as following:
        following.until("head")
        reworded = own_place.publish(a_notice({"purposes/coupons/benefit/en": "Other words."}))
        quiet = following.until("head", index=reworded)
        raised = own_place.publish(a_notice({"purposes/coupons/version": 2}))
        loud = following.until("head", index=raised)

    assert [event.name for event in quiet if event.name != "head"] == ["notice"]
    reset, notice = (event for event in loud if event.name != "head")
    assert (notice.name, notice.id, notice.data["purposes"]["coupons"]) == ("notice", raised, 2)
    assert notice.data["notice"] == own_place.notice
    assert (reset.name, reset.data) == ("reset", {"index": raised - 1, "why": "notice"})


@pytest.mark.parametrize("after", ["x", "1.5", "-", "9" * 40, "+1", "--1"])
def test_a_last_event_id_that_is_no_index_is_refused(place: Place, server: ConsentServer, after: str) -> None:
    headers = {"Authorization": f"Bearer {place.key}", "Last-Event-ID": after}

    answer = httpx2.get(f"{server.url}/v1/stream", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-input")


def test_only_a_backend_may_follow(place: Place, server: ConsentServer) -> None:
    auditor = place.new_key(Role.AUDITOR)
    statuses = []
    for key in (auditor, "ck_unknown"):
        with Following(server.url, key) as following:
            statuses.append(following.status)

    assert statuses == [403, 401]


def test_a_stream_carries_its_own_tenants_changes_only(place: Place, server: ConsentServer) -> None:
    deployment = place.service.deployment
    other = create_tenant(deployment, "other")
    key = create_api_key(deployment, other, Role.BACKEND).key
    with place.follow(server, key=key, after=-1) as theirs, place.follow(server) as ours:
        theirs.until("head", index=-1)
        index = place.decide(server, "ana", {"coupons": "granted"})
        ours.changes_until(index)
        place.service.committer.submit_blocking(other, PublishNotice(notice=a_notice()))
        events = theirs.until("head", index=0)

    assert [event.name for event in events if event.name != "head"] == ["reset", "notice"]


def test_only_a_backend_gets_the_key_of_its_relay(place: Place, server: ConsentServer) -> None:
    answers = {
        role: httpx2.get(f"{server.url}/v1/relay", headers={"Authorization": f"Bearer {place.new_key(role)}"})
        for role in (Role.BACKEND, Role.AUDITOR)
    }

    body = answers[Role.BACKEND].json()
    assert (body["tenant"], body["log"]) == ("default", place.tenant.origin)
    assert b64decode(body["key"]) == relay_key(place.tenant.reference_key)
    assert answers[Role.BACKEND].headers["Cache-Control"] == "no-store"
    assert answers[Role.AUDITOR].status_code == 403


def test_a_snapshot_and_the_stream_after_it_are_everything(place: Place, server: ConsentServer) -> None:
    place.decide(server, "ina", {"coupons": "granted"})
    head, lines, end = snapshot(place, server)
    withdrawn = place.decide(server, "ina", {"coupons": "denied"})

    with place.follow(server, after=head["head"] - 1) as following:
        (change,) = following.changes_until(withdrawn)

    reference = place.reference(server, "ina")
    assert lines[reference]["coupons"][0] == "granted"
    assert (change.data["subject"], change.data["consents"]["coupons"][0]) == (reference, "withdrawn")
    assert end == {"end": True, "count": len(lines)}


def test_a_snapshot_begun_before_a_publication_is_not_given_after_it(own_place: Place) -> None:
    with own_place.serve() as server, own_place.follow(server) as following:
        snapshot(own_place, server)
        raised = own_place.publish(a_notice({"purposes/coupons/version": 2}))
        following.until("reset")

        header, _, _ = snapshot(own_place, server)

    assert header["head"] > raised
    assert header["purposes"]["coupons"] == 2


def snapshot(
    place: Place, server: ConsentServer
) -> tuple[dict[str, Any], dict[str, dict[str, list[str]]], dict[str, object]]:
    answer = httpx2.get(
        f"{server.url}/v1/snapshot", headers={"Authorization": f"Bearer {place.key}"}, timeout=20
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    header, *rows, end = [json.loads(line) for line in answer.text.splitlines()]
    return header, {row["subject"]: row["consents"] for row in rows}, end
