"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint)."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from consent_service.errors import InvalidNote
from consent_service.ledger.canonical import decode_base64, encode_base64
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note, sign_note

ORIGIN = "consent.example/shop"
TEXT = "first line\n\nthird line\n"


def a_signer(name: str = ORIGIN, seed: int = 1) -> NoteSigner:
    return NoteSigner.from_private(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def the_verifier(signer: NoteSigner) -> NoteVerifier:
    return NoteVerifier.parse(signer.vkey)


def a_checkpoint(size: int = 7) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=bytes(range(32)))


note_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n")).map(
    lambda text: text + "\n"
)


@given(note_texts)
def test_a_note_opens_to_its_text(text: str) -> None:
    signer = a_signer()

    note = sign_note(text, signer)

    assert open_note(note, the_verifier(signer)) == text


def test_a_note_opens_for_any_one_of_its_signers() -> None:
    log, witness, stranger = a_signer(), a_signer("witness.example", 2), a_signer("stranger.example", 3)

    note = sign_note(TEXT, log, witness)

    assert open_note(note, the_verifier(witness)) == TEXT
    assert open_note(note, the_verifier(stranger), the_verifier(log)) == TEXT


def test_a_note_by_a_foreign_key_is_refused() -> None:
    note = sign_note(TEXT, a_signer(seed=2))

    with pytest.raises(InvalidNote, match="None of the trusted keys"):
        open_note(note, the_verifier(a_signer(seed=1)))
    with pytest.raises(InvalidNote, match="None of the trusted keys"):
        open_note(note)


def test_a_signature_under_the_same_key_but_another_name_does_not_count() -> None:
    note = sign_note(TEXT, a_signer("somebody.else"))

    with pytest.raises(InvalidNote, match="None of the trusted keys"):
        open_note(note, the_verifier(a_signer()))


def test_a_bad_signature_by_a_known_key_refuses_a_note_that_another_signed_well() -> None:
    log, witness = a_signer(), a_signer("witness.example", 2)
    lying_witness = NoteSigner(witness.name, witness.public_key, lambda _: bytes(64))

    note = sign_note(TEXT, log, lying_witness)

    assert open_note(note, the_verifier(log)) == TEXT
    with pytest.raises(InvalidNote, match="does not verify"):
        open_note(note, the_verifier(log), the_verifier(witness))


def test_one_flipped_bit_anywhere_in_a_note_is_refused() -> None:
    signer = a_signer()
    note = sign_note(TEXT, signer)

    for place in range(len(note)):
        for bit in range(8):
            spoilt = bytearray(note)
            spoilt[place] ^= 1 << bit
            with pytest.raises(InvalidNote):
                open_note(bytes(spoilt), the_verifier(signer))


@pytest.mark.parametrize("size", [0, 1, 4, 64, 67, 69])
def test_a_known_keys_signature_of_another_length_is_refused(size: int) -> None:
    signer = a_signer()
    line = encode_base64((signer.key_id + bytes(64) + b"\0")[:size])

    with pytest.raises(InvalidNote):
        open_note(f"{TEXT}\n— {signer.name} {line}\n".encode(), the_verifier(signer))


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "null\0\n"])
def test_a_text_that_a_note_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(InvalidNote):
        sign_note(text, a_signer())


def test_a_note_without_a_signature_is_refused() -> None:
    with pytest.raises(InvalidNote):
        sign_note(TEXT)


def test_a_signer_that_returns_no_ed25519_signature_is_refused() -> None:
    with pytest.raises(InvalidNote):
        sign_note(TEXT, NoteSigner(ORIGIN, bytes(32), lambda _: b"short"))


SIGNATURE_LINE = sign_note(TEXT, a_signer()).decode().removeprefix(TEXT + "\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        TEXT + "\n",
        SIGNATURE_LINE,
        TEXT + SIGNATURE_LINE,
        TEXT + "\n" + SIGNATURE_LINE[:-1],
        TEXT + "\n" + SIGNATURE_LINE + "\n",
        TEXT + "\n" + SIGNATURE_LINE.replace("—", "-"),
        TEXT + "\n" + SIGNATURE_LINE.replace("— ", "—"),
        TEXT + "\n" + SIGNATURE_LINE + "not a signature\n",
        TEXT + "\n" + SIGNATURE_LINE + "— name\n",
        TEXT + "\n" + SIGNATURE_LINE + "— name not*base64\n",
        TEXT + "\n" + SIGNATURE_LINE + "— na+me AAAAAAA=\n",
        TEXT + "\n" + SIGNATURE_LINE + "— name AAAA\n",
        TEXT + "\n" + SIGNATURE_LINE.replace("\n", "\r\n"),
        "tab\t\n\n" + SIGNATURE_LINE,
        TEXT + "\n" + SIGNATURE_LINE * 65,
        "x" * 1_000_000 + "\n\n" + SIGNATURE_LINE,
    ],
    ids=lambda note: repr(note[:60]),
)
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(InvalidNote):
        open_note(note.encode(), the_verifier(a_signer()))


