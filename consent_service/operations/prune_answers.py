"""Forget the answers to old idempotency keys."""

import threading

from consent_service.observability import logger
from consent_service.operations.deployment import Deployment
from consent_service.storage.idempotency_store import prune_answers
from consent_service.storage.subject_store import to_ms

_EVERY_SECONDS = 3600.0


def prune_idempotency(deployment: Deployment) -> int:
    """Delete the answers that are older than the settings keep them; return how many."""
    before_ms = to_ms(deployment.clock() - deployment.settings.idempotency_kept)
    pruned = 0
    for tenant in deployment.open_tenants():
        with deployment.writing(tenant) as scope:
            pruned += prune_answers(scope, before_ms=before_ms)
    return pruned


class AnswerPruner:
    """Prunes now and then, on a thread of its own, until it is closed."""

    def __init__(self, deployment: Deployment, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._deployment = deployment
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answer-pruner", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            try:
                prune_idempotency(self._deployment)
            except Exception as error:  # noqa: BLE001  # the next turn finds what this one left
                logger.error("pruning failed", error=type(error).__name__, exc_info=error)
