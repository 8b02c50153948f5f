"""Builders of domain values for tests: each gives something valid, and takes what a test wants different.

from tests.builders import a_notice, a_notice_document
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import yaml

from consent_service.domain.notice import Notice
from consent_service.domain.notice_form import parse_notice

EXAMPLE_NOTICE = Path(__file__).parent.parent / "examples" / "notice.yaml"
"""The notice that the demo publishes: recommendations, coupons, support_context and ai_assistance."""

REMOVED = object()
"""Given as a change: the key is taken out of the document."""

_EXAMPLE: dict[str, object] = yaml.safe_load(EXAMPLE_NOTICE.read_text(encoding="utf-8"))


def a_notice_document(changes: Mapping[str, object] | None = None, **top_level: object) -> dict[str, object]:
    """Return the example notice as the YAML reader gives it, changed.

    `changes` maps paths to values, `{"purposes/coupons/version": 2, "purposes/ai_assistance": REMOVED}`;
    keywords change keys of the top level, `a_notice_document(languages=["en"])`.
    """
    document = deepcopy(_EXAMPLE)
    for path, value in {**(changes or {}), **top_level}.items():
        *parents, last = path.split("/")
        place: object = document
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else _mapping(place).setdefault(key, {})
        if value is REMOVED:
            del _mapping(place)[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            _mapping(place)[last] = deepcopy(value)
    return document


def a_notice(changes: Mapping[str, object] | None = None, **top_level: object) -> Notice:
    """Return the example notice, changed as `a_notice_document` changes it."""
    return parse_notice(a_notice_document(changes, **top_level))


def _mapping(value: object) -> dict[str, object]:
    assert isinstance(value, dict), f"a path leads through {value!r}, which is no mapping"
    return value
