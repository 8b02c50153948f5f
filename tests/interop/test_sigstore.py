"""Sigstore's Merkle verification agrees with ours on every published inclusion proof, and on random ones.

The function is internal to the package `sigstore`; there is no public one that takes a proof of another log.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError
from sigstore.models import TransparencyLogEntry
from sigstore_models.rekor.v1 import TransparencyLogEntry as Document

from consent_service.ledger.merkle import inclusion_proof, leaf_hash, root_hash

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "merkle.json").read_bytes())
LEAF_BY_HASH = dict(zip(VECTORS["leaf_hashes"], VECTORS["leaves"], strict=True))
HASHES = [leaf_hash(str(number).encode()) for number in range(300)]


def an_entry(*, index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> TransparencyLogEntry:
    """The entry as sigstore reads it from JSON: only leaf and inclusion proof say something about ours."""
    document = {
        "logIndex": str(index),
        "logId": {"keyId": _base64(bytes(32))},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
        "canonicalizedBody": _base64(leaf),
        "inclusionProof": {
            "logIndex": str(index),
            "treeSize": str(size),
            "rootHash": _base64(root),
            "hashes": [_base64(each) for each in proof],
            "checkpoint": {"envelope": "not looked at here"},
        },
    }
    return TransparencyLogEntry(Document.from_json(json.dumps(document)))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@given(st.data())
def test_sigstore_verifies_our_proofs(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(HASHES)))
    index = data.draw(st.integers(0, size - 1))

    entry = an_entry(
        index=index,
        size=size,
        leaf=str(index).encode(),
        proof=inclusion_proof(index, size, HASHES),
        root=root_hash(HASHES[:size]),
    )

    verify_merkle_inclusion(entry)


def of_a_known_leaf(case: dict[str, Any]) -> bool:
    """Sigstore hashes the leaf itself, and its model refuses an index outside the tree before any hash."""
    return case["leaf_hash"] in LEAF_BY_HASH and 0 <= case["index"] < case["size"]


CASES = [case for case in VECTORS["inclusion"] if of_a_known_leaf(case)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_sigstore_has_the_same_opinion_of_a_published_proof(case: dict[str, Any]) -> None:
    entry = an_entry(
        index=case["index"],
        size=case["size"],
        leaf=bytes.fromhex(LEAF_BY_HASH[case["leaf_hash"]]),
        proof=[bytes.fromhex(each) for each in case["proof"]],
        root=bytes.fromhex(case["root"]),
    )

    if case["valid"]:
        verify_merkle_inclusion(entry)
    else:
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(entry)


def test_valid_and_invalid_proofs_are_among_the_cases() -> None:
    verdicts = [case["valid"] for case in CASES]

    assert verdicts.count(True) > 40
    assert verdicts.count(False) > 15
