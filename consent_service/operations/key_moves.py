"""Keys follow decisions: a grant creates the purpose's key grants, a denial deletes them.

All in the decision's own transaction. When the last key grant of a category goes, so do its values.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from consent_service.domain.consent import Consent, SubjectState
from consent_service.domain.purpose import CategoryKey, Purpose, PurposeKey
from consent_service.errors import SealBroken
from consent_service.observability import BROKEN_SEALS
from consent_service.operations.tenant import VAULT
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import to_ms
from consent_service.storage.vault_store import (
    KeyGrant,
    count_wraps,
    delete_categories,
    delete_derived,
    delete_grants,
    find_grants,
    insert_grants,
    look_at_categories,
    renew_grants,
    store_grants,
)
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SECRET_SIZE

_Place = tuple[PurposeKey, CategoryKey]


FirstGrant: TypeAlias = tuple[PurposeKey, CategoryKey, int, int]
"""Of a key grant: purpose, category, version of the purpose and validity's end (ms). Plain, for it is hot."""


def first_grants(state: SubjectState, purposes: Mapping[PurposeKey, Purpose]) -> list[FirstGrant]:
    """Return the key grants that follow from a subject's first decision, under a notice of these purposes."""
    grants: list[FirstGrant] = []
    for key, consent in state.consents.items():
        if consent.granting:
            version, until_ms = consent.purpose_version, to_ms(consent.valid_until)
            grants += [(key, category, version, until_ms) for category in purposes[key].categories]
    return grants


