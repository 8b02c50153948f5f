"""Profile values as bytes: JSON with the field's name inside, padded so that a length says little."""

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from consent_service.domain.profile import FieldKey, ProfileValue
from consent_service.errors import InvalidProfile, SealBroken

MAX_VALUE_SIZE = 64 * 1024
"""Bytes of one value's JSON."""

_BLOCK = 64
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode_value(field: str, value: ProfileValue) -> bytes:
    """Return `{"field": …, "value": …}` followed by spaces up to a multiple of 64 bytes.

    Raises `InvalidProfile` for a value of more than `MAX_VALUE_SIZE` bytes, and for what is not JSON (NaN).
    """
    try:
        text = _encode(value).encode()
    except (ValueError, TypeError, RecursionError):
        raise InvalidProfile(
            "A value has no JSON form: send null, true, numbers, strings, lists and objects."
        ) from None
    if len(text) > MAX_VALUE_SIZE:
        raise InvalidProfile(f"A value is longer than {MAX_VALUE_SIZE} bytes of JSON: store it in parts.")
    data = b'{"field":' + encode_basestring_ascii(field).encode() + b',"value":' + text + b"}"
    return data + b" " * (-len(data) % _BLOCK)


def decode_value(data: bytes) -> tuple[FieldKey, ProfileValue]:
    """Return field and value of what `encode_value` gave; raise `SealBroken` for anything else."""
    [decoded] = decode_values([data])
    return decoded


def decode_values(texts: Sequence[bytes]) -> list[tuple[FieldKey, ProfileValue]]:
    """Do as `decode_value` with several at once, in one call of the decoder."""
    try:
        documents = json.loads((b"[%b]" % b",".join(texts)).decode())
        decoded = [(document["field"], document["value"]) for document in documents]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SealBroken("The opened bytes are not a profile value.") from None
    if len(decoded) != len(texts):
        raise SealBroken("The opened bytes are more than a profile value.")
    return decoded
