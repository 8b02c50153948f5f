"""Whoever takes in every event ends up with what the gate says, wherever it began and however it was cut."""

import asyncio
import json
import random
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from consent_sdk._sse import EventReader
from consent_sdk._stream import read_change
from hypothesis import example, given
from hypothesis import strategies as st

from consent_service.domain.gate import Reason, Verdict
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.followers.changes import (
    NOBODY_REF,
    encode_change,
    leaf_in,
    leaf_name,
    read_events,
    subjects_in,
)
from consent_service.followers.snapshot import snapshot_lines
from consent_service.ledger.merkle import leaf_hash
from consent_service.operations.check_gate import GateQuestion
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.storage.ledger_store import read_leaves
from consent_service.storage.watch import Watch, watch
from tests.builders import a_notice
from tests.shop import Shop

PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance")
NAMES = ("ana", "ben", "cleo")


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(migrated_url, tmp_path / "home")
    yield shop
    shop.close()


class Fold:
    """A client's copy: made of a snapshot and of every event after it."""

    def __init__(self, shop: Shop, *, from_the_start: bool) -> None:
        self.shop = shop
        self.copy: dict[str, dict[str, list[Any]]] = {}
        self.next = 0
        if not from_the_start:
            self.load()

    def load(self) -> None:
        header, *rows, end = [
            json.loads(line) for line in snapshot_lines(self.shop.service.deployment, self.shop.tenant)
        ]
        assert end == {"end": True, "count": len(rows)}
        self.copy = {row["subject"]: row["consents"] for row in rows}
        self.next = header["head"]

    def take(self, limit: int) -> None:
        chunk = read_events(self.shop.service.deployment, self.shop.tenant, self.next, limit)
        for event in b"".join(chunk.events).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in event.split("\n"))
            data = json.loads(fields["data"])
            if fields["event"] == "reset":
                self.load()
                return
            if fields["event"] == "change":
                self.copy.setdefault(data["subject"], {}).update(states_in(data))
        self.next = chunk.stop

    def reasons(self, name: str) -> dict[str, str]:
        row = self.copy.get(self.shop.tenant.ref(self.shop.subject(name)), {})
        told = {purpose: row.get(purpose, ["never_asked", 0])[0] for purpose in PURPOSES}
        if set(told.values()) == {"subject_erased"}:
            return told
        # Of who came back only what she decided since is told: the rest is as closed, for an older reason.
        return {purpose: told[purpose].replace("subject_erased", "never_asked") for purpose in PURPOSES}


def gate(shop: Shop, name: str) -> dict[str, str]:
    question = GateQuestion(
        tenant_id=shop.tenant.id,
        subject=shop.subject(name),
        purposes=[PurposeKey(purpose) for purpose in PURPOSES],
    )
    answer = asyncio.run(shop.service.gate.ask(question))
    return {key: verdict.reason.value for key, verdict in answer.verdicts.items()}


def act(shop: Shop, chance: random.Random) -> None:
    name = chance.choice(NAMES)
    kind = chance.random()
    if kind < 0.75:
        chosen = chance.sample(PURPOSES, chance.randint(1, 4))
        shop.decide(name, {purpose: chance.choice(("granted", "denied")) for purpose in chosen})
    elif kind < 0.85:
        anonymous = f"anonymous-{chance.random()}"
        shop.decide(anonymous, {chance.choice(PURPOSES): chance.choice(("granted", "denied"))})
        link = LinkSubjects(anonymous=shop.subject(anonymous), known=shop.subject(name), actor="backend")
        shop.service.committer.submit_blocking(shop.tenant, link)
    elif kind < 0.93:
        shop.grant(name, "coupons")
        shop.erase(name)
    else:
        version = shop.notice.notice.purposes[PurposeKey("coupons")].version + 1
        shop.publish(a_notice({"purposes/coupons/version": version}))


