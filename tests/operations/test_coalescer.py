"""Whom a batch waits for."""

import threading
from collections.abc import Sequence
from itertools import islice

import pytest

from consent_service.operations.coalescer import Coalescer


class _Bell:
    """Handles whatever it is given, the first batch once it is rung; says when so many are handled."""

    def __init__(self, expected: int) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.rung, self.done = threading.Event(), threading.Event(), threading.Event()
        self._left = expected

    def handle(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.rung.wait(10)
        self._left -= len(items)
        if self._left == 0:
            self.done.set()
        return items


def _asker(asked: Coalescer[int, int], item: int) -> threading.Thread:
    """Ask from a thread of its own; return it once the item is in the queue."""
    before = asked.waiting
    thread = threading.Thread(target=asked.ask_blocking, args=(item,))
    thread.start()
    while asked.waiting == before:
        thread.join(0.001)
    return thread


@pytest.mark.parametrize(
    ("gathering", "waiting", "late", "expected"),
    [
        (True, 2, 2, [[0], [1, 2, 3, 4]]),
        (True, 2, 20, [[0], [*range(1, 13)], [*range(13, 23)]]),  # It looks ten times at most.
        (True, 0, 2, [[0]]),
        (True, 25, 2, [[0], [*range(1, 26)]]),
        (False, 2, 2, [[0], [1, 2]]),
    ],
    ids=["few", "they come and come", "nobody else", "many", "not gathering"],
)
def test_where_few_ask_a_batch_waits_for_those_just_answered(
    monkeypatch: pytest.MonkeyPatch, *, gathering: bool, waiting: int, late: int, expected: list[list[int]]
) -> None:
    bell = _Bell(sum(map(len, expected)))
    coming = iter(range(waiting + 1, waiting + 1 + late))
    threads: list[threading.Thread] = []
    monkeypatch.setattr(
        "time.sleep", lambda _: threads.extend(_asker(asked, item) for item in islice(coming, 1))
    )
    asked: Coalescer[int, int] = Coalescer(
        "test", bell.handle, batch_limit=100, queue_limit=100, gathering=gathering
    )
    threads.append(_asker(asked, 0))
    assert bell.begun.wait(10)
    threads += [_asker(asked, item) for item in range(1, 1 + waiting)]
    bell.rung.set()
    assert bell.done.wait(10)
    asked.close()
    assert bell.batches == expected
    for thread in threads:
        thread.join(10)
