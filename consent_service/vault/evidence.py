"""Proof of consent of an erased subject, sealed to an auditor who is not here (GDPR Art. 17(3)(e)).

    version (1) = 0x01 | HPKE (RFC 9180, base mode): encapsulated key (32) | ciphertext

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The service knows the public key only: it can seal, and
not open. The place (log and index of the erasure) is HPKE's `info`.
"""

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from consent_service.errors import ConfigurationError, SealBroken
from consent_service.vault.places import evidence_place

_VERSION = b"\x01"
_KEY_SIZE = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def parse_evidence_key(text: str) -> X25519PublicKey:
    """Return an auditor's public key from 32 bytes in base64; raise `ConfigurationError`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _KEY_SIZE:
        raise ConfigurationError(
            "An evidence key (CONSENT_EVIDENCE_KEY, or a tenant's own) is 32 bytes of X25519 in base64."
        )
    return X25519PublicKey.from_public_bytes(raw)


def evidence_key_text(key: X25519PublicKey) -> str:
    """Return what `parse_evidence_key` reads."""
    return base64.b64encode(key.public_bytes_raw()).decode("ascii")


def seal_evidence(key: X25519PublicKey, document: bytes, *, origin: str, index: int) -> bytes:
    """Return a document sealed to the auditor, for the erasure at `index` of this log."""
    return _VERSION + _SUITE.encrypt(document, key, info=evidence_place(origin=origin, index=index))


def open_evidence(key: X25519PrivateKey, sealed: bytes, *, origin: str, index: int) -> bytes:
    """Return the document; raise `SealBroken` for another key, another erasure or changed bytes."""
    if sealed[:1] != _VERSION:
        raise SealBroken("The sealed evidence is of another version.")
    try:
        return _SUITE.decrypt(sealed[1:], key, info=evidence_place(origin=origin, index=index))
    except (InvalidTag, ValueError):
        raise SealBroken("The sealed evidence does not open with this key, or not here.") from None
