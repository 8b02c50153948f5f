"""A request that keeps the committer busy until it is let go: what others submit meanwhile waits together."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from consent_service.errors import ConsentToolkitError, LinkRefused
from consent_service.operations.batch import Batch
from consent_service.operations.tenant import Subject
from tests.installation import Installation
from tests.servers import wait_until


class Blocker:
    """Holds the committer's thread inside a transaction, then is refused and leaves no trace."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()

    @property
    def subjects(self) -> Sequence[Subject]:
        return ()

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        return ()

    def perform(self, batch: Batch) -> object:
        assert batch.size > 0
        self.reached.set()
        assert self.released.wait(30), "nobody let the blocker go"
        raise LinkRefused("A blocker is always refused.")


class BusyCommitter:
    """While the block lasts the committer of an installation is busy; `call` runs something on a thread."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._pool = ThreadPoolExecutor(max_workers=64)
        self._blocker = Blocker()

    def __enter__(self) -> Self:
        installation = self._installation
        self._blocked = self._pool.submit(
            installation.service.committer.submit_blocking, installation.tenant, self._blocker
        )
        assert self._blocker.reached.wait(30), "the committer never came to the blocker"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._pool.shutdown()

    def call(self, *arguments: object, **named: object) -> "Future[object]":
        """Decide on a thread of its own, and return when that decision waits in the queue."""
        before = self._installation.service.committer.waiting
        future: Future[object] = self._pool.submit(self._installation.decide, *arguments, **named)  # type: ignore[arg-type]  # what decide takes
        wait_until(
            lambda: self._installation.service.committer.waiting > before or future.done(),
            what="the decision to wait",
        )
        return future

    def release(self) -> None:
        """Let the committer go on."""
        self._blocker.released.set()
        assert isinstance(self._blocked.exception(30), ConsentToolkitError)
