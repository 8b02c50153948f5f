"""What the tests of every rotation share: customers, key versions, a process that is killed, a crowd."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consent_service.storage.vault_store import key_versions
from tests.forked import run
from tests.shop import Shop

SIZE = {"household": {"size": 2}}


def settle(shop: Shop, names: Sequence[str]) -> None:
    """Let customers grant coupons, and store something of each."""
    for name in names:
        shop.grant(name, "coupons")
        shop.write(name, SIZE)


def versions(shop: Shop, kind: str) -> list[int]:
    """The stored versions of a kind of key."""
    with shop.service.deployment.reading(shop.tenant) as scope:
        return sorted(version for purpose, version in key_versions(scope) if purpose == kind)


def die_rotating(shop: Shop, what: str, step: str) -> None:
    """Rotate in another process, which ends itself at a step as by `kill -9` (see `killed_rotation.py`)."""
    url = shop.settings.resolved_database_url.get_secret_value()
    killed = run(
        [sys.executable, str(Path(__file__).with_name("killed_rotation.py")), what, step],
        environment={"CONSENT_HOME": str(shop.settings.home), "CONSENT_DATABASE_URL": url},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@contextmanager
def customers_come_and_go(
    shop: Shop, names: Sequence[str], each_time: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Let two threads read, withdraw, grant and write meanwhile; what fails there fails the test."""
    failures: list[BaseException] = []
    done = threading.Event()

    def work(part: int) -> None:
        try:
            while not done.is_set():
                for name in names[part::2]:
                    assert shop.read(name, "coupons") == SIZE
                    shop.deny(name, "coupons")
                    settle(shop, [name])
                each_time()
        except BaseException as error:  # noqa: BLE001 - the test says which
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