@pytest.mark.parametrize("seed", range(4))
def test_every_client_ends_with_what_the_gate_says(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a test that can be run again
    folds = [Fold(shop, from_the_start=True)]
    for _ in range(40):
        act(shop, chance)
        if chance.random() < 0.1:
            folds.append(Fold(shop, from_the_start=False))
        chance.choice(folds).take(chance.randint(1, 5))

    for fold in folds:
        while fold.next < shop.rows("entry"):
            fold.take(chance.randint(1, 7))

    for name in NAMES:
        expected = gate(shop, name)
        assert [fold.reasons(name) for fold in folds] == [expected] * len(folds)


def test_every_entry_has_events_and_their_id(shop: Shop) -> None:
    for name in NAMES:
        shop.decide(name, {"coupons": "granted"})
    shop.decide("ana", {"coupons": "denied"})
    shop.erase("ben")

    chunk = read_events(shop.service.deployment, shop.tenant, 0, 100)

    assert chunk.complete
    assert len(chunk.events) == shop.rows("entry")
    for index, events in enumerate(chunk.events):
        assert ids_in(events) == [index]
        assert leaf_in(events) == leaf_name(chunk.leaves[index])


def test_what_tells_an_entry_from_another_historys_is_the_beginning_of_its_leaf_hash(shop: Shop) -> None:
    index = shop.decide("ana", {"coupons": "granted"})

    (event,) = read_events(shop.service.deployment, shop.tenant, index, 1).events

    with shop.service.deployment.reading(shop.tenant) as scope:
        (leaf,) = read_leaves(scope, index, index + 1)
    assert leaf_in(event) == b64encode(leaf_hash(leaf)).decode()[:8]


def test_a_decision_that_a_later_one_replaced_is_about_nobody(shop: Shop) -> None:
    first = shop.decide("ana", {"coupons": "granted"})
    second = shop.decide("ana", {"coupons": "denied"})

    chunk = read_events(shop.service.deployment, shop.tenant, first, 10)

    assert [subjects_in(event) for event in chunk.events] == [
        [NOBODY_REF],
        [shop.tenant.ref(shop.subject("ana"))],
    ]
    assert second == first + 1


UNTIL = datetime(2027, 5, 21, tzinfo=UTC)
REF = SubjectRef("s_" + "A" * 24)


def told(reasons: Mapping[str, Reason]) -> list[bytes]:
    """The events of one entry that left a subject so."""
    verdicts = {
        PurposeKey(key): Verdict(allowed=reason is Reason.GRANTED, reason=reason, valid_until=UNTIL)
        for key, reason in reasons.items()
    }
    return encode_change(10_000_000, [(REF, verdicts)], bytes(range(32))).split(b"\n\n")[:-1]


def states_in(data: dict[str, Any]) -> dict[str, list[Any]]:
    """Purpose to [reason, valid_until], in whichever form a change has them."""
    alike = {
        purpose: [reason, until] for reason, until, *purposes in data.get("alike", []) for purpose in purposes
    }
    return {**data.get("consents", {}), **alike}


def ids_in(events: bytes) -> list[int]:
    return [int(line.removeprefix(b"id: ")) for line in events.split(b"\n") if line.startswith(b"id: ")]


def test_a_withdrawal_of_one_purpose_is_told_in_the_documented_form() -> None:
    (event,) = told({"recommendations": Reason.WITHDRAWN})

    assert len(event) <= 150
    assert json.loads(event.split(b"data: ")[1])["consents"] == {
        "recommendations": ["withdrawn", int(UNTIL.timestamp())]
    }


def test_a_withdrawal_of_six_purposes_is_one_small_event() -> None:
    purposes = ("recommendations", "coupons", "support_context", "ai_assistance", "newsletter", "advertising")

    (event,) = told(dict.fromkeys(purposes, Reason.WITHDRAWN))

    assert len(event) + len(b"\n\n") <= 300
    assert set(states_in(json.loads(event.split(b"data: ")[1]))) == set(purposes)


KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=64)
LONGEST = {f"{number:-<64}": reason for number, reason in zip(range(100), cycle(Reason), strict=False)}


@given(st.dictionaries(KEYS, st.sampled_from(Reason), max_size=100))
@example(LONGEST)
@example(dict.fromkeys(LONGEST, Reason.PURPOSE_RETIRED))
def test_no_event_of_a_change_is_large_and_none_leaves_anything_out(reasons: dict[str, Reason]) -> None:
    events = told(reasons)

    assert max(len(event) for event in events) + len(b"\n\n") <= 300
    sdk = EventReader().feed(b"\n\n".join([*events, b""]))
    read = [read_change(event, 10_000_000) for event in sdk]
    states = {key: (state[0].value, state[1]) for change in read for key, state in change.consents.items()}
    assert states == {key: (reason.value, int(UNTIL.timestamp())) for key, reason in reasons.items()}
    assert {change.subject for change in read} == {REF}
    assert [ids_in(event) for event in events] == [[]] * (len(events) - 1) + [[10_000_000]]


@pytest.fixture
def watching(shop: Shop) -> Iterator[Watch]:
    watching = watch(shop.service.deployment.database)
    while watching.wait(0.05):
        continue  # What was committed before.
    yield watching
    watching.close()


def test_a_watch_notices_a_commit_and_nothing_else(shop: Shop, watching: Watch) -> None:
    before = watching.wait(0.05)
    shop.decide("ana", {"coupons": "granted"})

    noticed = watching.wait(5)

    assert (before, noticed) == (False, True)


def test_a_watch_is_woken_from_another_thread(watching: Watch) -> None:
    threading.Timer(0.05, watching.wake).start()

    assert watching.wait(10)
    assert not watching.wait(0.05)
