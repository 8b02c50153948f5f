"""What the shop says itself, one JSON file a language; its catalogue is in English only."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

Words = Mapping[str, str]

FALLBACK: Final = "en"
RIGHT_TO_LEFT: Final = frozenset({"ar"})
WORDS: Final[Mapping[str, Words]] = {
    file.stem: json.loads(file.read_text("utf-8"))
    for file in sorted((Path(__file__).parent / "languages").glob("*.json"))
}


def spoken(notice: Sequence[str]) -> list[str]:
    """Return the notice's languages that the shop speaks, in their order; English where it speaks none."""
    return [tag for tag in notice if tag in WORDS] or [FALLBACK]


def best(wanted: Sequence[str], offered: Sequence[str]) -> str:
    """Return the first wanted language that is offered, by its primary tag; else English or what there is."""
    for tag in wanted:
        primary = tag.partition(";")[0].strip().partition("-")[0].lower()
        if primary in offered:
            return primary
    return FALLBACK if FALLBACK in offered else offered[0]
