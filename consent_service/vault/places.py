"""What each sealed thing is sealed to: additional authenticated data that names its one place.

Every field is preceded by its length (4 bytes, big-endian), the first is a label with a version, and each
label always has the same number of fields. So two different places never have the same bytes, and bytes moved
to another tenant, subject, category, purpose, field or key version do not open there.
"""

from consent_service.domain.purpose import CategoryKey, PurposeKey


def tenant_key_place(*, tenant: str, version: int) -> bytes:
    """Return the place of a tenant key wrapped by the keystore's root key."""
    return _place("consent/v1/tenant-key", tenant, str(version))


def tenant_secret_place(*, tenant: str, name: str) -> bytes:
    """Return the place of another secret of a tenant (its blind-index key), wrapped by the root key."""
    return _place("consent/v1/tenant-secret", tenant, name)


def grant_place(
    *, tenant: str, subject: str, category: CategoryKey, purpose: PurposeKey, version: int
) -> bytes:
    """Return the place of a category key wrapped for one purpose under a version of the tenant key."""
    return _place("consent/v1/key-grant", tenant, subject, category, purpose, str(version))


def subject_key_place(*, tenant: str, subject: str, version: int) -> bytes:
    """Return the place of a subject's own key, which seals what she alone is shown."""
    return _place("consent/v1/subject-key", tenant, subject, str(version))


def value_place(*, tenant: str, subject: str, category: CategoryKey, field_tag: bytes, source: str) -> bytes:
    """Return the place of a profile value; `source` names what it was derived from, or is empty."""
    return _place("consent/v1/value", tenant, subject, category, field_tag, source)


def external_id_place(*, tenant: str, blind_index: bytes, version: int) -> bytes:
    """Return the place of a subject's external id, sealed for display under a version of the tenant key."""
    return _place("consent/v1/external-id", tenant, blind_index, str(version))


def own_place(*, tenant: str, subject: str, name: str) -> bytes:
    """Return the place of something sealed under the subject's own key, such as a day of uses."""
    return _place("consent/v1/own", tenant, subject, name)


def _place(*fields: str | bytes) -> bytes:
    parts: list[bytes] = []
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        parts.append(len(data).to_bytes(4, "big"))
        parts.append(data)
    return b"".join(parts)
