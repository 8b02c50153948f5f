"""One installation under test: a service on the test's database, with a clock that stands still."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from pydantic import SecretStr

from consent_service.domain.decision import Decision
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import PurposeKey
from consent_service.operations.link_subjects import LinkAnswer, LinkSubjects
from consent_service.operations.manage_tenants import create_tenant, require_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_history import Consents, CurrentConsent, read_consents
from consent_service.operations.record_decision import DecisionAnswer, IdempotencyKey, RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_ledger import VerifiedLedger, verify_ledger
from consent_service.settings import Settings
from consent_service.storage.engine import Database
from consent_service.storage.schema import migrate
from tests.builders import NOW, ChoiceName, a_decision, a_notice


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        """Move on by `timedelta(**duration)`."""
        self.now += timedelta(**duration)


def check_ledger(service: ConsentService) -> list[VerifiedLedger]:
    """Verify every tenant's ledger by the code of `consent ledger verify`; raise at the first bad entry."""
    return [verify_ledger(service.deployment, tenant) for tenant in service.deployment.tenants()]


def make_schema(database_url: str) -> None:
    """Bring an empty database to the program's schema."""
    database = Database(database_url)
    try:
        migrate(database)
    finally:
        database.close()


class Installation:
    """An opened service with its default tenant; the methods do one thing and give its answer."""

    def __init__(
        self,
        *,
        home: Path,
        database_url: str,
        clock: StoppedClock | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.home = home
        self.clock = clock or StoppedClock()
        self.database_url = database_url
        given: dict[str, Any] = dict(settings or {})
        self.settings = Settings(home=home, database_url=SecretStr(database_url), **given)
        self.service = ConsentService.open(self.settings, clock=self.clock)
        self.tenant: Tenant = require_tenant(self.service.deployment, "default")

    def close(self) -> None:
        """Drain and close."""
        self.service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, notice: Notice | None = None, *, tenant: Tenant | None = None) -> PublishedNotice:
        """Publish a notice, the example by default."""
        published = self.service.committer.submit_blocking(
            tenant or self.tenant, PublishNotice(notice=notice or a_notice())
        )
        assert isinstance(published, PublishedNotice)
        return published

    @property
    def current(self) -> PublishedNotice:
        """The current notice of the default tenant."""
        return self.current_of(None)

    def current_of(self, tenant: Tenant | None) -> PublishedNotice:
        """Return the current notice of a tenant, the default one for `None`."""
        with self.service.deployment.reading(tenant or self.tenant) as scope:
            return self.service.deployment.book(scope).require_current()

    def request(
        self,
        subject: str,
        choices: Mapping[str, ChoiceName] | None = None,
        *,
        decision: Decision | None = None,
        notice: str | None = None,
        key: str | None = None,
        body: bytes = b"",
        tenant: Tenant | None = None,
    ) -> RecordDecision:
        """Return the request that records a decision of now, under the current notice by default."""
        return RecordDecision(
            subject=(tenant or self.tenant).subject(subject),
            decision=decision
            or a_decision(
                choices, notice=notice or self.current_of(tenant).digest, decided_at=self.clock.now
            ),
            limits=self.settings.decision_limits,
            idempotency=None if key is None else an_idempotency_key(key, body),
        )

    def decide(
        self,
        subject: str,
        choices: Mapping[str, ChoiceName] | None = None,
        *,
        decision: Decision | None = None,
        key: str | None = None,
        body: bytes = b"",
        tenant: Tenant | None = None,
    ) -> DecisionAnswer:
        """Record a decision of now under the current notice."""
        request = self.request(subject, choices, decision=decision, key=key, body=body, tenant=tenant)
        answer = self.service.committer.submit_blocking(tenant or self.tenant, request)
        assert isinstance(answer, DecisionAnswer)
        return answer

    def another_tenant(self, name: str) -> Tenant:
        """Create a tenant with the example notice."""
        tenant = create_tenant(self.service.deployment, name)
        self.publish(tenant=tenant)
        return tenant

    def decide_all(self, requests: Sequence[RecordDecision]) -> list[object]:
        """Record decisions in one transaction; return an answer or an exception for each."""
        return self.service.committer.submit_many_blocking(self.tenant, requests)

    def link(self, anonymous: str, known: str) -> LinkAnswer:
        """Link an anonymous subject to a known one."""
        answer = self.service.committer.submit_blocking(
            self.tenant,
            LinkSubjects(
                anonymous=self.tenant.subject(anonymous), known=self.tenant.subject(known), actor="backend"
            ),
        )
        assert isinstance(answer, LinkAnswer)
        return answer

    def consents(self, subject: str, *, as_of: datetime | None = None) -> Consents:
        """Return the subject's consents now, or at a past moment."""
        return read_consents(self.service.deployment, self.tenant, self.tenant.subject(subject), as_of=as_of)

    def consent(self, subject: str, purpose: str) -> CurrentConsent:
        """Return the subject's consent for one purpose now."""
        return self.consents(subject).consents[PurposeKey(purpose)]

    def reasons(self, subject: str, *, as_of: datetime | None = None) -> dict[str, str]:
        """Return the gate's reason for each purpose."""
        consents = self.consents(subject, as_of=as_of).consents
        return {key: current.verdict.reason.value for key, current in consents.items()}

    @property
    def size(self) -> int:
        """How many entries the ledger has."""
        return self.verify().size

    def verify(self) -> VerifiedLedger:
        """Verify the default tenant's ledger."""
        return verify_ledger(self.service.deployment, self.tenant)


