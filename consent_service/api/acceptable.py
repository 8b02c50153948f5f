"""Which of the forms that there are a caller wants: the Accept header of RFC 9110, section 12.5.1."""

import re
from collections.abc import Iterable, Sequence

_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)
_MOST_RANGES = 64


def acceptable(headers: Iterable[str], offered: Sequence[str]) -> list[str]:
    """Return the media types of `offered` that these Accept headers take, the most wanted first.

    How much a type is wanted is said by the most specific range that names it. Of equals, the more specific
    comes first, then the caller's order, then ours. Without a header everything is taken.
    """
    parts = (",".join(headers) or "*/*").split(",")[:_MOST_RANGES]
    ranges = [(*_wanted(part), -position) for position, part in enumerate(parts)]
    ranked = []
    for media_type in offered:
        specificity, quality, position = max(
            (_specificity(name, media_type), quality, position) for name, quality, position in ranges
        )
        if specificity and quality:
            ranked.append(((quality, specificity, position), media_type))
    return [media_type for _, media_type in sorted(ranked, key=lambda each: each[0], reverse=True)]


def _wanted(part: str) -> tuple[str, float]:
    """Return a media range and its quality, 0 where it has one that is none."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "q":
            return name, float(value) if _QUALITY.fullmatch(value) else 0.0
    return name, 1.0


def _specificity(media_range: str, offered: str) -> int:
    """Return 3 where a media range is this type, 2 for its kind (text/*), 1 for anything, 0 for another."""
    if media_range == offered:
        return 3
    if media_range == f"{offered.partition('/')[0]}/*":
        return 2
    return int(media_range in {"*/*", ""})