def test_a_note_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidNote, match="UTF-8"):
        open_note(b"\xff\n\n" + SIGNATURE_LINE.encode(), the_verifier(a_signer()))


def test_a_note_may_have_as_many_signatures_as_the_specification_asks_for() -> None:
    signers = [a_signer(f"witness{number}.example", number) for number in range(16)]

    note = sign_note(TEXT, *signers)

    assert open_note(note, *map(the_verifier, signers)) == TEXT


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(note: bytes) -> None:
    with pytest.raises(InvalidNote):
        open_note(note, the_verifier(a_signer()))


VKEY = a_signer().vkey


def test_a_vkey_is_read_back() -> None:
    signer = a_signer()

    verifier = NoteVerifier.parse(signer.vkey)

    assert (verifier.name, verifier.key_id, verifier.public_key) == (ORIGIN, signer.key_id, signer.public_key)


def test_the_key_of_gos_checksum_database_has_the_id_that_go_prints() -> None:
    verifier = NoteVerifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")

    assert verifier.name == "sum.golang.org"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        VKEY.replace(ORIGIN, "other"),
        VKEY.replace(ORIGIN, ""),
        VKEY.replace(ORIGIN, "with space"),
        VKEY.upper(),
        VKEY[:-1],
        VKEY + "\n",
        VKEY + "+",
        f"{ORIGIN}+{a_signer().key_id.hex()}+{encode_base64(bytes([1]) + bytes(31))}",
        f"{ORIGIN}+{a_signer().key_id.hex()}+{encode_base64(bytes([2]) + a_signer().public_key)}",
    ],
    ids=repr,
)
def test_a_malformed_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        NoteVerifier.parse(vkey)


def test_a_checkpoint_has_three_lines() -> None:
    assert a_checkpoint().text() == f"{ORIGIN}\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_is_read_back(size: int, root: bytes) -> None:
    signer = a_signer()
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root)

    note = sign_checkpoint(checkpoint, signer)

    assert open_checkpoint(note, the_verifier(signer), origin=ORIGIN) == checkpoint


def test_another_logs_checkpoint_is_refused() -> None:
    signer = a_signer()
    note = sign_checkpoint(a_checkpoint(), signer)

    with pytest.raises(InvalidNote, match="another log"):
        open_checkpoint(note, the_verifier(signer), origin="consent.example/other")


def test_extension_lines_are_kept() -> None:
    text = a_checkpoint().text() + "extension one\nextension two\n"

    checkpoint = Checkpoint.parse(text)

    assert checkpoint.extensions == ("extension one", "extension two")
    assert checkpoint.text() == text


ROOT = encode_base64(bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n7\n{ROOT}",
        f"{ORIGIN}\n7\n",
        f"\n7\n{ROOT}\n",
        f"{ORIGIN}\n\n{ROOT}\n",
        f"{ORIGIN}\n07\n{ROOT}\n",
        f"{ORIGIN}\n+7\n{ROOT}\n",
        f"{ORIGIN}\n-7\n{ROOT}\n",
        f"{ORIGIN}\n 7\n{ROOT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT}\n",
        f"{ORIGIN}\n7.0\n{ROOT}\n",
        f"{ORIGIN}\n9223372036854775808\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n",
        f"{ORIGIN}\n7\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT} \n",
        f"{ORIGIN}\n7\n{encode_base64(bytes(31))}\n",
        f"{ORIGIN}\n7\n{encode_base64(bytes(33))}\n",
        f"{ORIGIN}\n7\n{ROOT}\n\n",
        f"{ORIGIN}\n7\n{ROOT}\n\nextension\n",
    ],
    ids=lambda text: repr(text[:60]),
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidNote):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(origin="two\nlines", size=7, root=bytes(32)),
        Checkpoint(origin="", size=7, root=bytes(32)),
        Checkpoint(origin=ORIGIN, size=-1, root=bytes(32)),
        Checkpoint(origin=ORIGIN, size=2**63, root=bytes(32)),
        Checkpoint(origin=ORIGIN, size=7, root=bytes(31)),
        Checkpoint(origin=ORIGIN, size=7, root=bytes(32), extensions=("",)),
        Checkpoint(origin=ORIGIN, size=7, root=bytes(32), extensions=("a\nb",)),
    ],
    ids=repr,
)
def test_a_checkpoint_that_could_not_be_read_back_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidNote):
        sign_checkpoint(checkpoint, a_signer())


def test_the_signature_is_over_the_text_alone() -> None:
    signer = a_signer()
    note = sign_checkpoint(a_checkpoint(), signer).decode()
    signature = decode_base64(note.rstrip("\n").rpartition(" ")[2])

    the_verifier(signer).verify(a_checkpoint().text().encode(), signature[4:])

    assert signature[:4] == signer.key_id
