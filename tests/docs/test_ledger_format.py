"""The example in the ledger's format holds, step by step as the page says."""

import hmac
import re
from hashlib import sha256
from pathlib import Path

from consent_service.ledger.canonical import canonical_json, parse_json
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof

PAGE = (Path(__file__).parents[2] / "docs/reference/ledger-format.md").read_text()
BLOCKS = re.findall(r"^```(?:json|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_verifies() -> None:
    record, hashes, vkey, proof = BLOCKS[-4:]
    opening, committed, leaf_hashed = hashes.split()
    shown_leaf = next(block for block in BLOCKS if block.startswith('{"c":')).rstrip()

    data = leaf(
        "consent.example/shop", Kind.DECISION, commitment(bytes.fromhex(opening), record.rstrip().encode())
    )

    assert canonical_json(parse_json(record.encode())).decode() == record.rstrip()
    assert data.decode() == shown_leaf
    assert sha256(b"\0" + data).hexdigest() == leaf_hashed
    assert (
        hmac.digest(b"consent/v1", bytes.fromhex(opening) + record.rstrip().encode(), "sha256").hex()
        == committed
    )
    checkpoint = TlogProof.parse(proof.encode()).verify(
        data, NoteVerifier.parse(vkey.rstrip()), origin="consent.example/shop"
    )
    assert checkpoint.size == 3
