"""Profile values as bytes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.profile import ProfileValue
from consent_service.errors import InvalidProfile, SealBroken
from consent_service.vault.values import MAX_VALUE_SIZE, decode_value, decode_values, encode_value

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values: st.SearchStrategy[ProfileValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(texts, json_values)
def test_a_value_comes_back_as_it_was(field: str, value: ProfileValue) -> None:
    data = encode_value(field, value)

    assert decode_value(data) == (field, value)
    assert len(data) % 64 == 0


def test_short_values_have_one_length() -> None:
    values: list[ProfileValue] = [1, 12, "one", ["a", "b"], None]

    lengths = {len(encode_value("size", value)) for value in values}

    assert lengths == {64}


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {"a": -math.inf}])
def test_what_is_not_json_is_refused(value: ProfileValue) -> None:
    with pytest.raises(InvalidProfile):
        encode_value("field", value)


def test_nesting_without_end_is_refused() -> None:
    deep: ProfileValue = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(InvalidProfile):
        encode_value("field", deep)


def test_the_longest_value_fits_and_one_byte_more_is_refused() -> None:
    longest = "x" * (MAX_VALUE_SIZE - 2)

    assert decode_value(encode_value("field", longest)) == ("field", longest)
    with pytest.raises(InvalidProfile, match="65536"):
        encode_value("field", longest + "x")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b'{"field": "a"}', json.dumps({"value": 1}).encode(), b"\xff"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SealBroken):
        decode_value(data)


def test_several_are_read_at_once_and_each_has_to_be_one() -> None:
    one, other = encode_value("size", 2), encode_value("last_basket", ["milk"])

    assert decode_values([one, other]) == [("size", 2), ("last_basket", ["milk"])]
    with pytest.raises(SealBroken):
        decode_values([one.rstrip() + b"," + other])
    with pytest.raises(SealBroken):
        decode_values([one, b""])