class KeyMoves:
    """The key grants of one transaction: loaded once, moved in memory, written by `store`."""

    def __init__(self, scope: TenantScope, keyring: TenantKeyring) -> None:
        self._scope = scope
        self._keyring = keyring
        self._held: dict[int, dict[_Place, KeyGrant]] = {}
        self._secrets: dict[int, dict[CategoryKey, bytes]] = {}
        self._known: set[int] = set()
        self._begun: dict[int, dict[_Place, KeyGrant]] = {}
        self._changed: dict[tuple[int, PurposeKey, CategoryKey], KeyGrant] = {}
        self._renewed: dict[tuple[int, PurposeKey], tuple[int, int]] = {}
        self._gone: set[tuple[int, PurposeKey, CategoryKey]] = set()
        self._lost: set[tuple[int, CategoryKey]] = set()
        self._shared: set[tuple[int, CategoryKey]] = set()
        self._underived: set[tuple[int, PurposeKey]] = set()
        self._wraps = 0

    def load(self, subject_ids: Iterable[int]) -> None:
        """Read the key grants of the subjects whose decisions may move some."""
        self._known.update(subject_ids)
        for grant in find_grants(self._scope, self._known):
            self._held.setdefault(grant.subject_id, {})[grant.purpose, grant.category] = grant

    def follow(self, subject_id: int, state: SubjectState, purposes: Mapping[PurposeKey, Purpose]) -> None:
        """Bring the key grants of purposes that a decision moved, as its notice has them, in line."""
        for key, purpose in purposes.items():
            consent = state.consents[key]
            if consent.granting:
                self._grant(subject_id, purpose, consent)
            else:
                self._deny(subject_id, key)

    def begin(self, subject_id: int, grants: Sequence[FirstGrant]) -> None:
        """Make the key grants of a subject who had no entries."""
        secrets: dict[CategoryKey, bytes] = {}
        for _, category, _, _ in grants:
            if category not in secrets:
                secrets[category] = os.urandom(SECRET_SIZE)
        wraps = self._keyring.wrap_each(
            str(subject_id), [(category, purpose, secrets[category]) for purpose, category, _, _ in grants]
        )
        self._wraps += len(wraps)
        key_version = self._keyring.version
        self._secrets[subject_id] = secrets
        self._held[subject_id] = self._begun[subject_id] = {
            (purpose, category): KeyGrant(
                subject_id, purpose, category, version, until_ms, key_version, wrapped
            )
            for (purpose, category, version, until_ms), wrapped in zip(grants, wraps, strict=True)
        }

    def settle(self, subject_id: int, state: SubjectState) -> None:
        """Give up what `state` no longer grants, and shorten what it grants for less long; add nothing."""
        for purpose, category in list(self._held.get(subject_id, {})):
            consent = state.consents.get(purpose)
            if consent is None or not consent.granting:
                self._deny(subject_id, purpose)
                continue
            held = self._held[subject_id]
            shorter = held[purpose, category]._replace(valid_until_ms=to_ms(consent.valid_until))
            held[purpose, category] = self._changed[subject_id, purpose, category] = shorter
            self._renewed.pop((subject_id, purpose), None)

    def _grant(self, subject_id: int, purpose: Purpose, consent: Consent) -> None:
        key, version, until_ms = purpose.key, consent.purpose_version, to_ms(consent.valid_until)
        held = self._held.setdefault(subject_id, {})
        if held:
            self._drop(subject_id, key, keep=purpose.categories)
        for category in purpose.categories:
            known = held.get((key, category))
            if known is not None and self._keyring.is_current(known.wrapped):  # A renewal: the wrap stays.
                held[key, category] = KeyGrant(  # Not `_replace`, which takes three times as long.
                    subject_id, key, category, version, until_ms, known.key_version, known.wrapped
                )
                self._renewed[subject_id, key] = (version, until_ms)
                continue
            grant = KeyGrant(
                subject_id,
                key,
                category,
                version,
                until_ms,
                self._keyring.version,
                self._wrapped(subject_id, key, category),
            )
            held[key, category] = self._changed[subject_id, key, category] = grant

    def _wrapped(self, subject_id: int, purpose: PurposeKey, category: CategoryKey) -> bytes:
        self._wraps += 1
        secret = self._secret(subject_id, category)
        return self._keyring.wrap_for_purpose(
            secret, subject=str(subject_id), category=category, purpose=purpose
        )

    def _deny(self, subject_id: int, purpose: PurposeKey) -> None:
        if self._drop(subject_id, purpose, keep=()):
            self._underived.add((subject_id, purpose))

    def _drop(self, subject_id: int, purpose: PurposeKey, *, keep: Iterable[CategoryKey]) -> bool:
        held = self._held.get(subject_id)
        if not held:
            return False
        dropped = [place for place in held if place[0] == purpose and place[1] not in keep]
        if not dropped:
            return False
        for place in dropped:
            del held[place]
            self._changed.pop((subject_id, *place), None)
            self._gone.add((subject_id, *place))
        self._renewed.pop((subject_id, purpose), None)
        left = {category for _, category in held}
        for _, category in dropped:
            if category in left:
                self._shared.add((subject_id, category))
            else:
                self._lost.add((subject_id, category))
                self._secrets.get(subject_id, {}).pop(category, None)
        return True

    def _secret(self, subject_id: int, category: CategoryKey) -> bytes:
        secrets = self._secrets.setdefault(subject_id, {})
        secret = secrets.get(category)
        if secret is None:
            if subject_id in self._known:
                secret = self._stored_secret(subject_id, category)
            secrets[category] = secret = secret or os.urandom(SECRET_SIZE)
        return secret

    def _stored_secret(self, subject_id: int, category: CategoryKey) -> bytes | None:
        """Return the category's key from any purpose that holds it.

        Where every copy is damaged its values are beyond reach: they go, and the decision is recorded.
        """
        held = [grant for (_, held), grant in self._held.get(subject_id, {}).items() if held == category]
        for grant in held:
            try:
                return self._keyring.unwrap_for_purpose(
                    grant.wrapped, subject=str(subject_id), category=category, purpose=grant.purpose
                )
            except SealBroken:
                BROKEN_SEALS.labels("key_grant").inc()
        if held:
            self._lost.add((subject_id, category))
        return None

    def store(self) -> None:
        """Write every move: what is gone first, for it may be granted again in the same transaction."""
        delete_grants(self._scope, self._gone)
        delete_categories(self._scope, self._lost)
        delete_derived(self._scope, self._underived)
        look_at_categories(self._scope, self._shared)
        begun, changed = self._begun, self._changed.values()
        insert_grants(self._scope, [grant for held in begun.values() for grant in held.values()])
        store_grants(self._scope, [grant for grant in changed if grant[0] not in begun])
        renew_grants(self._scope, self._renewed)
        self._known.update(begun, [grant[0] for grant in changed])
        for moved in (
            self._gone,
            self._lost,
            self._shared,
            self._underived,
            begun,
            self._changed,
            self._renewed,
        ):
            moved.clear()

    def count(self) -> None:
        """Count the wraps made: the transaction's last statement, for the tenant key's row is everybody's."""
        count_wraps(self._scope, VAULT, self._keyring.version, self._wraps)
        self._wraps = 0

    def forget(self, subject_ids: Iterable[int]) -> None:
        """Forget subjects whose key grants were deleted otherwise."""
        for subject_id in subject_ids:
            self._held.pop(subject_id, None)
            self._secrets.pop(subject_id, None)
