"""Find a subject without storing what the shop calls it: keyed hashes of external ids.

The exact UTF-8 bytes are hashed: no Unicode normalisation, no case folding, no trimming. Two spellings
are two subjects, because only the shop knows whether they are one (ADR 0031).
"""

import hmac
from binascii import b2a_base64
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidKey

from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidSubject

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

KEY_SIZE = 32
"""Bytes of a blind-index key and of a reference key; each tenant has its own."""

_LOOKUP = b"consent/v1/blind-index\x00"
_REFERENCE = b"consent/v1/subject-ref\x00"
_REFERENCE_KEY = b"consent/v1/subject-ref-key\x00"
_REQUEST = b"consent/v1/request\x00"
_REFERENCE_SIZE = 18
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def blind_index(key: bytes, external_id: str) -> bytes:
    """Return the 32 bytes under which the subject's row is found (HMAC-SHA256).

    Raises `InvalidSubject` for an id without UTF-8 form and `InvalidKey` for a key that is not 32 bytes.
    """
    return _keyed_hash(key, _LOOKUP, external_id)


def subject_ref(key: bytes, external_id: str) -> SubjectRef:
    """Return the opaque reference shown instead of the id: `s_` and 24 URL-safe characters (144 bits).

    `key` is the tenant's reference key, which never changes. A backend may have it, to find its subjects in a
    snapshot, and still cannot look anybody up by blind index. Raises as `blind_index`.
    """
    digest = _keyed_hash(key, _REFERENCE, external_id)[:_REFERENCE_SIZE]
    return SubjectRef("s_" + b2a_base64(digest, newline=False).translate(_URL_SAFE).decode("ascii"))


def request_digest(key: bytes, digest: bytes) -> bytes:
    """Return 32 bytes that stand for the SHA-256 of a request, which may hold an external id (HMAC-SHA256).

    `key` is the tenant's reference key, so that a request is known again after any rotation.
    """
    return hmac.digest(key, _REQUEST + digest, "sha256")


def derived_reference_key(key: bytes) -> bytes:
    """Return the reference key that programs before schema 0004 derived from a blind-index key."""
    return _keyed_hash(key, _REFERENCE_KEY, "")


def _keyed_hash(key: bytes, label: bytes, external_id: str) -> bytes:
    if len(key) != KEY_SIZE:
        raise InvalidKey("A blind-index key and a reference key are 32 bytes.")
    try:
        message = external_id.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidSubject("The subject's identifier holds a character that has no UTF-8 form.") from None
    begin_inner, begin_outer = _begun(key, label)
    inner = begin_inner()
    inner.update(message)
    outer = begin_outer()
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=256)
def _begun(key: bytes, label: bytes) -> tuple[Callable[[], "HASH"], Callable[[], "HASH"]]:
    """Return copies of HMAC-SHA256 (RFC 2104) as it begins, inside and outside; `hmac.HMAC` copies slowly."""
    block = key.ljust(sha256().block_size, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in block) + label)
    return inner.copy, sha256(bytes(byte ^ 0x5C for byte in block)).copy
