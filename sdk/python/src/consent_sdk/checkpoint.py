"""Open signed checkpoints (C2SP signed-note and tlog-checkpoint); needs the extra `consent-sdk[verify]`."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consent_sdk._frozen import Frozen
from consent_sdk.errors import InvalidNote

_ED25519 = b"\x01"
_ID_SIZE = 4
_HASH_SIZE = 32
_FEWEST_LINES = 3
_MOST_SIGNATURES = 64
_LONGEST_NOTE = 1_000_000
_MARK = "\N{EM DASH} "


class Checkpoint(Frozen):
    """What a ledger says about itself: its origin, how many entries it has and their root hash."""

    __slots__ = ("origin", "root", "size")

    origin: str
    size: int
    root: bytes

    def __init__(self, *, origin: str, size: int, root: bytes) -> None:
        self._init(origin=origin, size=size, root=root)


def open_checkpoint(note: bytes, *, key: str, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint that `key` signed; raise `InvalidNote` for anything else.

    `key` is the ledger's public key in the form `name+key id+base64`; `origin` is the ledger's name, the
    key's unless given. (1) the key has the id it states; (2) a line by that key signs the text; (3) no line
    by it is wrong; (4) the text is a checkpoint, (5) of this ledger.
    """
    name, key_id, public_key = _parse_key(key)  # (1)
    text, lines = _split(note)
    signed = False
    for line in lines:
        signer, _, encoded = line.removeprefix(_MARK).partition(" ")
        signature = _decode(encoded)
        if not line.startswith(_MARK) or len(signature) <= _ID_SIZE:
            raise InvalidNote("A signature line has a name, a key id and a signature.")
        if signer == name and signature[:_ID_SIZE] == key_id:
            _verify(public_key, signature[_ID_SIZE:], text.encode())  # (3)
            signed = True
    if not signed:  # (2)
        raise InvalidNote("The trusted key did not sign this note.")
    checkpoint = _parse(text)  # (4)
    if checkpoint.origin != (origin or name):  # (5)
        raise InvalidNote("The checkpoint is another ledger's.")
    return checkpoint


def _verify(public_key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    try:
        public_key.verify(signature, message)
    except InvalidSignature:
        raise InvalidNote("A signature by the trusted key does not verify.") from None


def _parse_key(key: str) -> tuple[str, bytes, Ed25519PublicKey]:
    name, _, rest = key.partition("+")
    stated, _, encoded = rest.partition("+")
    raw = _decode(encoded)
    key_id = sha256(name.encode() + b"\n" + raw).digest()[:_ID_SIZE]
    if not name or raw[:1] != _ED25519 or len(raw) != 1 + _HASH_SIZE or key_id.hex() != stated:
        raise InvalidNote("Not the public key of a ledger (name+key id+base64), or its id is not its own.")
    return name, key_id, Ed25519PublicKey.from_public_bytes(raw[1:])


def _split(note: bytes) -> tuple[str, list[str]]:
    try:
        text, separator, signatures = note[: _LONGEST_NOTE + 1].decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise InvalidNote("The note is not UTF-8.") from None
    lines = signatures.removesuffix("\n").split("\n")
    if (
        len(note) > _LONGEST_NOTE
        or not separator
        or not signatures.endswith("\n")
        or len(lines) > _MOST_SIGNATURES
    ):
        raise InvalidNote("Not a signed note: text, an empty line, signature lines.")
    return text + "\n", lines


def _parse(text: str) -> Checkpoint:
    *lines, end = text.split("\n")
    if end or len(lines) < _FEWEST_LINES or not all(lines):
        raise InvalidNote("A checkpoint has an origin line, a size line and a root line.")
    origin, size, root = lines[0], lines[1], _decode(lines[2])
    if not size.isascii() or not size.isdigit() or str(int(size[:19])) != size or len(root) != _HASH_SIZE:
        raise InvalidNote("A checkpoint's size is a decimal number and its root 32 bytes in base64.")
    return Checkpoint(origin=origin, size=int(size), root=root)


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidNote("A key, a root or a signature is not base64.") from None
