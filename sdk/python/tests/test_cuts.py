"""Two hundred cuts at random, of every kind, with a withdrawal in the dark: no gate may be open late."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from consent_sdk import ConsentClient
from live_service import TROUBLES, LiveService, a_live_service, in_a_child, wait_for

STALENESS = 1.0
CUTS = 200
WORKERS = 25


class Cuts:
    """One client and its service, cut again and again."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # repeatable, no secret
        self.late: list[str] = []
        self.recoveries: list[float] = []

    def run(self, count: int) -> None:
        with a_live_service() as service:
            for number in range(count):
                with ConsentClient(
                    service.url,
                    api_key="ck_test",
                    max_staleness=STALENESS,
                    miss_timeout=5.0,
                    preload=self.chance.random() < 0.5,
                ) as client:
                    self.cut_once(service, client, f"subject-{number}")

    def cut_once(self, service: LiveService, client: ConsentClient, subject: str) -> None:
        """Cut, withdraw, and look until the lease must have ended; then heal."""
        gate = client.gate("coupons")
        service.grant(subject)
        wait_for(lambda: client.wait_until_ready(1) and gate(subject), seconds=30)
        time.sleep(self.chance.uniform(0, 0.2))  # anywhere between two heartbeats
        kind = self.chance.choice([*TROUBLES, "hang up", "dead thread"])
        self.cut(service, client, kind)
        cut_at = time.monotonic()
        service.withdraw(subject)
        while time.monotonic() < cut_at + STALENESS + 0.3:
            asked_at = time.monotonic()
            if gate(subject) and asked_at > cut_at + STALENESS:
                self.late.append(kind)
            time.sleep(0.002)
        service.suffer(None)
        self.recoveries.append(wait_for(lambda: client.healthy, seconds=30))
        assert not gate(subject)

    def cut(self, service: LiveService, client: ConsentClient, kind: str) -> None:
        if kind == "dead thread":
            client._keeper.follower._stop.set()
            service.hang_up()
            wait_for(lambda: not client._keeper.follower._thread.is_alive())  # type: ignore[union-attr]
            client._keeper.follower._stop.clear()
            return
        if kind != "hang up":
            service.suffer(kind)
        if kind not in ("frozen", "closed", "reset", "garbage"):
            service.hang_up()


def test_no_gate_opens_past_the_staleness_in_200_random_cuts() -> None:
    runs = [Cuts(seed) for seed in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda run: run.run(CUTS // WORKERS), runs))

    recoveries = sorted(second for run in runs for second in run.recoveries)
    middle, longest = recoveries[len(recoveries) // 2], recoveries[-1]
    print(f"{len(recoveries)} cuts; recovery in {middle:.2f} s, in {longest:.2f} s at most")
    assert len(recoveries) == CUTS
    assert [kind for run in runs for kind in run.late] == []


def never_opens(gate: Callable[[str], bool]) -> bool:
    until, yes = time.monotonic() + STALENESS, 0
    while time.monotonic() < until:
        yes += gate("ana")
    return yes == 0


@pytest.mark.parametrize("round_", range(3))
def test_no_forked_child_opens_a_gate_on_what_its_parent_knew(round_: int) -> None:
    with a_live_service() as service:
        service.grant("ana")
        with ConsentClient(
            service.url, api_key="ck_test", max_staleness=STALENESS, miss_timeout=5.0
        ) as client:
            gate = client.gate("coupons")
            wait_for(lambda: client.wait_until_ready(1) and gate("ana"), seconds=30)
            service.suffer("closed" if round_ else None)
            service.withdraw("ana")
            assert in_a_child(partial(never_opens, gate))
    assert threading.active_count() < 100
