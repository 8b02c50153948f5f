"""Forget the answers to old idempotency keys."""

from datetime import timedelta

from consent_service.operations.deployment import Deployment
from consent_service.storage.idempotency_store import prune_answers
from consent_service.storage.subject_store import to_ms


def prune_idempotency(deployment: Deployment) -> int:
    """Delete the answers that are older than the settings keep them; return how many."""
    keep = timedelta(seconds=deployment.settings.idempotency_seconds)
    before_ms = to_ms(deployment.clock() - keep)
    pruned = 0
    for tenant in deployment.tenants():
        with deployment.writing(tenant) as scope:
            pruned += prune_answers(scope, before_ms=before_ms)
    return pruned