def an_idempotency_key(key: str, body: bytes = b"") -> IdempotencyKey:
    """Return the digests of a key and a body, as good as those of the HTTP layer."""
    return IdempotencyKey(key_digest=_padded(key.encode()), request_digest=_padded(body))


def _padded(data: bytes) -> bytes:
    return data.ljust(32, b"\0")[:32]


class Tampering:
    """Somebody with the database's password, who may drop triggers."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def dump(self) -> str:
        """Return everything that is stored, as text; bytes as Latin-1."""
        with self._engine.connect() as connection:
            values = [
                value
                for name in sa.inspect(connection).get_table_names()
                for row in connection.execute(sa.text(f"SELECT * FROM {name}"))  # noqa: S608  # its own tables
                for value in row
            ]
        return "\n".join(
            value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values
        )

    def drop_triggers(self) -> None:
        """Take the guards away."""
        with self._engine.begin() as connection:
            if self.dialect == "sqlite":
                names = connection.execute(
                    sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                ).scalars()
                for name in list(names):
                    connection.execute(sa.text(f"DROP TRIGGER {name}"))
            else:
                for name in sa.inspect(connection).get_table_names():
                    connection.execute(sa.text(f"ALTER TABLE {name} DISABLE TRIGGER USER"))

    def run(self, statement: str, **params: object) -> int:
        """Execute a statement and return how many rows it touched."""
        with self._engine.begin() as connection:
            return connection.execute(sa.text(statement), params).rowcount

    def run_all(self, statements: Sequence[str]) -> None:
        """Execute statements in one transaction."""
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def value(self, statement: str, **params: object) -> Any:
        """Return the one value of a query."""
        with self._engine.connect() as connection:
            return connection.execute(sa.text(statement), params).scalar_one()

    def close(self) -> None:
        """Disconnect."""
        self._engine.dispose()


class Commits:
    """Sees whether anybody has committed a change to a database."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self._connection: sa.Connection | None = (
            None  # SQLite counts what others have committed since it began.
        )

    def so_far(self) -> str:
        """Return what changes with each commit that changed anything."""
        if self._connection is None:
            self._connection = self._engine.connect()
        counted = {"sqlite": "PRAGMA data_version", "postgresql": "SELECT pg_current_snapshot()::text"}
        return str(self._connection.execute(sa.text(counted[self._engine.dialect.name])).scalar_one())

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def a_secret() -> str:
    """Return a value that can be found again wherever it turns up."""
    return "canary" + secrets.token_hex(8)
