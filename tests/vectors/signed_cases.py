"""Cases for what is signed: notes, checkpoints and tlog-proofs, which open or must not."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.ledger.canonical import encode_base64
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.merkle import inclusion_proof
from consent_service.ledger.note import NoteSigner, sign_note
from consent_service.ledger.proof import TlogProof
from tests.vectors.merkle_cases import HASHES, LEAVES, ROOTS

Case = dict[str, Any]
ORIGIN = "consent.example/shop"


def a_seed(name: str) -> bytes:
    """Return 32 bytes that stand for a random draw."""
    return sha256(b"consent toolkit test vectors: " + name.encode()).digest()


def a_signer(name: str, draw: str) -> NoteSigner:
    return NoteSigner.from_private(name, Ed25519PrivateKey.from_private_bytes(a_seed(draw)))


LOG = a_signer(ORIGIN, "log key")
OLD_LOG = a_signer(ORIGIN, "retired log key")
WITNESS = a_signer("witness.example/w1", "witness key")
LYING_WITNESS = NoteSigner(WITNESS.name, WITNESS.public_key, lambda _: bytes(64))
TEXT = "A text\n\nwith an empty line and caf\u00e9 \u2028\n"
LINE = f"\u2014 {LOG.name} "


def note_vectors() -> Case:
    """Keys, vkeys that must be refused, and notes for given vkeys: opened to `text`, or refused."""
    key = encode_base64(b"\x01" + LOG.public_key)
    prefix = f"{LOG.name}+{LOG.key_id.hex()}+"
    invalid_vkeys = {
        "nothing": "",
        "only a name": LOG.name,
        "no key": prefix,
        "another name": LOG.vkey.replace(LOG.name, "consent.example/other"),
        "another id": LOG.vkey.replace(LOG.key_id.hex(), "00000000"),
        "an id in capitals": LOG.vkey.replace(LOG.key_id.hex(), LOG.key_id.hex().upper()),
        "another signature type": prefix + encode_base64(b"\x04" + LOG.public_key),
        "a short key": prefix + encode_base64(b"\x01" + LOG.public_key[:-1]),
        "a letter missing": LOG.vkey[:-1],
        "URL-safe base64": prefix + "-" + key[1:],
        "a line break at the end": LOG.vkey + "\n",
    }
    return {
        "keys": [
            {
                "name": signer.name,
                "seed": a_seed(draw).hex(),
                "public_key": signer.public_key.hex(),
                "key_id": signer.key_id.hex(),
                "vkey": signer.vkey,
            }
            for signer, draw in ((LOG, "log key"), (OLD_LOG, "retired log key"), (WITNESS, "witness key"))
        ],
        "invalid_vkeys": [{"name": name, "vkey": vkey} for name, vkey in invalid_vkeys.items()],
        "notes": [*_good_notes(), *_bad_notes()],
    }


def _a_note(name: str, note: str, *trusted: NoteSigner, text: str = TEXT) -> Case:
    return {"name": name, "note": note, "vkeys": [each.vkey for each in trusted], "valid": True, "text": text}


def _good_notes() -> list[Case]:
    note = sign_note(TEXT, LOG).decode()
    both = sign_note(TEXT, WITNESS, LOG).decode()
    long_unknown = f"\u2014 post-quantum.example {encode_base64(bytes(2424))}\n"
    return [
        _a_note("one signature", note, LOG),
        _a_note("one of two trusted keys signed", note, WITNESS, LOG),
        _a_note("two signatures, one trusted", both, LOG),
        _a_note("two signatures, both trusted", both, LOG, WITNESS),
        _a_note(
            "a signature by the retired key under the same name", sign_note(TEXT, OLD_LOG, LOG).decode(), LOG
        ),
        _a_note("an unknown key with a long signature", note + long_unknown, LOG),
        _a_note("an unknown key lies", sign_note(TEXT, LYING_WITNESS, LOG).decode(), LOG),
        _a_note("the same signature twice", note + note.rpartition("\n\n")[2], LOG),
        _a_note("a text that looks like a note", sign_note(note, WITNESS).decode(), WITNESS, text=note),
        _a_note("a text of one line break", sign_note("\n", LOG).decode(), LOG, text="\n"),
    ]


def _bad_notes() -> list[Case]:
    note = sign_note(TEXT, LOG).decode()
    signature = note.rpartition(LINE)[2][:-1]
    short = encode_base64(LOG.key_id + bytes(63))
    bad = {
        "nothing": "",
        "no signature": TEXT,
        "no signature after the empty line": TEXT + "\n",
        "no empty line": "one line\n" + note.rpartition("\n\n")[2],
        "another text": note.replace("A text", "B text"),
        "a line more": "more\n" + note,
        "a flipped bit in the signature": note.replace(
            signature, signature[:20] + _other(signature[20]) + signature[21:]
        ),
        "a short signature": note.replace(signature, short),
        "only a key id": note.replace(signature, encode_base64(LOG.key_id)),
        "no signature in the line": note.replace(signature, ""),
        "a signature without padding": note.replace(signature, signature.rstrip("=")),
        "another name": note.replace(LINE, "\u2014 consent.example/other "),
        "a hyphen for the dash": note.replace(LINE, f"- {LOG.name} "),
        "two spaces": note.replace(LINE, f"\u2014  {LOG.name} "),
        "a missing line break at the end": note[:-1],
        "an empty line at the end": note + "\n",
        "line breaks with carriage returns": note.replace("\n", "\r\n"),
        "a tab in the text": note.replace("A text", "A\ttext"),
        "a malformed line by somebody else": note + "\u2014 witness.example/w1\n",
        "base64 that is none by somebody else": note + "\u2014 witness.example/w1 !!!!\n",
        "a plus in a name": note + f"\u2014 witness+w1 {encode_base64(bytes(68))}\n",
        "signed by the retired key": sign_note(TEXT, OLD_LOG).decode(),
        "signed by the witness alone": sign_note(TEXT, WITNESS).decode(),
    }
    cases = [_a_note(name, text, LOG) for name, text in bad.items()]
    lie = sign_note(TEXT, LOG, LYING_WITNESS).decode()
    cases.append(_a_note("a bad signature by a trusted key beside a good one", lie, LOG, WITNESS))
    cases.append(_a_note("nobody is trusted", note))
    return [case | {"valid": False, "text": None} for case in cases]


def _other(letter: str) -> str:
    return "B" if letter == "A" else "A"


def a_checkpoint(size: int) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=ROOTS[size])


def checkpoint_vectors() -> Case:
    """Checkpoint texts, texts that are none, and signed checkpoints for given vkeys and origin."""
    good = a_checkpoint(7)
    root = encode_base64(good.root)
    valid = [
        a_checkpoint(0),
        a_checkpoint(1),
        good,
        replace(good, size=2**53 - 1),
        replace(good, extensions=("an extension line", "and another")),
    ]
    invalid = {
        "nothing": "",
        "two lines": f"{ORIGIN}\n7\n",
        "no line break at the end": f"{ORIGIN}\n7\n{root}",
        "no origin": f"\n7\n{root}\n",
        "no size": f"{ORIGIN}\n\n{root}\n",
        "a leading zero": f"{ORIGIN}\n07\n{root}\n",
        "a plus sign": f"{ORIGIN}\n+7\n{root}\n",
        "a negative size": f"{ORIGIN}\n-7\n{root}\n",
        "a space after the size": f"{ORIGIN}\n7 \n{root}\n",
        "a size of 2^63": f"{ORIGIN}\n{2**63}\n{root}\n",
        "a short root": f"{ORIGIN}\n7\n{encode_base64(bytes(31))}\n",
        "a root without padding": f"{ORIGIN}\n7\n{root[:-1]}\n",
        "an empty extension line": f"{ORIGIN}\n7\n{root}\n\n",
    }
    return {
        "texts": [
            _fields(each) | {"extensions": list(each.extensions), "text": each.text()} for each in valid
        ],
        "invalid_texts": [{"name": name, "text": text} for name, text in invalid.items()],
        "signed": _signed_checkpoints(good),
    }


def _fields(checkpoint: Checkpoint) -> Case:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _signed_checkpoints(checkpoint: Checkpoint) -> list[Case]:
    note = sign_checkpoint(checkpoint, LOG).decode()
    witnessed = sign_checkpoint(checkpoint, LOG, WITNESS).decode()
    trusted = {"vkeys": [LOG.vkey], **_fields(checkpoint)}
    return [
        {"name": "signed by the log", "note": note, **trusted, "valid": True},
        {"name": "signed by log and witness", "note": witnessed, **trusted, "valid": True},
        {
            "name": "of another log",
            "note": note,
            **trusted,
            "origin": "consent.example/other",
            "valid": False,
        },
        {"name": "of another size", "note": note.replace("\n7\n", "\n8\n"), **trusted, "valid": False},
        {"name": "by a foreign key", "note": note, **trusted, "vkeys": [WITNESS.vkey], "valid": False},
        {
            "name": "a note but no checkpoint",
            "note": sign_note(TEXT, LOG).decode(),
            **trusted,
            "valid": False,
        },
    ]


def a_proof(index: int, size: int, extra: bytes = b"") -> TlogProof:
    return TlogProof(
        index=index,
        hashes=tuple(inclusion_proof(index, size, HASHES)),
        checkpoint=sign_checkpoint(a_checkpoint(size), LOG),
        extra=extra,
    )


def _a_proof_case(name: str, proof: TlogProof, size: int) -> Case:
    return {
        "name": name,
        "proof": proof.encode().decode(),
        "leaf": LEAVES[proof.index].hex(),
        "vkeys": [LOG.vkey],
        "origin": ORIGIN,
        "valid": True,
        "index": proof.index,
        "size": size,
        "root": ROOTS[size].hex(),
        "extra": proof.extra.hex(),
    }


def tlog_proof_vectors() -> list[Case]:
    """Proofs that hold for their leaf, vkeys and origin, and changes to one of them that must be refused."""
    good = _a_proof_case("leaf 5 of 7", a_proof(5, 7), 7)
    cases = [
        good,
        _a_proof_case("the only leaf", a_proof(0, 1), 1),
        _a_proof_case("the last of 70 leaves", a_proof(69, 70), 70),
        _a_proof_case("with extra data", a_proof(5, 7, b"\x00opening and more"), 7),
    ]
    text = good["proof"]
    first = text.split("\n")[2]
    changes: dict[str, Case] = {
        "another leaf": {"leaf": LEAVES[4].hex()},
        "another origin": {"origin": "consent.example/other"},
        "a foreign key": {"vkeys": [WITNESS.vkey]},
        "another index": {"proof": text.replace("index 5", "index 4")},
        "an index beyond the size": {"proof": text.replace("index 5", "index 7")},
        "an index with a leading zero": {"proof": text.replace("index 5", "index 05")},
        "no index": {"proof": text.replace("index 5\n", "")},
        "a later version": {"proof": text.replace("@v1", "@v2")},
        "no first line": {"proof": text.partition("\n")[2]},
        "empty extra data": {"proof": text.replace("index", "extra \nindex")},
        "extra data that is not base64": {"proof": text.replace("index", "extra !\nindex")},
        "extra data after the index": {"proof": text.replace("index 5", "index 5\nextra AAAA")},
        "a hash less": {"proof": text.replace(first + "\n", "")},
        "a hash twice": {"proof": text.replace(first, f"{first}\n{first}")},
        "a hash of 31 bytes": {"proof": text.replace(first, encode_base64(bytes(31)))},
        "a hash that is not base64": {"proof": text.replace(first, "!" + first[1:])},
        "another size in the checkpoint": {"proof": text.replace("\n7\n", "\n8\n")},
        "another tree's checkpoint": {"proof": text.replace(_checkpoint(7), _checkpoint(8))},
        "no checkpoint": {"proof": text.replace(_checkpoint(7), "")},
        "line breaks with carriage returns": {"proof": text.replace("\n", "\r\n")},
    }
    return cases + [good | change | {"name": name, "valid": False} for name, change in changes.items()]


def _checkpoint(size: int) -> str:
    return sign_checkpoint(a_checkpoint(size), LOG).decode()
