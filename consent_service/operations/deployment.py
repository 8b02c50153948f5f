"""One opened installation: its database, its root keys and its tenants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from consent_service.domain.subject import TenantName
from consent_service.errors import (
    ConfigurationError,
    ConsentToolkitError,
    KeystoreUnavailable,
    NoDatabase,
    UnknownTenant,
)
from consent_service.keystores.keystore import epoch_location, open_keystore
from consent_service.observability import logger
from consent_service.operations.complete_keys import complete_keys
from consent_service.operations.notice_book import NoticeBook, extend_book
from consent_service.operations.tenant import Roots, Tenant, open_tenant
from consent_service.settings import Settings
from consent_service.storage.engine import Database, sqlite_file
from consent_service.storage.ledger_store import Head, read_head
from consent_service.storage.notice_store import notices_after
from consent_service.storage.schema import require_schema
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import to_ms
from consent_service.storage.tenant_store import StoredTenant, find_grace, list_tenants, wrapped_keys
from consent_service.storage.vault_store import key_versions, tenant_keys
from consent_service.verifier.verify import Policy, policy_of

Clock = Callable[[], datetime]


KEYS_LOCK = "keys"
"""Held on the database while tenants are created and root keys rotate: one at a time."""


def _open_roots(settings: Settings, *, create: bool) -> Roots:
    location = settings.resolved_keystore
    secret = settings.keystore_secret.get_secret_value() if settings.keystore_secret else ""
    lasting = open_keystore(location, secret=secret, create=create)
    try:
        epoch = open_keystore(epoch_location(location), secret=secret, create=create)
    except ConsentToolkitError:
        lasting.close()
        raise
    return Roots(lasting=lasting, epoch=epoch, signing_inside=settings.signing_in_keystore)


def make_home(settings: Settings) -> None:
    """Make the home folder where it is missing, for its owner only; raise `ConfigurationError`."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigurationError(f"CONSENT_HOME is {settings.home}, a file: name a folder.") from None
    except OSError as error:
        raise ConfigurationError(
            f"CONSENT_HOME is {settings.home}, which cannot be made: {error.strerror}. Name another folder."
        ) from None


def _open_database(settings: Settings, *, begin: bool) -> Database:
    url = settings.resolved_database_url.get_secret_value()
    if begin:
        make_home(settings)
    elif (file := sqlite_file(url)) is not None and not file.exists():
        raise NoDatabase(f"There is no database at {file}: CONSENT_HOME and CONSENT_DATABASE_URL say where.")
    return Database(url, pool_size=settings.pool_size, lock_seconds=settings.lock_seconds)


