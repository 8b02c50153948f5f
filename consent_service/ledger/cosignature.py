"""Cosignatures (C2SP tlog-cosignature, Ed25519): a witness saw that a checkpoint continues the last one.

A cosignature is one more signature line on a checkpoint. The witness signs a header, the time and the whole
checkpoint text, under a key whose vkey has type 0x04.
"""

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from consent_service.errors import InvalidNote, NotCanonical
from consent_service.ledger.canonical import decode_base64, encode_base64

_TYPE = b"\x04"
_MARK = "\N{EM DASH}"
_SIGNATURE = struct.Struct(">4sQ64s")
_LATEST = 2**63 - 1
_KEY_SIZE = 32


def _key_id(name: str, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _TYPE + public_key).digest()[:4]


def _message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def text_of(note: bytes) -> str:
    """Return the text of a signed note without looking at its signatures; raise `InvalidNote`."""
    try:
        text, separator, _ = note.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise InvalidNote("The note is not UTF-8.") from None
    if not separator:
        raise InvalidNote("The note has no signature lines after an empty line.")
    return text + "\n"


class Cosigner:
    """A witness's name and private key."""

    __slots__ = ("_key", "name", "public_key")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @property
    def vkey(self) -> str:
        """The public key in the form that `CosignatureVerifier.parse` reads."""
        key_id = _key_id(self.name, self.public_key)
        return f"{self.name}+{key_id.hex()}+{encode_base64(_TYPE + self.public_key)}"

    def cosign(self, note: bytes, timestamp: int) -> str:
        """Return the signature line for a checkpoint; `timestamp` is POSIX seconds."""
        signature = self._key.sign(_message(text_of(note), timestamp))
        data = _SIGNATURE.pack(_key_id(self.name, self.public_key), timestamp, signature)
        return f"{_MARK} {self.name} {encode_base64(data)}\n"


class CosignatureVerifier:
    """A witness's public key that somebody trusts."""

    __slots__ = ("_key", "_key_id", "name")

    def __init__(self, name: str, public_key: bytes) -> None:
        self.name = name
        self._key = Ed25519PublicKey.from_public_bytes(public_key)
        self._key_id = _key_id(name, public_key)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Return the verifier of a witness's vkey; raise `InvalidNote` for anything else."""
        name, _, rest = vkey.partition("+")
        stated, _, encoded = rest.partition("+")
        try:
            key = decode_base64(encoded)
        except NotCanonical:
            key = b""
        if key[:1] != _TYPE or len(key) != 1 + _KEY_SIZE or not name or any(map(str.isspace, name)):
            raise InvalidNote("This is not the key of a witness.")
        if _key_id(name, key[1:]).hex() != stated:
            raise InvalidNote("The witness's key has an id that is not its own.")
        return cls(name, key[1:])

    def signed(self, note: bytes) -> bool:
        """Say whether a signature line has this witness's name and key id, whatever it is worth."""
        return any(self._is_mine(encoded) for encoded in self._under_its_name(note, text_of(note)))

    def _under_its_name(self, note: bytes, text: str) -> Iterator[str]:
        for line in note.decode()[len(text) + 1 :].split("\n"):
            mark, _, rest = line.partition(" ")
            name, _, encoded = rest.partition(" ")
            if mark == _MARK and name == self.name:
                yield encoded

    def seen_at(self, note: bytes) -> int:
        """Return the POSIX second in which this witness cosigned; raise `InvalidNote` if it did not."""
        text = text_of(note)
        for encoded in self._under_its_name(note, text):
            if self._is_mine(encoded):
                _, timestamp, signature = _SIGNATURE.unpack(decode_base64(encoded))
                return self._verified(text, timestamp, signature)
        raise InvalidNote(f"The witness {self.name} did not cosign this checkpoint.")

    def _is_mine(self, encoded: str) -> bool:
        try:
            data = decode_base64(encoded)
        except NotCanonical:
            return False
        return len(data) == _SIGNATURE.size and data[:4] == self._key_id

    def _verified(self, text: str, timestamp: int, signature: bytes) -> int:
        try:
            self._key.verify(signature, _message(text, timestamp))
        except InvalidSignature:
            raise InvalidNote(f"The cosignature of {self.name} does not verify.") from None
        if timestamp > _LATEST:
            raise InvalidNote("The time of a cosignature is beyond 2^63 - 1.")
        return timestamp
