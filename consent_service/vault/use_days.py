"""One day of uses as bytes, to be sealed by the subject's own key."""

import json
from datetime import UTC, datetime

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature, UseCount, UseKind, Uses
from consent_service.errors import SealBroken

_BLOCK = 64
_MS = 1000


def encode_uses(uses: Uses) -> bytes:
    """Return `[[purpose, feature, category, times, last in milliseconds], …]`, padded to 64 bytes."""
    rows = [
        [kind.purpose, kind.feature, kind.category, count.times, round(count.last.timestamp() * _MS)]
        for kind, count in uses.items()
    ]
    data = json.dumps(rows, separators=(",", ":")).encode()
    return data + b" " * (-len(data) % _BLOCK)


def decode_uses(data: bytes) -> dict[UseKind, UseCount]:
    """Return what `encode_uses` was given; raise `SealBroken` for anything else."""
    try:
        return {
            UseKind(
                purpose=PurposeKey(purpose), feature=Feature(feature), category=CategoryKey(category)
            ): UseCount(times=times, last=_moment(last))
            for purpose, feature, category, times, last in json.loads(data)
        }
    except (ValueError, TypeError, OverflowError):
        raise SealBroken("The opened bytes are not a day of uses.") from None


def _moment(milliseconds: int) -> datetime:
    seconds, rest = divmod(milliseconds, _MS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * _MS)
