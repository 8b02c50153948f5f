"""Everything that is held about a subject, for her to read and take along (GDPR Art. 15 and 20)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.gate import Catalogue, evaluate_key
from consent_service.domain.profile import ProfileValue
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.subject import ExternalId, SubjectRef
from consent_service.errors import SealBroken
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up_one
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_history import Consents, HistoryEntry, read_consents, read_history
from consent_service.operations.read_profile import open_value
from consent_service.operations.read_uses import DayOfUses, uses_of
from consent_service.operations.record_uses import UsesRecorder
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import StoredSubject, from_ms, linked_to
from consent_service.storage.vault_store import KeyGrant, SealedValue, all_values, find_grants
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SealingKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldValue:
    """A field of her profile: since when, what it was derived for, and the purposes that may read it now.

    Without any such purpose it is closed, and deleted when the grace of its last grant is over. `kept_until`
    is the end of the longest retention of the purposes that hold it, `None` where one of them is retired.
    """

    category: CategoryKey
    field: str
    value: ProfileValue
    stored_at: datetime
    derived_for: PurposeKey | None
    open_to: Sequence[PurposeKey]
    kept_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """What is held; `external_id` and `ref` are `None` where that is nothing.

    A closed value is deleted `grace_days` after it closed, a use after `uses_days`.
    """

    external_id: ExternalId | None
    ref: SubjectRef | None
    linked: Sequence[SubjectRef]
    consents: Consents
    history: Sequence[HistoryEntry]
    values: Sequence[HeldValue]
    uses: Sequence[DayOfUses]
    published: PublishedNotice | None
    made_at: datetime
    grace_days: int
    uses_days: int


def read_personal_data(
    deployment: Deployment, recorder: UsesRecorder, tenant: Tenant, subject: Subject
) -> PersonalData:
    """Return everything that is held about a subject; raise `SealBroken` where stored bytes were changed."""
    recorder.flush()
    consents = read_consents(deployment, tenant, subject)
    history = read_history(deployment, tenant, subject)
    now, grace_days = deployment.clock(), deployment.grace_days(tenant)
    with deployment.reading(tenant) as scope:
        tenant = deployment.refreshed(scope, tenant)
        book = deployment.book(scope)
        known = look_up_one(deployment, scope, tenant, subject)
        reader = None if known is None else _Reader(scope, tenant.keyring, known)
        return PersonalData(
            external_id=None if reader is None else reader.external_id(),
            ref=None if known is None else known.ref,
            linked=() if known is None else [ref for _, ref in linked_to(scope, known.id)],
            consents=consents,
            history=history,
            values=() if reader is None else reader.values(book.catalogue, now),
            uses=() if known is None else uses_of(scope, tenant, known.id),
            published=book.current,
            made_at=now,
            grace_days=grace_days,
            uses_days=deployment.settings.uses_days,
        )


class _Reader:
    """Opens what one subject has in the vault, through whichever key grant holds it."""

    def __init__(self, scope: TenantScope, keyring: TenantKeyring, subject: StoredSubject) -> None:
        self._keyring = keyring
        self._subject = subject
        self._grants = find_grants(scope, [subject.id])
        self._values = all_values(scope, subject.id)

    def external_id(self) -> ExternalId:
        return self._keyring.open_external_id(self._subject.sealed_id, blind_index=self._subject.blind_index)

    def values(self, catalogue: Catalogue, now: datetime) -> list[HeldValue]:
        live = [grant for grant in self._grants if self._live(grant, catalogue, now)]
        keys = {value.category: self._key(value.category) for value in self._values}
        held = [self._held(value, keys[value.category], live, catalogue, now) for value in self._values]
        return sorted(held, key=lambda value: (value.category, value.field))

    def _held(
        self,
        stored: SealedValue,
        key: SealingKey,
        live: Sequence[KeyGrant],
        catalogue: Catalogue,
        now: datetime,
    ) -> HeldValue:
        field, value = open_value(self._keyring.tenant, key, stored)
        stored_at, purposes = from_ms(stored.stored_at_ms), catalogue.purposes
        holding = [grant.purpose for grant in self._grants if grant.category == stored.category]
        ends = [purposes[held].retention.after(stored_at) for held in holding if held in purposes]
        return HeldValue(
            category=stored.category,
            field=field,
            value=value,
            stored_at=stored_at,
            derived_for=PurposeKey(stored.source) if stored.source else None,
            open_to=self._open_to(stored, live, catalogue, now),
            kept_until=max(ends) if len(ends) == len(holding) else None,
        )

    def _open_to(
        self, stored: SealedValue, live: Sequence[KeyGrant], catalogue: Catalogue, now: datetime
    ) -> list[PurposeKey]:
        source = PurposeKey(stored.source)
        if source and not evaluate_key(source, catalogue, self._subject.state, now).allowed:
            return []
        return sorted(grant.purpose for grant in live if grant.category == stored.category)

    def _live(self, grant: KeyGrant, catalogue: Catalogue, now: datetime) -> bool:
        verdict = evaluate_key(grant.purpose, catalogue, self._subject.state, now)
        return verdict.allowed and grant.category in catalogue.purposes[grant.purpose].categories

    def _key(self, category: CategoryKey) -> SealingKey:
        broken = SealBroken("A value is stored without the key of its category.")
        for grant in self._grants:
            if grant.category == category:
                try:
                    secret = self._keyring.unwrap_for_purpose(
                        grant.wrapped,
                        subject=str(self._subject.id),
                        category=category,
                        purpose=grant.purpose,
                    )
                except SealBroken as error:
                    broken = error
                else:
                    return SealingKey(secret)
        raise broken
