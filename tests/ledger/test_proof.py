"""Proofs that travel (C2SP tlog-proof)."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import EvidenceError, InvalidNote, InvalidProof
from consent_service.ledger.canonical import encode_base64
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from consent_service.ledger.note import NoteSigner, NoteVerifier
from consent_service.ledger.proof import TlogProof

ORIGIN = "consent.example/shop"
SIGNER = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
VERIFIER = NoteVerifier.parse(SIGNER.vkey)
LEAVES = [f"leaf {number}".encode() for number in range(100)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def a_proof(index: int = 5, size: int = 13, extra: bytes = b"", signer: NoteSigner = SIGNER) -> TlogProof:
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root_hash(HASHES[:size]))
    return TlogProof(
        index=index,
        hashes=tuple(inclusion_proof(index, size, HASHES)),
        checkpoint=sign_checkpoint(checkpoint, signer),
        extra=extra,
    )


@given(st.data(), st.binary(max_size=40))
def test_a_proof_is_read_back_and_verifies(data: st.DataObject, extra: bytes) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof = a_proof(index, size, extra)

    received = TlogProof.parse(proof.encode())

    assert received == proof
    assert received.verify(LEAVES[index], VERIFIER, origin=ORIGIN).size == size


def test_a_proof_has_the_lines_of_the_specification() -> None:
    proof = a_proof(index=1, size=3, extra=b"openings go here")

    assert proof.encode().decode() == (
        "c2sp.org/tlog-proof@v1\n"
        "extra b3BlbmluZ3MgZ28gaGVyZQ==\n"
        "index 1\n"
        f"{encode_base64(HASHES[0])}\n"
        f"{encode_base64(HASHES[2])}\n"
        "\n"
        f"{proof.checkpoint.decode()}"
    )


def test_the_only_leaf_of_a_log_needs_no_hashes() -> None:
    proof = a_proof(index=0, size=1)

    assert proof.encode().startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\nconsent.example/shop\n1\n")


def test_another_leaf_is_refused() -> None:
    with pytest.raises(InvalidProof, match="does not lead to the root"):
        a_proof(index=5).verify(LEAVES[6], VERIFIER, origin=ORIGIN)


def test_a_checkpoint_by_a_foreign_key_is_refused() -> None:
    stranger = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32))

    with pytest.raises(InvalidNote, match="None of the trusted keys"):
        a_proof(signer=stranger).verify(LEAVES[5], VERIFIER, origin=ORIGIN)


def test_another_logs_checkpoint_is_refused() -> None:
    with pytest.raises(InvalidNote, match="another log"):
        a_proof().verify(LEAVES[5], VERIFIER, origin="consent.example/other")


def test_one_flipped_bit_anywhere_in_a_proof_is_refused() -> None:
    data = a_proof(index=2, size=5).encode()

    for place in range(len(data)):
        for bit in range(8):
            spoilt = bytearray(data)
            spoilt[place] ^= 1 << bit
            with pytest.raises(EvidenceError):
                TlogProof.parse(bytes(spoilt)).verify(LEAVES[2], VERIFIER, origin=ORIGIN)


GOOD = a_proof(index=1, size=3, extra=b"extra").encode().decode()
HASH_LINE = f"{encode_base64(HASHES[0])}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n\n",
        GOOD.replace("@v1", "@v2"),
        "\n" + GOOD,
        " " + GOOD,
        GOOD.replace("extra ", "extra"),
        GOOD.replace("extra ", "Extra "),
        GOOD.replace("extra ZXh0cmE=", "extra "),
        GOOD.replace("extra ZXh0cmE=", "extra ZXh0cmF="),
        GOOD.replace("extra ZXh0cmE=\nindex 1", "index 1\nextra ZXh0cmE="),
        GOOD.replace("extra ZXh0cmE=\n", "extra ZXh0cmE=\nextra ZXh0cmE=\n"),
        GOOD.replace("index 1\n", ""),
        GOOD.replace("index 1", "index 01"),
        GOOD.replace("index 1", "index -1"),
        GOOD.replace("index 1", "index +1"),
        GOOD.replace("index 1", "index 1 "),
        GOOD.replace("index 1", "index  1"),
        GOOD.replace("index 1", "index"),
        GOOD.replace("index 1", "index 1\nindex 1"),
        GOOD.replace("index 1", "index " + "1" * 5000),
        GOOD.replace("index 1", "index \u0661"),
        GOOD.replace(HASH_LINE, HASH_LINE[4:]),
        GOOD.replace(HASH_LINE, " " + HASH_LINE),
        GOOD.replace(HASH_LINE, "AAAA" + HASH_LINE),
        GOOD.replace(HASH_LINE, "not base64\n"),
        GOOD.replace("\n", "\r\n"),
        GOOD + "x" * 2_000_000,
    ],
    ids=lambda text: repr(text[:60]),
)
def test_a_malformed_proof_is_refused(text: str) -> None:
    with pytest.raises(InvalidProof):
        TlogProof.parse(text.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"index": -1},
        {"index": 10**19},
        {"hashes": (b"short",)},
        {"hashes": (b"",)},
        {"hashes": [HASHES[0]]},
    ],
    ids=repr,
)
def test_a_proof_that_could_not_be_read_back_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidProof):
        replace(a_proof(), **changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 4},
        {"index": 13},
        {"hashes": ()},
        {"hashes": a_proof().hashes[1:]},
        {"hashes": a_proof().hashes[::-1]},
        {"hashes": (*a_proof().hashes, HASHES[0])},
        {"hashes": (HASHES[0],) * 1000},
        {"checkpoint": a_proof(size=14).checkpoint},
    ],
)
def test_a_proof_that_was_touched_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidProof):
        replace(a_proof(), **changes).verify(LEAVES[5], VERIFIER, origin=ORIGIN)
