"""The running service: a deployment with its committer, its gate reader and its credentials."""

from contextlib import suppress

from consent_service.errors import Unavailable
from consent_service.operations.check_gate import GateReader
from consent_service.operations.committer import Committer
from consent_service.operations.credentials import Credentials
from consent_service.operations.deployment import Clock, Deployment, utc_now
from consent_service.operations.keep_evidence import default_evidence_policy
from consent_service.operations.manage_tenants import require_tenant
from consent_service.operations.prune_answers import AnswerPruner, prune_idempotency
from consent_service.operations.record_uses import UsesRecorder
from consent_service.operations.tally_ledger import LedgerTally
from consent_service.settings import Settings


class ConsentService:
    """Everything a process needs to answer requests; `close` drains what was accepted."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.settings = deployment.settings
        self.committer = Committer(deployment)
        self.gate = GateReader(deployment)
        self.uses = UsesRecorder(deployment, limit=deployment.settings.uses_limit)
        self.credentials = Credentials(deployment)
        self.tally = LedgerTally(deployment)
        self._pruner = AnswerPruner(deployment)

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock = utc_now) -> "ConsentService":
        """Open the deployment the settings name, with its default tenant; see `Deployment.open`."""
        default_evidence_policy(settings)  # A key that is none has to show now, not at the first erasure.
        deployment = Deployment.open(settings, clock=clock)
        if not deployment.tenants():
            require_tenant(deployment, settings.tenant)
        with suppress(Unavailable):  # A database that takes no writes now may take them later.
            prune_idempotency(deployment)
        return cls(deployment)

    def close(self) -> None:
        """Commit and answer everything that was accepted, then close the database."""
        self.committer.close()
        self.gate.close()
        self.uses.close()
        self._pruner.close()
        self.deployment.close()
