"""The published vectors hold here, and are what their generator writes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.errors import (
    EvidenceError,
    InvalidEntry,
    InvalidNote,
    InvalidProof,
    NotCanonical,
    UnknownTile,
)
from consent_service.ledger.canonical import canonical_json, parse_json
from consent_service.ledger.certificate import open_certificate
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.entry import Kind, Leaf, commitment, leaf, parse_leaf
from consent_service.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.tiles import (
    TilePath,
    entry_bundle,
    parse_tile_path,
    split_bundle,
    tile_path,
    tile_width,
)
from tests.vectors.generate import FOLDER, VECTORS, render

Case = dict[str, Any]


def vectors(file: str) -> Any:
    return json.loads((FOLDER / f"{file}.json").read_bytes())


def cases(file: str, *members: str, valid: bool | None = None) -> pytest.MarkDecorator:
    """Parametrize a test with the cases of a file's list, all of them or those that (do not) verify."""
    chosen = vectors(file)
    for member in members:
        chosen = chosen[member]
    chosen = [case for case in chosen if valid is None or case["valid"] is valid]
    assert chosen
    names = [str(case.get("name", case)) if isinstance(case, dict) else repr(case) for case in chosen]
    return pytest.mark.parametrize("case", chosen, ids=names)


def unhex(digits: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in digits]


def verifiers(case: Case) -> Iterator[NoteVerifier]:
    return map(NoteVerifier.parse, case["vkeys"])


@pytest.mark.parametrize("name", VECTORS)
def test_the_generator_writes_the_published_file(name: str) -> None:
    assert render(VECTORS[name]()) == (FOLDER / name).read_bytes()


@cases("canonical_json", "valid")
def test_json_has_its_canonical_form(case: Case) -> None:
    assert canonical_json(parse_json(case["json"].encode())) == case["canonical"].encode()
    assert canonical_json(parse_json(case["canonical"].encode())) == case["canonical"].encode()


@cases("canonical_json", "invalid")
def test_json_without_a_canonical_form_is_refused(case: Case) -> None:
    with pytest.raises(NotCanonical):
        parse_json(case["json"].encode())


@cases("entry", "commitments")
def test_a_commitment_is_the_published_one(case: Case) -> None:
    assert commitment(bytes.fromhex(case["opening"]), case["record"].encode()).hex() == case["commitment"]


@cases("entry", "leaves")
def test_a_leaf_is_the_published_one(case: Case) -> None:
    says = Leaf(origin=case["origin"], kind=Kind(case["kind"]), commitment=bytes.fromhex(case["commitment"]))

    data = leaf(says.origin, says.kind, says.commitment)

    assert data == case["leaf"].encode()
    assert leaf_hash(data).hex() == case["leaf_hash"]
    assert parse_leaf(data) == says


@cases("entry", "invalid_leaves")
def test_bytes_that_are_no_leaf_are_refused(case: Case) -> None:
    with pytest.raises(InvalidEntry):
        parse_leaf(case["leaf"].encode())


def test_leaf_hashes_and_roots_are_the_published_ones() -> None:
    tree = vectors("merkle")

    hashes = [leaf_hash(each) for each in unhex(tree["leaves"])]

    assert hashes == unhex(tree["leaf_hashes"])
    assert [root_hash(hashes[:size]) for size in range(len(hashes) + 1)] == unhex(tree["roots"])


def test_the_roots_are_those_that_certificate_transparency_logs_are_tested_with() -> None:
    roots = vectors("merkle")["roots"]

    assert roots[0] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert roots[1] == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert roots[8] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def check_inclusion(case: Case) -> None:
    verify_inclusion(
        index=case["index"],
        size=case["size"],
        leaf_hash=bytes.fromhex(case["leaf_hash"]),
        proof=unhex(case["proof"]),
        root=bytes.fromhex(case["root"]),
    )


@cases("merkle", "inclusion", valid=True)
def test_an_inclusion_proof_verifies_and_is_the_one_we_make(case: Case) -> None:
    hashes = unhex(vectors("merkle")["leaf_hashes"])

    check_inclusion(case)

    assert inclusion_proof(case["index"], case["size"], hashes) == unhex(case["proof"])


@cases("merkle", "inclusion", valid=False)
def test_an_inclusion_proof_that_must_not_verify_does_not(case: Case) -> None:
    with pytest.raises(InvalidProof):
        check_inclusion(case)


def check_consistency(case: Case) -> None:
    verify_consistency(
        old_size=case["old_size"],
        new_size=case["new_size"],
        old_root=bytes.fromhex(case["old_root"]),
        new_root=bytes.fromhex(case["new_root"]),
        proof=unhex(case["proof"]),
    )


@cases("merkle", "consistency", valid=True)
def test_a_consistency_proof_verifies_and_is_the_one_we_make(case: Case) -> None:
    hashes = unhex(vectors("merkle")["leaf_hashes"])

    check_consistency(case)

    assert consistency_proof(case["old_size"], case["new_size"], hashes) == unhex(case["proof"])


