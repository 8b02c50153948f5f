"""Seal bytes under a key: AES-256-GCM with a key commitment, in a versioned format.

    version (1) = 0x01 | key id (16) | key commitment (32) | nonce (12) | ciphertext | tag (16)

One HKDF-SHA256 (RFC 5869) of the 32-byte secret gives key id, commitment and the AES key. GCM alone is not
key-committing: one ciphertext can be made to open under two keys, to two plaintexts. The commitment pins the
key, and is compared before anything is decrypted. Everything before the nonce, and the caller's AAD, is
authenticated with the ciphertext. Nonces are random: the caller rotates a key long before 2**32 seals.
"""

import hmac
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidKey, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent_service.errors import SealBroken

SECRET_SIZE = 32
"""Bytes of a sealing key's secret."""

KEY_ID_SIZE = 16
"""Bytes of a key id, which names a key without saying anything about it."""

_SHA256 = hashes.SHA256()
_VERSION = b"\x01"
_COMMITMENT_SIZE = 32
_DERIVED_SIZE = KEY_ID_SIZE + _COMMITMENT_SIZE + SECRET_SIZE
_NONCE_SIZE = 12
_TAG_SIZE = 16

HEADER_SIZE = len(_VERSION) + KEY_ID_SIZE + _COMMITMENT_SIZE
"""Bytes with which every seal by one key begins."""

_TEXT_AT = HEADER_SIZE + _NONCE_SIZE

OVERHEAD = _TEXT_AT + _TAG_SIZE
"""Bytes that a seal adds to its plaintext."""


class SealingKey:
    """A 32-byte secret made ready to seal and open; keep the object, deriving costs more than sealing.

    `header` begins every seal by this key. `id` is derived from the secret, so a key file or row that was
    changed shows by its id. Raises `InvalidKey` for any other length. The secret never appears in a repr.
    """

    __slots__ = ("_cipher", "header", "secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_SIZE:
            raise InvalidKey("A sealing key is 32 bytes.")
        derived = HKDF(_SHA256, _DERIVED_SIZE, None, b"consent/v1/seal").derive(secret)
        self.secret = bytes(secret)
        self.header = _VERSION + derived[:-SECRET_SIZE]
        self._cipher = AESGCM(derived[-SECRET_SIZE:])

    @property
    def id(self) -> bytes:
        """The key id, as it stands in the header."""
        return self.header[1 : 1 + KEY_ID_SIZE]

    @classmethod
    def generate(cls) -> "SealingKey":
        """Return a key with a fresh random secret."""
        return cls(os.urandom(SECRET_SIZE))

    def __repr__(self) -> str:
        return f"SealingKey(id={self.id.hex()})"


def seal(key: SealingKey, plaintext: bytes, aad: bytes) -> bytes:
    """Return `plaintext` sealed under `key` and bound to `aad`, which must be given again to open it.

    The nonce is drawn here: one that a caller can choose is one that a caller can repeat (ADR 0030).
    """
    return _seal_with_nonce(key, plaintext, aad, os.urandom(_NONCE_SIZE))


def seal_each(
    key: SealingKey, plaintexts: Iterable[tuple[bytes, bytes]], *, shared: bytes = b""
) -> list[bytes]:
    """Do as `seal` with several pairs of plaintext and AAD, in one loop: each has a nonce of its own.

    Every AAD begins with `shared`.
    """
    header, encrypt, urandom = key.header, key._cipher.encrypt, os.urandom  # noqa: SLF001 - the key's own module
    first = header + shared
    seals = []
    for plaintext, aad in plaintexts:
        nonce = urandom(_NONCE_SIZE)
        seals.append(header + nonce + encrypt(nonce, plaintext, first + aad))
    return seals


def open_sealed(key: SealingKey, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext of `sealed`.

    Raises `SealBroken` when it was truncated or changed, is of another version, was sealed under another
    key, or when `aad` is not what it was sealed with.

    (1) The length leaves room for every field. (2) The version is known and key id and commitment are this
    key's, compared in constant time. (3) Only then GCM decrypts and checks the tag.
    """
    [plaintext] = open_each(key, [(sealed, aad)])
    return plaintext


def open_each(key: SealingKey, seals: Iterable[tuple[bytes, bytes]], *, shared: bytes = b"") -> list[bytes]:
    """Do as `open_sealed` with several pairs of sealed bytes and AAD, in one loop: all or none.

    Every AAD begins with `shared`.
    """
    header, decrypt = key.header, key._cipher.decrypt  # noqa: SLF001 - the key's own module
    first = header + shared
    plaintexts = []
    for sealed, aad in seals:
        if len(sealed) < OVERHEAD:  # (1)
            raise SealBroken("The sealed bytes are too short to be a seal.")
        if not hmac.compare_digest(sealed[:HEADER_SIZE], header):  # (2)
            raise SealBroken("The sealed bytes are of another version or under another key.")
        try:
            plaintexts.append(decrypt(sealed[HEADER_SIZE:_TEXT_AT], sealed[_TEXT_AT:], first + aad))  # (3)
        except InvalidTag:
            raise SealBroken("The sealed bytes were changed, or belong to another place.") from None
    return plaintexts


def sealed_key_id(sealed: bytes) -> bytes:
    """Return the id of the key that `sealed` names; raise `SealBroken` when it cannot be a seal.

    The id says which key to fetch; only `open_sealed` says whether the seal is good.
    """
    if len(sealed) < OVERHEAD or sealed[:1] != _VERSION:
        raise SealBroken("The sealed bytes are too short to be a seal, or of another version.")
    return sealed[1 : 1 + KEY_ID_SIZE]


def _seal_with_nonce(key: SealingKey, plaintext: bytes, aad: bytes, nonce: bytes) -> bytes:
    prefix = key.header
    return prefix + nonce + key._cipher.encrypt(nonce, plaintext, prefix + aad)  # noqa: SLF001 - the key's own module
