"""What each sealed thing is sealed to: additional authenticated data that names its one place.

Every field is preceded by its length (4 bytes, big-endian), the first is a label with a version, and each
label always has the same number of fields. So two different places never have the same bytes, and bytes moved
to another tenant, subject, category, purpose, field or key version do not open there.
"""

from functools import lru_cache

from consent_service.domain.purpose import CategoryKey, PurposeKey

FIELD_TAG_SIZE = 16
"""Bytes under which a field's row is found."""

_MOST_WORDS = 10_000
_TAG_LENGTH = FIELD_TAG_SIZE.to_bytes(4, "big")
_NOTHING = bytes(4)


class GrantPlaces:
    """The places of one tenant's key grants, fast: what many of them share is encoded once.

    `of` gives the same bytes as `grant_place`. Categories and purposes are a notice's words, so few.
    """

    __slots__ = ("_ends", "_head")

    def __init__(self, tenant: str) -> None:
        self._head = _place("consent/v1/key-grant", tenant)
        self._ends: dict[tuple[CategoryKey, PurposeKey, int], bytes] = {}

    def of(self, subject: str, category: CategoryKey, purpose: PurposeKey, version: int) -> bytes:
        """Return the place of one key grant."""
        return self.head(subject) + self.end(category, purpose, version)

    def head(self, subject: str) -> bytes:
        """Return what the places of all of a subject's key grants begin with."""
        name = subject.encode()
        return b"%b%b%b" % (self._head, len(name).to_bytes(4, "big"), name)

    def end(self, category: CategoryKey, purpose: PurposeKey, version: int) -> bytes:
        """Return how they end for one category, purpose and version of the tenant key."""
        key = category, purpose, version
        return self._ends.get(key) or self._new_end(key)

    def _new_end(self, key: tuple[CategoryKey, PurposeKey, int]) -> bytes:
        if len(self._ends) > _MOST_WORDS:
            self._ends.clear()
        category, purpose, version = key
        return self._ends.setdefault(key, _place(category, purpose, str(version)))


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
    return b"%b%b%b%b" % (
        _shared("consent/v1/external-id", tenant),
        len(blind_index).to_bytes(4, "big"),
        blind_index,
        _shared(str(version)),
    )


class ValuePlaces:
    """The places of one tenant's values, fast: what many of them share is encoded once.

    A `head` and a `value_tail` make the same bytes as `value_place`.
    """

    __slots__ = ("_head",)

    def __init__(self, tenant: str) -> None:
        self._head = _place("consent/v1/value", tenant)

    def head(self, subject: str, category: CategoryKey) -> bytes:
        """Return what the places of all values of a subject's category begin with."""
        name = subject.encode()
        return b"%b%b%b%b" % (self._head, len(name).to_bytes(4, "big"), name, _shared(category))


def value_tail(field_tag: bytes, source: str) -> bytes:
    """Return how the place of one field's value ends."""
    if not source and len(field_tag) == FIELD_TAG_SIZE:
        return _TAG_LENGTH + field_tag + _NOTHING
    return _place(field_tag, source)


def evidence_place(*, origin: str, index: int) -> bytes:
    """Return the place of sealed proof: the erasure at this index of this log."""
    return _place("consent/v1/evidence", origin, str(index))


def own_place(*, tenant: str, subject: str, name: str) -> bytes:
    """Return the place of something sealed under the subject's own key, such as a day of uses."""
    return _place("consent/v1/own", tenant, subject, name)


@lru_cache(maxsize=1024)
def _shared(*fields: str) -> bytes:
    return _place(*fields)


def _place(*fields: str | bytes) -> bytes:
    parts: list[bytes] = []
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        parts.append(len(data).to_bytes(4, "big"))
        parts.append(data)
    return b"".join(parts)
