"""A ledger restored from an older backup that has grown again: whoever followed the lost one is told."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consent_service.followers.channel import Subscriber
from consent_service.followers.snapshot import snapshot_lines
from consent_service.followers.stream import Streams
from tests.shop import Shop

LOST = 2
"""The entry that only the lost ledger has: Ana withdraws."""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop on SQLite whose ledger is lost at the end of the line: `take_the_place` puts another there."""
    shop = Shop(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "home")
    shop.grant("ana", "coupons")
    replace(tmp_path / "shop.db", tmp_path / "backup.db")
    for name in ("ben", "cleo", "dora"):
        shop.grant(name, "coupons")
    replace(tmp_path / "shop.db", tmp_path / "grown.db")
    shop.service.close()
    replace(tmp_path / "backup.db", tmp_path / "shop.db")
    shop.reopen()
    assert shop.deny("ana", "coupons") == LOST
    yield shop
    shop.close()


def replace(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as ours, closing(sqlite3.connect(target)) as theirs:
        ours.backup(theirs)


def take_the_place(folder: Path) -> None:
    """Put the ledger there that has Ben, Cleo and Dora from entry 2 on, at once."""
    replace(folder / "grown.db", folder / "shop.db")


async def heard(subscriber: Subscriber, until: str) -> list[tuple[str, dict[str, Any]]]:
    """The events up to the first of this name."""
    events: list[tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(20):
        while not any(name == until for name, _ in events):
            data = await subscriber.next()
            assert data is not None
            for event in data.decode().split("\n\n")[:-1]:
                fields = dict(line.split(": ", 1) for line in event.split("\n"))
                events.append((fields["event"], json.loads(fields["data"])))
    return events


def test_who_was_away_meanwhile_begins_anew(shop: Shop, tmp_path: Path) -> None:
    async def follow() -> list[list[tuple[str, dict[str, Any]]]]:
        streams = Streams(shop.service)
        before = await streams.subscribe(shop.tenant, None, lambda: True)
        ((_, head),) = await heard(before, "head")
        streams.leave(before)
        assert head["index"] == LOST
        comebacks = []
        for leaf in (head["leaf"], None):
            again = await streams.subscribe(shop.tenant, LOST, lambda: True, leaf=leaf)
            comebacks.append(await heard(again, "head"))
            streams.leave(again)
        await asyncio.to_thread(streams.close)

        await asyncio.to_thread(take_the_place, tmp_path)

        streams = Streams(shop.service)
        again = await streams.subscribe(shop.tenant, LOST, lambda: True, leaf=head["leaf"])
        comebacks.append(await heard(again, "head"))
        await asyncio.to_thread(streams.close)
        return comebacks

    same, silent, other = asyncio.run(follow())

    assert [name for name, _ in same] == [name for name, _ in silent] == ["head"]
    assert [name for name, _ in other] == ["reset", "head"]
    assert other[0][1] == {"index": 4, "why": "restored"}
    assert other[1][1]["index"] == 4


def test_who_follows_meanwhile_is_told_too(shop: Shop, tmp_path: Path) -> None:
    async def follow() -> list[tuple[str, dict[str, Any]]]:
        streams = Streams(shop.service)
        subscriber = await streams.subscribe(shop.tenant, None, lambda: True)
        await heard(subscriber, "head")
        await asyncio.to_thread(take_the_place, tmp_path)
        events = await heard(subscriber, "reset")
        while events[-1][0] != "head":
            events += await heard(subscriber, "head")
        await asyncio.to_thread(streams.close)
        return events

    events = asyncio.run(follow())

    reset = [name for name, _ in events].index("reset")
    assert events[reset][1] == {"index": 3, "why": "restored"}
    assert [name for name, _ in events[reset + 1 :]] == ["change", "head"]
    header = json.loads(next(snapshot_lines(shop.service.deployment, shop.tenant)))
    assert (events[-1][1]["index"], events[-1][1]["leaf"]) == (header["head"] - 1, header["leaf"])
