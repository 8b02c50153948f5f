"""A tenant's keys, from the tenant key down to the category keys that seal a subject's values.

    value <- category key (one per subject and category) <- tenant key (one per epoch) <- root key (keystore)

A category key is wrapped once for each purpose that was granted it. The last wrap takes the key along.
"""

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.subject import ExternalId
from consent_service.errors import SealBroken
from consent_service.vault.places import FIELD_TAG_SIZE, GrantPlaces, external_id_place, subject_key_place
from consent_service.vault.seal import (
    HEADER_SIZE,
    OVERHEAD,
    SECRET_SIZE,
    SealingKey,
    open_each,
    open_sealed,
    seal,
    seal_each,
    sealed_key_id,
)

WRAPS_PER_TENANT_KEY = 2**28
"""Wraps after which a tenant key is replaced, whatever its age.

Random 96-bit nonces allow 2**32 seals under one key (NIST SP 800-38D, section 8.3).
"""

_FIELD_TAG = b"consent/v1/field-tag\x00"


class TenantKeyring:
    """The versions of one tenant's key that still live; the newest wraps, every one unwraps.

    Immutable, and safe to share between threads. Unwrapping raises `SealBroken` for bytes that were changed,
    belong to another place, or name a key of an epoch that is over.
    """

    __slots__ = ("_by_id", "_current", "_places", "tenant", "version")

    def __init__(self, tenant: str, keys: Mapping[int, SealingKey]) -> None:
        self.tenant = tenant
        self.version = max(keys)
        self._current = keys[self.version]
        self._places = GrantPlaces(tenant)
        self._by_id = {key.id: (version, key) for version, key in keys.items()}

    def __repr__(self) -> str:
        versions = sorted(version for version, _ in self._by_id.values())
        return f"TenantKeyring(tenant={self.tenant!r}, versions={versions})"

    def wrap_for_purpose(
        self, secret: bytes, *, subject: str, category: CategoryKey, purpose: PurposeKey
    ) -> bytes:
        """Return a category key's secret wrapped so that only this purpose's row gives it back."""
        return seal(self._current, secret, self._places.of(subject, category, purpose, self.version))

    def wrap_each(self, subject: str, grants: Iterable[tuple[CategoryKey, PurposeKey, bytes]]) -> list[bytes]:
        """Do as `wrap_for_purpose` with several categories, purposes and secrets of one subject."""
        end, version = self._places.end, self.version
        return seal_each(
            self._current,
            [(secret, end(category, purpose, version)) for category, purpose, secret in grants],
            shared=self._places.head(subject),
        )

    def unwrap_for_purpose(
        self, wrapped: bytes, *, subject: str, category: CategoryKey, purpose: PurposeKey
    ) -> bytes:
        """Return the category key's secret."""
        version, key = self._key_of(wrapped)
        return open_sealed(key, wrapped, self._places.of(subject, category, purpose, version))

    def unwrap_each(
        self, purpose: PurposeKey, grants: Iterable[tuple[str, CategoryKey, bytes]]
    ) -> list[bytes]:
        """Do as `unwrap_for_purpose` with several subjects, categories and wrapped keys: all or none."""
        secrets: list[bytes] = []
        place_of = self._places.of
        for _, same in groupby(grants, lambda grant: grant[2][:HEADER_SIZE]):
            some = [*same]
            version, key = self._key_of(some[0][2])
            secrets += open_each(
                key,
                [
                    (wrapped, place_of(subject, category, purpose, version))
                    for subject, category, wrapped in some
                ],
            )
        return secrets

    def is_current(self, wrapped: bytes) -> bool:
        """Say whether bytes name the newest tenant key, by their header: not whether they open."""
        return wrapped.startswith(self._current.header) and len(wrapped) == SECRET_SIZE + OVERHEAD

    def wrap_subject_key(self, secret: bytes, *, subject: str) -> bytes:
        """Return the secret of a subject's own key, wrapped."""
        place = subject_key_place(tenant=self.tenant, subject=subject, version=self.version)
        return seal(self._current, secret, place)

    def unwrap_subject_key(self, wrapped: bytes, *, subject: str) -> SealingKey:
        """Return a subject's own key."""
        version, key = self._key_of(wrapped)
        place = subject_key_place(tenant=self.tenant, subject=subject, version=version)
        return SealingKey(open_sealed(key, wrapped, place))

    def seal_external_id(self, external_id: str, *, blind_index: bytes) -> bytes:
        """Return what the shop calls a subject, sealed for display and bound to her row."""
        place = external_id_place(tenant=self.tenant, blind_index=blind_index, version=self.version)
        return seal(self._current, external_id.encode(), place)

    def open_external_id(self, sealed: bytes, *, blind_index: bytes) -> ExternalId:
        """Return what `seal_external_id` was given."""
        version, key = self._key_of(sealed)
        place = external_id_place(tenant=self.tenant, blind_index=blind_index, version=version)
        return ExternalId(open_sealed(key, sealed, place).decode())

    def version_of(self, wrapped: bytes) -> int:
        """Return the version of the tenant key that `wrapped` names."""
        return self._key_of(wrapped)[0]

    def _key_of(self, wrapped: bytes) -> tuple[int, SealingKey]:
        found = self._by_id.get(sealed_key_id(wrapped))
        if found is None:
            raise SealBroken("The wrapped key names a tenant key that is not this tenant's, or is destroyed.")
        return found


def epoch_is_over(*, began_at: datetime, wraps: int, length: timedelta, now: datetime) -> bool:
    """Say whether a tenant key has to be replaced: by its age, or by the number of its wraps."""
    return now - began_at >= length or wraps >= WRAPS_PER_TENANT_KEY


def field_tag(secret: bytes, field: str) -> bytes:
    """Return the 16 bytes under which a field's row is found: the name itself is sealed with the value.

    `secret` is the category key's, so that equal field names of two subjects have nothing in common.
    """
    return hmac.digest(secret, _FIELD_TAG + field.encode(), "sha256")[:FIELD_TAG_SIZE]
