"""A shop with a running service in this process: its clock, its subjects' decisions, its profiles.

The service is the real one on a real database; only time is the test's.
"""

from collections.abc import Mapping
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import text

from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import Notice
from consent_service.domain.profile import Attributes, ProfileValue, parse_changes
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import PurposeClosed
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.keep_evidence import evidence_policy
from consent_service.operations.manage_tenants import create_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_profile import ProfileQuestion, read_profiles
from consent_service.operations.record_decision import DecisionAnswer, RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Subject, Tenant
from consent_service.operations.update_profile import update_profile
from consent_service.operations.verify_ledger import VerifiedLedger, verify_ledger
from consent_service.settings import Settings
from consent_service.storage.subject_store import find_known
from tests.builders import a_notice


class Shop:
    """A tenant, and short words for what its backend does. `now` moves only when a test moves it."""

    def __init__(self, database_url: str, home: Path, **settings: object) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.settings = Settings(
            home=home,
            database_url=SecretStr(database_url),
            **settings,  # type: ignore[arg-type]  # pydantic validates them
        )
        self.service = ConsentService.open(self.settings, clock=lambda: self.now)
        self.tenant_name = "default"
        self.notice = self.publish(a_notice())

    def beside(self, name: str) -> "Shop":
        """Another tenant, of this name, of the same service."""
        create_tenant(self.service.deployment, name)
        other = copy(self)
        other.tenant_name = name
        other.publish(a_notice())
        return other

    @property
    def tenant(self) -> Tenant:
        """The tenant, with its keys of now."""
        return self.service.deployment.tenant_named(self.tenant_name)

    def close(self) -> None:
        """Stop the service."""
        self.service.close()

    def reopen(self) -> None:
        """Stop the service and start it again."""
        self.service.close()
        self.service = ConsentService.open(self.settings, clock=lambda: self.now)

    def pass_time(self, span: timedelta) -> None:
        """Let time pass."""
        self.now += span

    def publish(self, notice: Notice) -> PublishedNotice:
        """Publish a notice: decisions are made under it from then on."""
        published = self.service.committer.submit_blocking(self.tenant, PublishNotice(notice=notice))
        assert isinstance(published, PublishedNotice)
        self.notice = published
        return published

    def subject(self, name: str) -> Subject:
        """The subject the shop calls `name`."""
        return self.tenant.subject(name)

    def subject_id(self, name: str) -> int:
        """The number of the row of a subject who decided something."""
        blind_index = self.subject(name).blind_index
        with self.service.deployment.reading(self.tenant) as scope:
            return find_known(scope, [blind_index])[blind_index][0]

    def decide(self, name: str, choices: Mapping[str, str]) -> int:
        """Record a decision and return its index."""
        answer = self.service.committer.submit_blocking(self.tenant, self.decision(name, choices))
        assert isinstance(answer, DecisionAnswer)
        return answer.index

    def decision(self, name: str, choices: Mapping[str, str]) -> RecordDecision:
        """A decision of a subject under the current notice, now."""
        return RecordDecision(
            subject=self.subject(name),
            decision=Decision(
                notice=self.notice.digest,
                choices={PurposeKey(key): Choice(choice) for key, choice in choices.items()},
                decided_at=self.now,
                method="save",
                source="banner",
                language="en",
                actor="backend",
            ),
            limits=self.settings.decision_limits,
        )

    def grant(self, name: str, *purposes: str) -> int:
        """The subject grants these purposes."""
        return self.decide(name, dict.fromkeys(purposes, "granted"))

    def deny(self, name: str, *purposes: str) -> int:
        """The subject denies these purposes."""
        return self.decide(name, dict.fromkeys(purposes, "denied"))

    def erase(self, name: str) -> ErasureAnswer:
        """Erase a subject."""
        answer = self.service.committer.submit_blocking(
            self.tenant,
            EraseSubject(
                subject=self.subject(name), evidence=evidence_policy(self.service.deployment, self.tenant)
            ),
        )
        assert isinstance(answer, ErasureAnswer)
        self.service.deployment.database.truncate_wal()
        return answer

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        with self.service.deployment.database.reading() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608 - a name

    def run(self, statement: str, **params: object) -> None:
        """Change stored rows behind the service's back; at least one has to change."""
        with self.service.deployment.database.writing() as connection:
            assert connection.execute(text(statement), params).rowcount > 0

    def write(
        self,
        name: str,
        changes: Mapping[str, Mapping[str, ProfileValue] | None],
        *,
        derived_for: str | None = None,
    ) -> list[str]:
        """Change a subject's profile."""
        purpose = None if derived_for is None else PurposeKey(derived_for)
        subject, parsed = self.subject(name), parse_changes(changes)
        return update_profile(self.service.deployment, self.tenant, subject, parsed, derived_for=purpose)

    def read(self, name: str, purpose: str, *, fields: frozenset[str] | None = None) -> Attributes:
        """Read a subject's profile through a purpose; raise `PurposeClosed`."""
        question = ProfileQuestion(subjects=[self.subject(name)], purpose=PurposeKey(purpose), fields=fields)
        [answer] = read_profiles(self.service.deployment, self.tenant, question)
        if isinstance(answer, PurposeClosed):
            raise answer
        return answer.attributes

    def reason(self, name: str, purpose: str) -> str:
        """Why a subject's profile does not open through this purpose; `granted` if it does."""
        try:
            self.read(name, purpose)
        except PurposeClosed as closed:
            return closed.reason
        return "granted"

    def check_ledger(self) -> VerifiedLedger:
        """Verify the whole ledger, as `consent ledger verify` does."""
        return verify_ledger(self.service.deployment, self.tenant)
