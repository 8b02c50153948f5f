"""Keyed hashes of external ids."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidKey
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidSubject
from consent_service.vault.blind_index import blind_index, subject_ref

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "blind_index.json").read_text())
KEY = bytes(range(32))
URL_SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

external_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_hashes_are_those_of_the_published_vectors(vector: dict[str, str]) -> None:
    key = bytes.fromhex(vector["key"])

    found = blind_index(key, vector["external_id"]).hex(), subject_ref(key, vector["external_id"])

    assert found == (vector["blind_index"], vector["subject_ref"])


@given(external_ids)
def test_a_reference_is_short_and_url_safe(external_id: str) -> None:
    reference = subject_ref(KEY, external_id)

    assert len(reference) <= 32
    assert set(reference) <= URL_SAFE


@given(external_ids, external_ids)
def test_two_ids_share_a_hash_only_when_their_bytes_are_the_same(first: str, second: str) -> None:
    same = blind_index(KEY, first) == blind_index(KEY, second)

    assert same == (first == second)
    assert (subject_ref(KEY, first) == subject_ref(KEY, second)) == (first == second)


def test_composed_and_decomposed_spellings_are_two_subjects() -> None:
    composed, decomposed = subject_ref(KEY, "ren\u00e9"), subject_ref(KEY, "rene\u0301")

    assert composed != decomposed


def test_another_tenants_key_gives_another_reference() -> None:
    other = bytes(32)

    assert subject_ref(KEY, "customer-42") != subject_ref(other, "customer-42")


def test_an_id_without_utf8_form_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidSubject) as caught:
        blind_index(KEY, "customer-\ud800")

    assert "customer" not in str(caught.value)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InvalidKey):
        blind_index(b"short", "customer-42")
