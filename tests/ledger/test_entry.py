"""Leaves and the commitments in them."""

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidEntry
from consent_service.ledger.canonical import canonical_json, encode_base64
from consent_service.ledger.entry import OPENING_SIZE, Kind, Leaf, commitment, leaf, parse_leaf

ORIGIN = "consent.example/shop"
openings = st.binary(min_size=OPENING_SIZE, max_size=OPENING_SIZE)
commitments = st.binary(min_size=32, max_size=32)
origins = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(openings, st.binary())
def test_a_commitment_is_the_standard_librarys_hmac(opening: bytes, record: bytes) -> None:
    assert commitment(opening, record) == hmac.digest(b"consent/v1", opening + record, "sha256")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_opening_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidEntry, match=re.escape(f"not {size}.")):
        commitment(bytes(size), b"{}")


@given(origins, st.sampled_from(Kind), commitments)
def test_a_leaf_is_canonical_json_and_read_back(origin: str, kind: Kind, value: bytes) -> None:
    written = leaf(origin, kind, value)

    assert written == canonical_json({"v": 1, "log": origin, "kind": kind.value, "c": encode_base64(value)})
    assert parse_leaf(written) == Leaf(origin=origin, kind=kind, commitment=value)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_leaf_with_a_commitment_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidEntry, match="A commitment has 32 bytes"):
        leaf(ORIGIN, Kind.DECISION, bytes(size))


GOOD = leaf(ORIGIN, Kind.DECISION, bytes(range(32)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        GOOD + b"\n",
        b" " + GOOD,
        GOOD.replace(b'"v":1', b'"v":2'),
        GOOD.replace(b'"v":1', b'"v":true'),
        GOOD.replace(b'"v":1', b'"v":1.0'),
        GOOD.replace(b'"v":1', b'"v":1,"w":1'),
        GOOD.replace(b'"decision"', b'"decisions"'),
        GOOD.replace(b'"decision"', b"1"),
        GOOD.replace(b'"kind"', b'"kinds"'),
        GOOD.replace(b'"c":"A', b'"c":"AA'),
        GOOD.replace(b'=",', b'",'),
        GOOD.replace(b'8=",', b'9=",'),
        GOOD.replace(b'"c"', b'"c" '),
        GOOD.replace(b"consent.", b"\\u0063onsent."),
        b'{"kind":"decision",' + GOOD[1:].replace(b'"kind":"decision",', b""),
        canonical_json({"c": encode_base64(bytes(31)), "kind": "decision", "log": ORIGIN, "v": 1}),
    ],
    ids=repr,
)
def test_bytes_that_we_do_not_write_are_no_leaf(data: bytes) -> None:
    assert data != GOOD

    with pytest.raises(InvalidEntry):
        parse_leaf(data)