def _open_policy(settings: Settings) -> Policy | None:
    try:
        return policy_of((), settings.witnesses) if settings.witnesses else None
    except OSError as error:
        raise ConfigurationError(f"CONSENT_WITNESSES cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"CONSENT_WITNESSES names no witnesses: {error}.") from None


@contextmanager
def _others_may_mend() -> Iterator[None]:
    """Say `KeystoreUnavailable` of keys that do not open now: at start that ends the process, later it waits.

    So it is with a token that is refused, and with a key file's copy once an epoch ended on another machine.
    """
    try:
        yield
    except ConfigurationError as error:
        logger.error("keys", error=type(error).__name__, detail=str(error))
        raise KeystoreUnavailable(
            "The keystore does not open the database's newest keys for this process: every process needs the "
            "same one, and a credential that it takes; the service's log says why."
        ) from None


def utc_now() -> datetime:
    """Return the time in UTC to the millisecond, the resolution of the ledger."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Deployment:
    """Database, keystore and the tenants they hold. Safe to share between threads.

    `policy` says which witnesses cosign the checkpoints of its logs, if any do.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        roots: Roots,
        clock: Clock = utc_now,
        policy: Policy | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.roots = roots
        self.clock = clock
        self.policy = policy
        self._lock = threading.Lock()
        self._tenants: dict[int, Tenant] = {}
        self._books: dict[int, NoticeBook] = {}

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock = utc_now, begin: bool = True) -> "Deployment":
        """Open what the settings name and make what is missing, each file for its owner only.

        A key file is made only for a database without a tenant: a lost one must be restored, not replaced.
        Without `begin` a database that is not there, or is empty, is not made: `NoDatabase`. Also raises
        `WrongKey`, `KeyFileMissing`, `SchemaMismatch` or `DatabaseUnavailable`.
        """
        policy = _open_policy(settings)
        database = _open_database(settings, begin=begin)
        try:
            require_schema(database, begin=begin)
            with database.reading() as connection:
                first_start = not list_tenants(connection)
            deployment = cls(settings, database, _open_roots(settings, create=first_start), clock, policy)
        except ConsentToolkitError:
            database.close()
            raise
        try:
            complete_keys(database, deployment.roots, now_ms=to_ms(clock()))
            deployment.tenants()
        except ConsentToolkitError:
            deployment.close()
            raise
        return deployment

    def close(self) -> None:
        """Close the connections to database and keystore."""
        self.database.close()
        self.roots.close()

    def tenants(self) -> list[Tenant]:
        """Return every tenant with its keys opened; raise `WrongKey` if the root key does not fit."""
        with self.database.reading() as connection:
            return [
                self._tenants.get(stored.id)
                or self._remember(open_tenant(self.roots, stored, wrapped_keys(connection, stored.id)))
                for stored in list_tenants(connection)
            ]

    def open_tenants(self) -> list[Tenant]:
        """Return the tenants whose keys are in memory or open now: their chores wait for no others."""
        try:
            with _others_may_mend():
                return self.tenants()
        except KeystoreUnavailable:
            return list(self._tenants.values())

    def _remember(self, tenant: Tenant) -> Tenant:
        with self._lock:
            return self._tenants.setdefault(tenant.id, tenant)

    def refreshed(self, scope: TenantScope, tenant: Tenant) -> Tenant:
        """Return the tenant with the keys that are stored as of this transaction.

        The keystore is asked only when they are not the ones in memory: somebody rotated. Raises as it does.
        """
        versions = key_versions(scope)
        for known in (tenant, self._tenants.get(tenant.id)):
            if known is not None and known.versions == versions:
                return known
        stored = StoredTenant(id=tenant.id, name=tenant.name, origin=tenant.origin)
        with _others_may_mend():
            fresh = open_tenant(self.roots, stored, tenant_keys(scope))
        with self._lock:
            self._tenants[tenant.id] = fresh
        return fresh

    def grace_days(self, tenant: Tenant) -> int:
        """Return for how many days a closed grant of this tenant keeps its keys."""
        with self.database.reading() as connection:
            own = find_grace(connection, tenant.id)
        return self.settings.grace_days if own is None else own

    def require_keys(self) -> None:
        """Raise `KeystoreUnavailable` where stored keys are not in memory and cannot be opened."""
        with _others_may_mend():
            tenants = self.tenants()
        for tenant in tenants:
            with self.reading(tenant) as scope:
                self.refreshed(scope, tenant)

    def tenant(self, tenant_id: int) -> Tenant:
        """Return the tenant with this number; raise `UnknownTenant`, `KeystoreUnavailable`."""
        known = self._tenants.get(tenant_id)
        if known is not None:
            return known
        with _others_may_mend():
            tenants = self.tenants()
        for tenant in tenants:
            if tenant.id == tenant_id:
                return tenant
        raise UnknownTenant("No such tenant.")

    def tenant_named(self, name: str) -> Tenant:
        """Return the tenant of this name; raise `UnknownTenant`, `KeystoreUnavailable`."""
        for known in list(self._tenants.values()):
            if known.name == name:
                return known
        with _others_may_mend():
            tenants = self.tenants()
        for tenant in tenants:
            if tenant.name == TenantName(name):
                return tenant
        raise UnknownTenant(f"There is no tenant named {name[:64]!r}: consent tenant create NAME.")

    @contextmanager
    def reading(self, tenant: Tenant, snapshot: str | None = None) -> Iterator[TenantScope]:
        """One consistent snapshot of one tenant's rows: the one of this name, if one is given."""
        with self.database.reading(snapshot) as connection:
            yield TenantScope(connection, tenant.id)

    @contextmanager
    def glancing(self, tenant: Tenant) -> Iterator[TenantScope]:
        """One statement on one tenant's rows."""
        with self.database.glancing() as connection:
            yield TenantScope(connection, tenant.id)

    @contextmanager
    def writing(self, tenant: Tenant) -> Iterator[TenantScope]:
        """One transaction on one tenant's rows."""
        with self.database.writing() as connection:
            yield TenantScope(connection, tenant.id)

    def known_book(self, tenant: Tenant) -> NoticeBook:
        """Return the tenant's notices as far as they are in memory."""
        return self._books.get(tenant.id, NoticeBook())

    def book(self, scope: TenantScope, head: Head | None = None) -> NoticeBook:
        """Return the tenant's notices as of this transaction, reading only those not yet in memory."""
        head = head or read_head(scope)
        book = self._books.get(scope.tenant_id, NoticeBook())
        if book.last_index == head.notice_index:
            return book
        if book.last_index is not None and (head.notice_index or -1) < book.last_index:
            book = NoticeBook()  # The database was restored from an older backup.
        after = -1 if book.last_index is None else book.last_index
        book = extend_book(book, notices_after(scope, after))
        self._books[scope.tenant_id] = book
        return book
