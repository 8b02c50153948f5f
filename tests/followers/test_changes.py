"""Whoever takes in every event ends up with what the gate says, wherever it began and however it was cut."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consent_service.domain.gate import Reason, Verdict
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.followers.changes import NOBODY_REF, encode_change, read_events, subjects_in
from consent_service.followers.snapshot import snapshot_lines
from consent_service.operations.check_gate import GateQuestion
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.storage.watch import Watch, watch
from tests.builders import a_notice
from tests.shop import Shop

PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance")
NAMES = ("ana", "ben", "cleo")


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(database_url, tmp_path / "home")
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
                self.copy.setdefault(data["subject"], {}).update(data["consents"])
        self.next = chunk.stop

    def reasons(self, name: str) -> dict[str, str]:
        row = self.copy.get(self.shop.tenant.ref(self.shop.subject(name)), {})
        told = {purpose: row.get(purpose, ["never_asked", 0])[0] for purpose in PURPOSES}
        # The gate has forgotten whom it erased.
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
    for index, event in enumerate(chunk.events):
        assert event.startswith(f"id: {index}\n".encode())


def test_a_decision_that_a_later_one_replaced_is_about_nobody(shop: Shop) -> None:
    first = shop.decide("ana", {"coupons": "granted"})
    second = shop.decide("ana", {"coupons": "denied"})

    chunk = read_events(shop.service.deployment, shop.tenant, first, 10)

    assert [subjects_in(event) for event in chunk.events] == [
        [NOBODY_REF],
        [shop.tenant.ref(shop.subject("ana"))],
    ]
    assert second == first + 1


def test_an_event_is_small() -> None:
    purposes = ("recommendations", "coupons", "support_chat", "newsletter", "analytics", "ads")
    until = datetime(2027, 5, 21, tzinfo=UTC)
    withdrawn = Verdict(allowed=False, reason=Reason.WITHDRAWN, valid_until=until)
    one = {PurposeKey("recommendations"): withdrawn}
    ref = SubjectRef("s_" + "A" * 24)

    small = encode_change(10_000_000, ref, one)
    five = encode_change(10_000_000, ref, dict.fromkeys(map(PurposeKey, purposes[:5]), withdrawn))

    assert len(small) <= 150
    assert len(five) <= 300


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
