"""Signed notes (C2SP signed-note): text that carries the Ed25519 signatures of named keys.

A key travels as a *vkey*, `name+key id+base64(0x01 || public key)`, the form of Go's `x/mod/sumdb/note`. The
private key may live anywhere: a signer is a name, a public key and a function that signs bytes.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from consent_service.errors import InvalidNote, NotCanonical
from consent_service.ledger.canonical import decode_base64, encode_base64

_ED25519 = b"\x01"  # the signature type identifier byte
_KEY_ID_SIZE = 4
_PUBLIC_KEY_SIZE = 32
_SIGNATURE_SIZE = 64
_MARK = "\N{EM DASH} "
# Limits on what is worth checking; the specification asks for at least 16 signatures.
_LONGEST_NOTE = 1_000_000
_MOST_SIGNATURES = 64
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes that name an Ed25519 key in signatures: SHA-256(name || LF || 0x01 || key)[:4]."""
    return sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_SIZE]


class NoteSigner:
    """A named Ed25519 key that can sign notes."""

    __slots__ = ("key_id", "name", "public_key", "sign")

    def __init__(self, name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> None:
        _require_key(name, public_key)
        self.name = name
        self.public_key = public_key
        self.sign = sign
        self.key_id = key_id(name, public_key)

    @classmethod
    def from_private(cls, name: str, key: Ed25519PrivateKey) -> Self:
        """Return a signer whose key is in memory."""
        return cls(name, key.public_key().public_bytes_raw(), key.sign)

    @property
    def vkey(self) -> str:
        """The public key in the form that `NoteVerifier.parse` and Go's `note.NewVerifier` read."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public_key)}"


class NoteVerifier:
    """A named Ed25519 public key that somebody trusts."""

    __slots__ = ("_key", "key_id", "name", "public_key")

    def __init__(self, name: str, public_key: bytes) -> None:
        _require_key(name, public_key)
        self.name = name
        self.public_key = public_key
        self.key_id = key_id(name, public_key)
        self._key = Ed25519PublicKey.from_public_bytes(public_key)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Return the verifier of a vkey; raise `InvalidNote` if it is malformed or its key id is wrong."""
        name, _, rest = vkey.partition("+")
        stated_id, _, encoded = rest.partition("+")
        key = _decode(encoded)
        if key[:1] != _ED25519:
            raise InvalidNote("The verifier key is not an Ed25519 key.")
        verifier = cls(name, key[1:])
        if verifier.key_id.hex() != stated_id:
            raise InvalidNote("The verifier key has an id that is not its own.")
        return verifier

    @property
    def vkey(self) -> str:
        """The key in the form that `parse` reads."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public_key)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature over `message`; raise `InvalidNote` if it is not this key's."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise InvalidNote(f"The signature of {self.name} does not verify.") from None


def sign_note(text: str, *signers: NoteSigner) -> bytes:
    """Return the note: the text, an empty line and one signature line per signer.

    The text ends with a newline and has no other control character. Raises `InvalidNote`.
    """
    if not signers:
        raise InvalidNote("A note needs at least one signature.")
    _require_text(text)
    message = text.encode()
    lines = [text, "\n"]
    for signer in signers:
        signature = signer.sign(message)
        if len(signature) != _SIGNATURE_SIZE:
            raise InvalidNote(f"An Ed25519 signature has {_SIGNATURE_SIZE} bytes, not {len(signature)}.")
        lines.append(f"{_MARK}{signer.name} {encode_base64(signer.key_id + signature)}\n")
    return "".join(lines).encode()


def open_note(note: bytes, *verifiers: NoteVerifier) -> str:
    """Return the text of a note that at least one of these keys signed; raise `InvalidNote` otherwise.

    Signatures by unknown keys are ignored. A bad signature by a known key refuses the whole note:
    somebody tampered with it, whoever else signed it.
    """
    text, lines = _split_note(note)
    message = text.encode()
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified = False
    for line in lines:
        name, signature = _parse_signature(line)
        verifier = known.get((name, signature[:_KEY_ID_SIZE]))
        if verifier is not None:
            verifier.verify(message, signature[_KEY_ID_SIZE:])
            verified = True
    if not verified:
        raise InvalidNote("None of the trusted keys signed this note.")
    return text


def _split_note(note: bytes) -> tuple[str, list[str]]:
    """Return the text and the signature lines, which begin after the last empty line."""
    if len(note) > _LONGEST_NOTE:
        raise InvalidNote(f"A note has at most {_LONGEST_NOTE} bytes.")
    try:
        content = note.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidNote("The note is not UTF-8.") from None
    text, separator, signatures = content.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise InvalidNote("The note has no signature lines after an empty line.")
    _require_text(text + "\n")
    lines = signatures[:-1].split("\n")
    if len(lines) > _MOST_SIGNATURES:
        raise InvalidNote(f"The note has more than {_MOST_SIGNATURES} signatures.")
    return text + "\n", lines


def _parse_signature(line: str) -> tuple[str, bytes]:
    """Return the key name and the key id with the signature after it."""
    if not line.startswith(_MARK):
        raise InvalidNote("A signature line begins with an em dash and a space.")
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    _require_name(name)
    signature = _decode(encoded)
    if len(signature) <= _KEY_ID_SIZE:
        raise InvalidNote("A signature line has a key id and a signature.")
    return name, signature


def _require_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise InvalidNote("A note's text ends with a newline and has no other control characters.")


def _require_key(name: str, public_key: bytes) -> None:
    _require_name(name)
    if len(public_key) != _PUBLIC_KEY_SIZE:
        raise InvalidNote(f"An Ed25519 public key has {_PUBLIC_KEY_SIZE} bytes.")


def _require_name(name: str) -> None:
    if not name or "+" in name or _CONTROL.search(name) or any(character.isspace() for character in name):
        raise InvalidNote("A key's name is not empty and has no spaces, plus signs or control characters.")


def _decode(text: str) -> bytes:
    try:
        return decode_base64(text)
    except NotCanonical:
        raise InvalidNote("A key or a signature is not base64.") from None
