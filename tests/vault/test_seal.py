"""The byte format of sealed values and wrapped keys."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import SealBroken
from consent_service.vault import seal as seal_module
from consent_service.vault.seal import OVERHEAD, SealingKey, open_sealed, seal, sealed_key_id

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "seal.json").read_text())
KEY = SealingKey(bytes(range(32)))
OTHER = SealingKey(bytes(32))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_bytes_are_those_of_the_published_vectors(vector: dict[str, str]) -> None:
    value = {name: bytes.fromhex(text) for name, text in vector.items() if name != "name"}
    key = SealingKey(value["secret"])

    sealed = seal_module._seal_with_nonce(key, value["plaintext"], value["aad"], value["nonce"])

    assert sealed == value["sealed"]
    assert key.id == value["key_id"] == sealed_key_id(sealed)
    assert open_sealed(key, value["sealed"], value["aad"]) == value["plaintext"]


@given(st.binary(max_size=300), st.binary(max_size=80))
def test_what_was_sealed_opens_to_itself(plaintext: bytes, aad: bytes) -> None:
    sealed = seal(KEY, plaintext, aad)

    assert open_sealed(KEY, sealed, aad) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD


@given(st.binary(max_size=40), st.data())
def test_any_flipped_bit_is_refused(plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, plaintext, b"aad"))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << (at % 8)

    with pytest.raises(SealBroken):
        open_sealed(KEY, bytes(sealed), b"aad")


@given(st.binary(max_size=40), st.data())
def test_any_truncation_or_extension_is_refused(plaintext: bytes, data: st.DataObject) -> None:
    sealed = seal(KEY, plaintext, b"aad")
    length = data.draw(st.integers(0, len(sealed) - 1))
    tail = data.draw(st.binary(min_size=1, max_size=4))

    for wrong in (sealed[:length], sealed[length + 1 :], sealed + tail):
        with pytest.raises(SealBroken):
            open_sealed(KEY, wrong, b"aad")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_other_additional_data_is_refused(aad: bytes, other: bytes) -> None:
    sealed = seal(KEY, b"value", aad)

    if other == aad:
        assert open_sealed(KEY, sealed, other) == b"value"
    else:
        with pytest.raises(SealBroken):
            open_sealed(KEY, sealed, other)


def test_another_key_is_refused_before_anything_is_decrypted() -> None:
    sealed = seal(KEY, b"value", b"aad")

    with pytest.raises(SealBroken, match="another key"):
        open_sealed(OTHER, sealed, b"aad")


def test_a_gcm_ciphertext_under_a_foreign_commitment_is_refused() -> None:
    """A ciphertext that GCM itself would accept is refused when the commitment is not the key's."""
    forged = bytearray(seal(KEY, b"value", b"aad"))
    forged[17:49] = bytes(32)
    prefix, nonce = bytes(forged[:49]), bytes(forged[49:61])
    cipher: AESGCM = KEY._cipher
    forged[61:] = cipher.encrypt(nonce, b"value", prefix + b"aad")
    assert cipher.decrypt(nonce, bytes(forged[61:]), prefix + b"aad") == b"value"

    with pytest.raises(SealBroken, match="another key"):
        open_sealed(KEY, bytes(forged), b"aad")


def test_two_seals_of_one_value_differ() -> None:
    first, second = seal(KEY, b"value", b"aad"), seal(KEY, b"value", b"aad")

    assert first != second


def test_a_key_never_shows_its_secret() -> None:
    shown = repr(KEY) + str(KEY) + f"{[KEY]}"

    assert KEY.secret.hex() not in shown
    assert repr(KEY.secret) not in shown


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidKey):
        SealingKey(bytes(size))
