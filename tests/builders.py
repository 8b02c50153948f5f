"""Builders of domain values for tests: each gives something valid, and takes what a test wants different.

from tests.builders import a_notice, a_notice_document
"""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import yaml

from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.notice_form import parse_notice
from consent_service.domain.purpose import PurposeKey

EXAMPLE_NOTICE = Path(__file__).parent.parent / "examples" / "notice.yaml"
"""The notice that the demo publishes: recommendations, coupons, support_context and ai_assistance."""

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
"""When a test's clock starts."""

ChoiceName = Literal["granted", "denied"]

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


def a_decision(
    choices: Mapping[str, ChoiceName] | None = None,
    *,
    notice: str = "0" * 64,
    decided_at: datetime = NOW,
    method: str = "save",
    language: str = "en",
    gpc: bool = False,
) -> Decision:
    """Return a decision at a banner; recommendations are granted unless other choices are given."""
    chosen = {"recommendations": "granted"} if choices is None else choices
    return Decision(
        notice=NoticeDigest(notice),
        choices={PurposeKey(key): Choice(choice) for key, choice in chosen.items()},
        decided_at=decided_at,
        method=method,
        source="banner",
        language=language,
        actor="backend",
        gpc=gpc,
    )


def _mapping(value: object) -> dict[str, object]:
    assert isinstance(value, dict), f"a path leads through {value!r}, which is no mapping"
    return value
