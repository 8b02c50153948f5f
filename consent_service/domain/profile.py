"""What a tenant knows of a subject: fields with JSON values, by category; and changes to it."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NewType

from consent_service.domain.purpose import CategoryKey
from consent_service.errors import InvalidProfile

FieldKey = NewType("FieldKey", str)
"""Names a field within a category: matches `[a-z0-9_.-]+`, at most 64 characters."""

ProfileValue = None | bool | int | float | str | list["ProfileValue"] | dict[str, "ProfileValue"]
"""What a field of a profile may hold: any JSON value but null, which deletes it."""

Attributes = Mapping[CategoryKey, Mapping[FieldKey, ProfileValue]]
"""Values of fields by category."""

MAX_FIELDS = 500
"""Fields that one change may name."""

_KEY = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)
_WANTED = re.compile(r"[a-z0-9_.-]{1,129}", re.ASCII)
_MOST_NAMED = 10


def parse_changes(
    document: Mapping[str, Mapping[str, ProfileValue] | None],
) -> dict[CategoryKey, dict[FieldKey, ProfileValue] | None]:
    """Return a change of a profile: a field's value replaces it whole, null deletes a field or a category.

    Raises `InvalidProfile` for a name of another form and for more than `MAX_FIELDS` fields.
    """
    changes: dict[CategoryKey, dict[FieldKey, ProfileValue] | None] = {}
    fields = 0
    for category, values in document.items():
        changes[CategoryKey(_named(category))] = (
            None if values is None else {FieldKey(_named(field)): value for field, value in values.items()}
        )
        fields += 1 if values is None else len(values)
    if fields > MAX_FIELDS:
        raise InvalidProfile(f"A change names at most {MAX_FIELDS} fields: send several.")
    return changes


def parse_fields(names: Iterable[str] | None) -> frozenset[str] | None:
    """Return the wanted `category.field` or `category` names; `None` wants all.

    Raises `InvalidProfile` for a name of another form, which it does not repeat: it may be anything.
    """
    if names is None:
        return None
    wanted = frozenset(names)
    if not all(_WANTED.fullmatch(name) for name in wanted):
        raise InvalidProfile(
            "Each of `fields` is `category` or `category.field`: see the notice's categories."
        )
    return wanted


def require_possible(fields: frozenset[str] | None, categories: Collection[CategoryKey]) -> None:
    """Raise `InvalidProfile` naming the wanted fields that are of none of these categories.

    Names may hold dots, so a field is known by what it begins with.
    """
    strange = sorted(
        name
        for name in fields or ()
        if not any(name == category or name.startswith(f"{category}.") for category in categories)
    )
    if strange:
        raise InvalidProfile(
            f"No notice has the category of these fields: {', '.join(strange[:_MOST_NAMED])}."
        )


def wants(fields: frozenset[str] | None, category: CategoryKey, field: str) -> bool:
    """Say whether a field is wanted, by its own name or by its category's."""
    return fields is None or category in fields or f"{category}.{field}" in fields


def _named(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise InvalidProfile(
            "Categories and fields have 1 to 64 lower-case letters, digits, '_', '.' and '-'."
        )
    return text
