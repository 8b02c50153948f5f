"""The one writer: many requests, one transaction, one checkpoint; answered after the commit is durable."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consent_service.errors import ConsentToolkitError, TransactionUndone, Unavailable
from consent_service.ledger.tail import Tail
from consent_service.observability import BATCH_SIZE, COMMIT_FAILURES, COMMIT_SECONDS
from consent_service.operations.batch import Batch, Request
from consent_service.operations.coalescer import Coalescer
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.storage.ledger_store import caught_up, lock_head

Answer = object
Answers = list[Answer | Exception]

_TIMES_AGAIN = 3
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Work:
    """What one caller wants appended to one tenant's log, in this order."""

    tenant_id: int
    requests: Sequence[Request]


class Committer:
    """Commits what is waiting together. A request that fails its check fails alone.

    A transaction that the database undid for another's sake is done again. One that it refuses is retried
    request by request, so that one cannot take others down; while the database is away every caller gets
    `DatabaseUnavailable`. `when_committed` is called after each commit, on the writer's thread.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._tails: dict[int, Tail] = {}
        self.when_committed: Callable[[], None] | None = None
        self._coalescer: Coalescer[Work, Answers] = Coalescer(
            "committer",
            self._commit_works,
            batch_limit=deployment.settings.batch_limit,
            queue_limit=deployment.settings.queue_limit,
            turn=deployment.database.turn,
            gathering=deployment.database.dialect == "postgresql",  # A commit costs it ten statements.
        )

    @property
    def waiting(self) -> int:
        """How many requests wait or are being committed."""
        return self._coalescer.waiting

    async def submit(self, tenant: Tenant, request: Request) -> Answer:
        """Commit one request and return its answer, or raise why it was refused."""
        (answer,) = await self._coalescer.ask(Work(tenant.id, (request,)))
        return _answer_or_raise(answer)

    async def submit_many(self, tenant: Tenant, requests: Sequence[Request]) -> Answers:
        """Commit many requests and return an answer or an exception for each, in order."""
        return await self._coalescer.ask(Work(tenant.id, requests), weight=max(1, len(requests)))

    def submit_blocking(self, tenant: Tenant, request: Request) -> Answer:
        """Commit one request from a thread without an event loop."""
        (answer,) = self._coalescer.ask_blocking(Work(tenant.id, (request,)))
        return _answer_or_raise(answer)

    def submit_many_blocking(self, tenant: Tenant, requests: Sequence[Request]) -> Answers:
        """Commit many requests from a thread without an event loop."""
        return self._coalescer.ask_blocking(Work(tenant.id, requests), weight=max(1, len(requests)))

    def close(self) -> None:
        """Take nothing new, commit everything that waits, stop."""
        self._coalescer.close()

    def _commit_works(self, works: Sequence[Work]) -> list[Answers | Exception]:
        by_tenant: dict[int, list[int]] = defaultdict(list)
        for position, work in enumerate(works):
            by_tenant[work.tenant_id].append(position)
        answers: list[Answers | Exception] = [[]] * len(works)
        for tenant_id, positions in by_tenant.items():
            results = iter(self._commit(tenant_id, [r for p in positions for r in works[p].requests]))
            for position in positions:
                answers[position] = [next(results) for _ in works[position].requests]
        return answers

    def _commit(self, tenant_id: int, requests: Sequence[Request]) -> Answers:
        if not requests:
            return []
        started = time.perf_counter()
        try:
            answers = self._commit_again_if_undone(tenant_id, requests)
        except Unavailable as error:
            COMMIT_FAILURES.inc()
            return [error] * len(requests)
        except Exception as error:  # noqa: BLE001  # one bad request must not fail the others
            COMMIT_FAILURES.inc()
            if len(requests) == 1:
                return [error]
            return [answer for request in requests for answer in self._commit(tenant_id, [request])]
        COMMIT_SECONDS.observe(time.perf_counter() - started)
        BATCH_SIZE.observe(len(requests))
        return answers

    def _commit_again_if_undone(self, tenant_id: int, requests: Sequence[Request]) -> Answers:
        tenant = self._deployment.tenant(tenant_id)
        for _ in range(_TIMES_AGAIN):
            try:
                return self._commit_together(tenant, requests)
            except TransactionUndone:
                COMMIT_FAILURES.inc()
                time.sleep(_PAUSE_S)  # So that the other one takes its turn first.
        return self._commit_together(tenant, requests)

    def _commit_together(self, tenant: Tenant, requests: Sequence[Request]) -> Answers:
        tail = self._tails.pop(tenant.id, None)  # Put back only after the commit: a failed one spoils it.
        with self._deployment.writing(tenant) as scope:
            head = lock_head(scope)
            tenant = self._deployment.refreshed(scope, tenant)
            tail = caught_up(scope, head, tail)
            batch = Batch(
                scope,
                tenant,
                head=head,
                tail=tail,
                book=self._deployment.book(scope, head),
                now=self._deployment.clock(),
            )
            batch.load(requests, answers_kept=self._deployment.settings.idempotency_kept)
            answers: Answers = []
            for request in requests:
                try:
                    answers.append(request.perform(batch))
                except ConsentToolkitError as error:
                    answers.append(error)
            batch.store()
        self._tails[tenant.id] = tail
        if self.when_committed is not None:
            self.when_committed()
        return answers


def _answer_or_raise(answer: Answer | Exception) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer
