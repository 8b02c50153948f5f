"""The bytes that bind a sealed thing to its place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.vault import places

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vault_places.json").read_text())
BUILDERS: dict[str, Callable[..., bytes]] = {
    "grant": places.grant_place,
    "subject_key": places.subject_key_place,
    "value": places.value_place,
    "own": places.own_place,
    "evidence": places.evidence_place,
    "external_id": places.external_id_place,
}

names = st.text("ab\x00\x01", max_size=4)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["place"] for vector in VECTORS])
def test_the_bytes_are_those_of_the_published_vectors(vector: dict[str, str]) -> None:
    fields: dict[str, str | int | bytes] = dict(vector["fields"])  # type: ignore[arg-type]  # JSON of our own
    for name in fields.keys() & {"field_tag", "blind_index"}:
        fields[name] = bytes.fromhex(str(fields[name]))

    place = BUILDERS[vector["place"]](**fields)

    assert place.hex() == vector["bytes"]


def test_every_kind_of_place_has_a_vector() -> None:
    assert {vector["place"] for vector in VECTORS} == set(BUILDERS)


@given(st.tuples(names, names, names, names), st.tuples(names, names, names, names))
def test_two_places_share_bytes_only_when_every_field_is_the_same(
    here: tuple[str, str, str, str], there: tuple[str, str, str, str]
) -> None:
    first, second = (
        places.grant_place(tenant=t, subject=s, category=CategoryKey(c), purpose=PurposeKey(p), version=1)
        for t, s, c, p in (here, there)
    )

    assert (first == second) == (here == there)


@given(names, names, names, names, st.integers(1, 10**6))
def test_the_fast_places_of_key_grants_are_the_same(
    tenant: str, subject: str, category: str, purpose: str, version: int
) -> None:
    key, aim = CategoryKey(category), PurposeKey(purpose)
    slow = places.grant_place(tenant=tenant, subject=subject, category=key, purpose=aim, version=version)

    assert places.GrantPlaces(tenant).of(subject, key, aim, version) == slow


@given(names, names, names, st.binary(max_size=20), names)
def test_the_fast_places_of_values_are_the_same(
    tenant: str, subject: str, category: str, tag: bytes, source: str
) -> None:
    key = CategoryKey(category)
    slow = places.value_place(tenant=tenant, subject=subject, category=key, field_tag=tag, source=source)

    assert places.ValuePlaces(tenant).head(subject, key) + places.value_tail(tag, source) == slow
