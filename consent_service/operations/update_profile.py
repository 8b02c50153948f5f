"""Store what is known of a subject: sealed, and only where a live grant covers the category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.consent import SubjectState
from consent_service.domain.gate import evaluate_key
from consent_service.domain.profile import FieldKey, ProfileValue
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.retention import next_look
from consent_service.errors import NoLiveGrant, PurposeClosed, SealBroken
from consent_service.observability import BROKEN_SEALS
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import lock_subject, to_ms
from consent_service.storage.vault_store import (
    KeyGrant,
    SealedValue,
    delete_categories,
    delete_fields,
    own_grants,
    store_values,
)
from consent_service.vault.keyring import TenantKeyring, field_tag
from consent_service.vault.places import ValuePlaces, value_tail
from consent_service.vault.seal import SealingKey, seal
from consent_service.vault.values import encode_value

Changes = Mapping[CategoryKey, Mapping[FieldKey, ProfileValue] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """Where derived values come from: the purpose they were made for and the entry that allows it."""

    purpose: PurposeKey
    index: int


def update_profile(
    deployment: Deployment,
    tenant: Tenant,
    subject: Subject,
    changes: Changes,
    *,
    derived_for: PurposeKey | None = None,
) -> list[str]:
    """Merge `changes` into the profile and return the `category.field` names that were stored, in order.

    Null deletes, with or without a live grant. Values that are `derived_for` a purpose disappear with its
    grant. Raises `NoLiveGrant` naming every category that none covers, `PurposeClosed` for `derived_for`,
    `InvalidProfile`; nothing is stored then.
    """
    with deployment.writing(tenant) as scope:
        known = lock_subject(scope, subject.indexes)
        if known is None:  # Perhaps the blind-index key was replaced since this subject was named.
            tenant = deployment.refreshed(scope, tenant)
            known = lock_subject(scope, tenant.named(subject.external_id).indexes)
        if known is None:
            if missing := _written(changes):
                raise NoLiveGrant(missing)
            return []
        grants = own_grants(scope, known[0])  # After the lock: nobody deletes one of these meanwhile.
        if any(grant.key_version > tenant.keyring.version for grant in grants):
            tenant = deployment.refreshed(scope, tenant)
        writer = _Writer(deployment, scope, tenant.keyring, known, grants)
        writer.check(changes, derived_for)
        return writer.write(changes, derived_for)


def _written(changes: Changes) -> list[CategoryKey]:
    return [
        category
        for category, values in changes.items()
        if values is not None and any(value is not None for value in values.values())
    ]


class _Writer:
    """One change of one subject's profile."""

    def __init__(
        self,
        deployment: Deployment,
        scope: TenantScope,
        keyring: TenantKeyring,
        subject: tuple[int, SubjectState],
        grants: Sequence[KeyGrant],
    ) -> None:
        self._scope = scope
        self._keyring = keyring
        self._subject_id, self._state = subject
        self._grants = grants
        self._now = deployment.clock()
        self._catalogue = deployment.book(scope).catalogue

    def check(self, changes: Changes, derived_for: PurposeKey | None) -> None:
        """Raise when a category that gets a value is not covered, or a derivation's purpose is closed."""
        covered = {grant.category for grant in self._grants if self._live(grant)}
        missing = [category for category in _written(changes) if category not in covered]
        if missing:
            raise NoLiveGrant(missing)
        if derived_for is not None:
            self._derivation(derived_for)

    def _live(self, grant: KeyGrant) -> bool:
        verdict = evaluate_key(grant.purpose, self._catalogue, self._state, self._now)
        return verdict.allowed and grant.category in self._catalogue.purposes[grant.purpose].categories

    def _derivation(self, purpose: PurposeKey) -> Derivation:
        verdict = evaluate_key(purpose, self._catalogue, self._state, self._now)
        if not verdict.allowed or verdict.index is None:
            raise PurposeClosed(purpose, verdict.reason.value)
        return Derivation(purpose=purpose, index=verdict.index)

    def write(self, changes: Changes, derived_for: PurposeKey | None) -> list[str]:
        """Seal and store values, delete what is null."""
        derivation = None if derived_for is None else self._derivation(derived_for)
        stored: list[str] = []
        values: list[tuple[SealedValue, int]] = []
        for category, fields in changes.items():
            if fields is None:
                delete_categories(self._scope, [(self._subject_id, category)])
                continue
            secret = self._secret(category)
            if secret is None:  # Nothing but nulls, and nothing there to delete.
                continue
            gone = [(category, field_tag(secret, field)) for field, value in fields.items() if value is None]
            delete_fields(self._scope, self._subject_id, gone)
            kept = {field: value for field, value in fields.items() if value is not None}
            look_at_ms = to_ms(self._look_at(category))
            values += [(value, look_at_ms) for value in self._sealed(category, secret, kept, derivation)]
            stored += [f"{category}.{field}" for field in kept]
        store_values(self._scope, values)
        return stored

    def _look_at(self, category: CategoryKey) -> datetime:
        holding = [grant.purpose for grant in self._grants if grant.category == category]
        return next_look(self._now, holding, self._catalogue.purposes, self._now)

    def _secret(self, category: CategoryKey) -> bytes | None:
        held = [grant for grant in self._grants if grant.category == category]
        for grant in held:
            try:
                return self._keyring.unwrap_for_purpose(
                    grant.wrapped, subject=str(self._subject_id), category=category, purpose=grant.purpose
                )
            except SealBroken:
                BROKEN_SEALS.labels("key_grant").inc()
        if held:
            raise SealBroken("No key of this category opens: the subject has to grant a purpose again.")
        return None

    def _sealed(
        self,
        category: CategoryKey,
        secret: bytes,
        values: Mapping[FieldKey, ProfileValue],
        derivation: Derivation | None,
    ) -> list[SealedValue]:
        key = SealingKey(secret)
        source, index = ("", None) if derivation is None else (derivation.purpose, derivation.index)
        sealed = []
        head = ValuePlaces(self._keyring.tenant).head(str(self._subject_id), category)
        name, now_ms = source_name(source, index), to_ms(self._now)
        for field, value in values.items():
            tag = field_tag(secret, field)
            data = seal(key, encode_value(field, value), head + value_tail(tag, name))
            sealed.append(SealedValue(self._subject_id, category, tag, source, index, now_ms, data))
        return sealed


def source_name(source: str, index: int | None) -> str:
    """Return how a derivation stands in a value's place: nothing for a value that was not derived."""
    return "" if index is None else f"{source}@{index}"