@cases("merkle", "consistency", valid=False)
def test_a_consistency_proof_that_must_not_verify_does_not(case: Case) -> None:
    with pytest.raises(InvalidProof):
        check_consistency(case)


@cases("tiles", "paths")
def test_a_tile_has_its_path(case: Case) -> None:
    assert tile_path(case["level"], case["n"], case["width"]) == case["path"]
    assert parse_tile_path(case["path"]) == TilePath(level=case["level"], n=case["n"], width=case["width"])


@cases("tiles", "invalid_paths")
def test_a_path_that_names_no_tile_is_refused(case: str) -> None:
    with pytest.raises(UnknownTile):
        parse_tile_path(case)


@cases("tiles", "widths")
def test_a_tile_has_its_width(case: Case) -> None:
    assert tile_width(case["level"], case["n"], case["size"]) == case["width"]


@cases("tiles", "bundles")
def test_a_bundle_has_its_bytes(case: Case) -> None:
    assert entry_bundle(unhex(case["leaves"])).hex() == case["bundle"]
    assert split_bundle(bytes.fromhex(case["bundle"])) == unhex(case["leaves"])


@cases("tiles", "invalid_bundles")
def test_a_torn_bundle_is_refused(case: Case) -> None:
    with pytest.raises(InvalidEntry):
        split_bundle(bytes.fromhex(case["bundle"]))


@cases("note", "keys")
def test_a_key_has_its_id_and_vkey(case: Case) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(case["seed"]))

    signer = NoteSigner.from_private(case["name"], key)

    assert (signer.public_key.hex(), signer.key_id.hex()) == (case["public_key"], case["key_id"])
    assert signer.vkey == case["vkey"]
    assert NoteVerifier.parse(case["vkey"]).public_key == signer.public_key


@cases("note", "invalid_vkeys")
def test_a_malformed_vkey_is_refused(case: Case) -> None:
    with pytest.raises(InvalidNote):
        NoteVerifier.parse(case["vkey"])


@cases("note", "notes", valid=True)
def test_a_note_opens_to_its_text(case: Case) -> None:
    assert open_note(case["note"].encode(), *verifiers(case)) == case["text"]


@cases("note", "notes", valid=False)
def test_a_note_that_must_not_open_does_not(case: Case) -> None:
    with pytest.raises(InvalidNote):
        open_note(case["note"].encode(), *verifiers(case))


def the_checkpoint(case: Case) -> Checkpoint:
    return Checkpoint(
        origin=case["origin"],
        size=case["size"],
        root=bytes.fromhex(case["root"]),
        extensions=tuple(case.get("extensions", ())),
    )


@cases("checkpoint", "texts")
def test_a_checkpoint_has_its_text(case: Case) -> None:
    assert the_checkpoint(case).text() == case["text"]
    assert Checkpoint.parse(case["text"]) == the_checkpoint(case)


@cases("checkpoint", "invalid_texts")
def test_a_text_that_is_no_checkpoint_is_refused(case: Case) -> None:
    with pytest.raises(InvalidNote):
        Checkpoint.parse(case["text"])


@cases("checkpoint", "signed", valid=True)
def test_a_signed_checkpoint_opens(case: Case) -> None:
    opened = open_checkpoint(case["note"].encode(), *verifiers(case), origin=case["origin"])

    assert opened == the_checkpoint(case)


@cases("checkpoint", "signed", valid=False)
def test_a_checkpoint_that_must_not_open_does_not(case: Case) -> None:
    with pytest.raises(InvalidNote):
        open_checkpoint(case["note"].encode(), *verifiers(case), origin=case["origin"])


def check_tlog_proof(case: Case) -> tuple[TlogProof, Checkpoint]:
    proof = TlogProof.parse(case["proof"].encode())
    return proof, proof.verify(bytes.fromhex(case["leaf"]), *verifiers(case), origin=case["origin"])


@cases("tlog_proof", valid=True)
def test_a_tlog_proof_verifies(case: Case) -> None:
    proof, checkpoint = check_tlog_proof(case)

    assert (proof.index, proof.extra.hex()) == (case["index"], case["extra"])
    assert checkpoint == the_checkpoint(case)
    assert proof.encode().decode() == case["proof"]


@cases("tlog_proof", valid=False)
def test_a_tlog_proof_that_must_not_verify_does_not(case: Case) -> None:
    with pytest.raises(EvidenceError):
        check_tlog_proof(case)


@cases("certificate", valid=True)
def test_a_certificate_of_an_erasure_opens(case: Case) -> None:
    opened = open_certificate(case["certificate"], NoteVerifier.parse(case["vkey"]))

    assert (opened.origin, opened.index, opened.subject) == (case["origin"], case["index"], case["subject"])
    assert commitment(opened.opening, opened.record.encode()).hex() == case["commitment"]


@cases("certificate", valid=False)
def test_a_certificate_that_must_not_open_does_not(case: Case) -> None:
    with pytest.raises(InvalidNote):
        open_certificate(case["certificate"], NoteVerifier.parse(case["vkey"]))
