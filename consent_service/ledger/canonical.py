"""Canonical bytes: RFC 8785 JSON in the subset that is signed here, and strict base64.

The subset has no floats, so that no two implementations can disagree about digits. Whatever needs a guess (a
float, an integer beyond 2^53 - 1, a key that is no string, a lone surrogate, a duplicate key) raises.
"""

import binascii
import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import TypeAlias, cast

import rfc8785

from consent_service.errors import NotCanonical

JsonValue: TypeAlias = "bool | int | str | list[JsonValue] | dict[str, JsonValue] | None"

_LARGEST_INTEGER = 2**53 - 1
_FIRST_SURROGATE_PAIR = "\U00010000"


def canonical_json(value: JsonValue) -> bytes:
    """Return the RFC 8785 form of `value` in UTF-8; raise `NotCanonical` for what has none in our subset.

    `encode_basestring` escapes as section 3.2.2.2 of RFC 8785 asks. Python sorts keys by code point, RFC 8785
    by UTF-16 unit (3.2.3): the two differ only beyond U+FFFF, where the package `rfc8785` takes over.
    """
    try:
        text = _writer(value)(value)
        if text.isascii() or max(text) < _FIRST_SURROGATE_PAIR:
            return text.encode()
        return rfc8785.dumps(value)
    except RecursionError:
        raise NotCanonical("Nested too deeply to be signed.") from None
    except (TypeError, UnicodeEncodeError, rfc8785.CanonicalizationError):
        raise NotCanonical("A key is not a string, or a string has a lone surrogate.") from None


def _integer(value: int) -> str:
    if not -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
        raise NotCanonical(
            "An integer beyond 2^53 - 1 cannot be signed: not every reader would see the same number."
        )
    return int.__repr__(value)


def _array(value: list[JsonValue]) -> str:
    return "[" + ",".join([_writer(item)(item) for item in value]) + "]"


def _object(value: dict[str, JsonValue]) -> str:
    # This loop is most of the time of a decision's record, hence the short cut for strings.
    parts = []
    for key in sorted(value):
        item = value[key]
        if type(item) is str:
            parts.append(f"{encode_basestring(key)}:{encode_basestring(item)}")
        else:
            parts.append(f"{encode_basestring(key)}:{_writer(item)(item)}")
    return "{" + ",".join(parts) + "}"


_WRITERS: dict[type, Callable[..., str]] = {
    str: encode_basestring,
    type(None): lambda _: "null",
    bool: {True: "true", False: "false"}.__getitem__,
    int: _integer,
    list: _array,
    dict: _object,
}


def _writer(value: object) -> Callable[..., str]:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer
    for base, writer in _WRITERS.items():  # a StrEnum is a string, an IntEnum an integer
        if isinstance(value, base):
            return writer
    raise NotCanonical(
        f"Only null, booleans, integers, strings, lists and objects can be signed, no {type(value).__name__}."
    )


def parse_json(data: bytes) -> JsonValue:
    """Return the value of UTF-8 JSON text; raise `NotCanonical` for what `canonical_json` cannot write.

    Refused: duplicate keys, floats, NaN and infinities, integers beyond 2^53 - 1, lone surrogates, a byte
    order mark. White space and the order of keys are free: where bytes must be canonical, write and compare.
    """
    try:
        value = cast("JsonValue", _decoder.decode(data.decode("utf-8")))
        if b"\\u" in data:
            canonical_json(value)  # raises for a lone surrogate written as an escape
    except RecursionError:
        raise NotCanonical("Nested too deeply to be read.") from None
    except ValueError:
        raise NotCanonical("Not JSON in UTF-8.") from None
    return value


def _object_without_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotCanonical("An object has the same key twice.")
    return value


def _refuse_number(_: str) -> JsonValue:
    raise NotCanonical("Numbers are integers here: no fraction, no exponent, no NaN.")


def _parse_integer(digits: str) -> int:
    if len(digits) > len(str(-_LARGEST_INTEGER)) or abs(int(digits)) > _LARGEST_INTEGER:
        raise NotCanonical("An integer is beyond 2^53 - 1.")
    return int(digits)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
    parse_int=_parse_integer,
)


def encode_base64(data: bytes) -> str:
    """Return standard padded base64 (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes of standard padded base64; raise `NotCanonical` for any other spelling of them."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise NotCanonical("Not standard base64 with padding.") from None
    if encode_base64(data) != text:  # non-zero bits in the padding
        raise NotCanonical("Base64 with stray bits in its last character.")
    return data
