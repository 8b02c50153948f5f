"""RFC 8785 in the signed subset, strict JSON and strict base64."""

import json
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import NotCanonical
from consent_service.ledger.canonical import (
    JsonValue,
    canonical_json,
    decode_base64,
    encode_base64,
    parse_json,
)

LARGEST = 2**53 - 1
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | texts,
    lambda values: st.lists(values) | st.dictionaries(texts, values),
    max_leaves=20,
)


@given(json_values)
def test_the_form_is_the_one_of_an_independent_implementation(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(json_values)
def test_what_was_written_is_read_back(value: Any) -> None:
    assert parse_json(canonical_json(value)) == value


def test_keys_are_sorted_by_utf_16_units() -> None:
    astral_before_private_use: JsonValue = {"\ue000": 2, "\U0001f600": 1}

    written = canonical_json(astral_before_private_use)

    assert written == '{"\U0001f600":1,"\ue000":2}'.encode()


def test_enum_members_are_written_as_their_values() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Number(IntEnum):
        ONE = 1

    assert canonical_json({"colour": Colour.RED, "number": Number.ONE}) == b'{"colour":"red","number":1}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        10**5000,
        b"bytes",
        (1, 2),
        {1: "integer key"},
        {"mixed": 1, 2: "keys"},
        {None: 1},
        {"nested": [{"deep": 0.5}]},
        "\ud800",
        {"\udfff": 1},
        {"\ud83d\U0001f600": 1},
        {"a set"},
        object,
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else f"about 2^{value.bit_length()}",
)
def test_a_value_without_a_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical_json(value)


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(NotCanonical, match="too deeply"):
        canonical_json(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'[{"b":{"a":1,"a":1}}]',
        b"1.0",
        b"1e3",
        b"NaN",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        '"é"'.encode("utf-16"),
        b"",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b'"tab\t"',
        b"1 2",
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_json_that_needs_a_guess_is_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        parse_json(data)


def test_white_space_and_the_order_of_keys_are_free_when_reading() -> None:
    assert parse_json(b' { "b" : [ 1 , -2 ] ,\n"a" : "\\u00e9\\ud83d\\ude00" } ') == {
        "b": [1, -2],
        "a": "é\U0001f600",
    }


@given(st.text())
def test_every_text_is_parsed_as_json_reads_it_or_refused(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")

    try:
        value = parse_json(data)
    except NotCanonical:
        return

    assert value == json.loads(data)


@given(st.binary())
def test_base64_is_read_back(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@pytest.mark.parametrize(
    "text", ["AA", "AA=", "AB==", "AAE", "AA==\n", " AA==", "A A=", "AA==AA==", "-_-_", "é===", "="]
)
def test_another_spelling_of_base64_is_refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        decode_base64(text)
