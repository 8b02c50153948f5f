"""Cases for how the keys of a log follow each other: chains that lead to a key, and those that must not."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.handoff import Handoff
from consent_service.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.record import KeyRecord
from tests.vectors.signed_cases import LOG, ORIGIN, WITNESS, Case, a_seed, a_signer

FIRST, SECOND, THIRD = a_signer(ORIGIN, "first log key"), LOG, a_signer(ORIGIN, "third log key")
THIEF = a_signer(ORIGIN, "somebody's own key")
_OPENING = a_seed("opening of a key entry")


def handoff(old: NoteSigner, new: NoteSigner, version: int, *signers: NoteSigner) -> Handoff:
    """Return the step from `old` to `new` in a log of three entries; `signers` of the checkpoint, or both."""
    record = KeyRecord(
        what="signing",
        version=version,
        recorded_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
        vkey=new.vkey,
        previous=old.vkey,
    ).encode()
    entries = [b"another", leaf(ORIGIN, Kind.KEY, commitment(_OPENING, record)), b"and another"]
    hashes = [leaf_hash(entry) for entry in entries]
    checkpoint = Checkpoint(origin=ORIGIN, size=3, root=root_hash(hashes))
    note = sign_checkpoint(checkpoint, *(signers or (old, new)))
    proof = TlogProof(index=1, hashes=tuple(inclusion_proof(1, 3, hashes)), checkpoint=note)
    return Handoff(opening=_OPENING, record=record, proof=proof.encode())


def _case(name: str, trusted: NoteSigner, newest: NoteSigner | None, *handoffs: Handoff) -> Case:
    documents = [each.document() for each in handoffs]
    return {
        "name": name,
        "vkey": trusted.vkey,
        "handoffs": json.dumps({"handoffs": documents}),
        "newest": None if newest is None else newest.vkey,
    }


def handoff_vectors() -> list[Case]:
    """Chains with the key that each leads to from `vkey`, or null where it must be refused."""
    one, two = handoff(FIRST, SECOND, 2), handoff(SECOND, THIRD, 3)
    record = one.record.decode()
    changed = {
        "another opening": replace(one, opening=bytes(32)),
        "an opening of 31 bytes": replace(one, opening=bytes(31)),
        "another key in the record": replace(one, record=record.replace(SECOND.vkey, THIEF.vkey).encode()),
        "another version in the record": replace(
            one, record=record.replace('"version":2', '"version":3').encode()
        ),
        "another log's key in the record": replace(
            one, record=record.replace(SECOND.vkey, WITNESS.vkey).encode()
        ),
        "another index": replace(one, proof=one.proof.replace(b"index 1", b"index 0")),
        "a later proof": replace(one, proof=one.proof.replace(b"@v1", b"@v2")),
        "no checkpoint": replace(one, proof=one.proof.partition(b"\n\n")[0]),
        "signed by the new key only": handoff(FIRST, SECOND, 2, SECOND),
        "signed by the old key only": handoff(FIRST, SECOND, 2, FIRST),
        "signed by somebody else": handoff(FIRST, THIEF, 2, THIEF),
    }
    good = _case("one step", FIRST, SECOND, one)
    return [
        good,
        _case("two steps", FIRST, THIRD, one, two),
        _case("from the middle", SECOND, THIRD, one, two),
        _case("from the newest key", THIRD, THIRD, one, two),
        _case("no step", FIRST, FIRST),
        _case("a step that leads on from another key", THIEF, THIEF, one, two),
        *(_case(name, FIRST, None, each) for name, each in changed.items()),
        _case("a good step and a bad one", FIRST, None, one, replace(two, opening=bytes(32))),
        good | {"name": "no list", "handoffs": '{"handoffs": 1}', "newest": None},
        good | {"name": "not JSON", "handoffs": "[", "newest": None},
    ]
