"""Runs the parts of a verification, in this process or in several, all in one snapshot of the database.

PostgreSQL names a snapshot for others to read. SQLite does not: there, the processes begin to read while this
one holds the writer's lock, for a moment, so that nothing changes between the first of them and the last.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar, cast

from consent_service.domain.subject import TenantName
from consent_service.errors import LedgerCorrupt, Unavailable
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_log import Report
from consent_service.settings import Settings
from consent_service.storage.ledger_store import read_head
from consent_service.storage.scope import TenantScope

Progress = Callable[[int, int], None]
"""Is told how many entries were verified, and how many there are."""
Found_co = TypeVar("Found_co", covariant=True)
_SPAWNING = multiprocessing.get_context("forkserver")  # The caller may have threads: no plain fork.
_CLOSING_SECONDS = 10
_WORTH_A_PROCESS = 25_000
"""Entries that take longer to verify than a process takes to start."""


class Part(Protocol[Found_co]):
    """A part of a verification. It and what it finds go to another process and back."""

    def verify(self, scope: TenantScope, tenant: Tenant, report: Report, /) -> Found_co:
        """Return what was found; raise `LedgerCorrupt`."""


class Verify(Protocol):
    """Yields what was found in each part, in their order; raises the `LedgerCorrupt` of the first bad one."""

    def __call__(self, parts: Sequence[Part[Found_co]], /) -> Iterator[Found_co]:
        """Verify all parts, or those up to the first bad one."""


def processes_worth(size: int) -> int:
    """Return in how many processes a log of this size is verified soonest: at most one a processor."""
    processors = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # The first is new in Python 3.13.
    return max(1, min(processors, size // _WORTH_A_PROCESS))


@contextmanager
def verifying_parts(
    deployment: Deployment, tenant: Tenant, processes: int, progress: Progress
) -> Iterator[tuple[TenantScope, Verify]]:
    """Yield a snapshot, and what verifies parts of it in so many processes, this one alone for 1."""
    with ExitStack() as stack:
        pipes = (
            [stack.enter_context(_worker(deployment.settings, tenant.name)) for _ in range(processes)]
            if processes > 1
            else []
        )
        for pipe in pipes:
            _receive(pipe)  # It has opened the database.
        with ExitStack() as begins:
            if pipes:
                begins.enter_context(deployment.database.unchanging())
            scope = stack.enter_context(deployment.reading(tenant))
            report = _counting(progress, read_head(scope).size)
            snapshot = scope.export_snapshot() if pipes else None
            for pipe in pipes:
                pipe.send(snapshot)
            for pipe in pipes:
                _receive(pipe)  # It has begun to read.
        if pipes:
            yield scope, _InWorkers(pipes, report)
        else:
            yield scope, _InTurn(scope, deployment.refreshed(scope, tenant), report)


def _counting(progress: Progress, total: int) -> Report:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    return report


class _InTurn:
    """Verifies one part after the other in this process."""

    def __init__(self, scope: TenantScope, tenant: Tenant, report: Report) -> None:
        self._scope = scope
        self._tenant = tenant
        self._report = report

    def __call__(self, parts: Sequence[Part[Found_co]], /) -> Iterator[Found_co]:
        for part in parts:
            yield part.verify(self._scope, self._tenant, self._report)


class _InWorkers:
    """Hands each part to the next process that is free."""

    def __init__(self, pipes: Sequence[Connection], report: Report) -> None:
        self._pipes = pipes
        self._report = report

    def __call__(self, parts: Sequence[Part[Found_co]], /) -> Iterator[Found_co]:
        waiting = iter(enumerate(parts))
        busy: dict[Connection, int] = {}
        found: dict[int, Found_co | LedgerCorrupt] = {}
        free, due = list(self._pipes), 0
        while due < len(parts):
            for pipe, (number, part) in zip(free, waiting, strict=False):
                pipe.send(part)
                busy[pipe] = number
            free = []
            for ready in wait(list(busy)):
                pipe = cast("Connection", ready)
                message = _receive(pipe)
                if isinstance(message, int):
                    self._report(message)
                else:
                    found[busy.pop(pipe)] = message
                    free.append(pipe)
            while due in found:
                result = found.pop(due)
                due += 1
                if isinstance(result, LedgerCorrupt):
                    raise result
                yield result


def _receive(pipe: Connection) -> Any:  # whatever `_work` sends
    try:
        return pipe.recv()
    except EOFError:
        raise Unavailable(
            "A process that verified a part of the ledger ended early: see what it wrote, and try again."
        ) from None


@contextmanager
def _worker(settings: Settings, tenant: TenantName) -> Iterator[Connection]:
    """Yield a pipe to a process that says when it is ready, and when it has begun to read."""
    ours, theirs = _SPAWNING.Pipe()
    process = _SPAWNING.Process(target=_work, args=(theirs, settings, tenant), daemon=True)
    with closing(ours):
        process.start()
        theirs.close()
        try:
            yield ours
        finally:
            process.terminate()  # It only reads.
            process.join(_CLOSING_SECONDS)
            process.close()


def _work(pipe: Connection, settings: Settings, name: TenantName) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Who asked for the verification ends it.
    with closing(Deployment.open(settings)) as deployment:
        pipe.send("ready")
        tenant = deployment.tenant_named(name)
        with deployment.reading(tenant, pipe.recv()) as scope:
            read_head(scope)
            pipe.send("begun")
            tenant = deployment.refreshed(scope, tenant)
            while True:
                part: Part[object] = pipe.recv()
                try:
                    pipe.send(part.verify(scope, tenant, pipe.send))
                except LedgerCorrupt as error:
                    pipe.send(error)
