"""The leaf of one entry: a commitment to its record and nothing else.

A leaf holds no personal data, no identifier and no ciphertext. Who knows the opening and the record can prove
that the leaf commits to them; once both are erased, the leaf says nothing and every proof still verifies.
"""

import re
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

from consent_service.errors import InvalidEntry, NotCanonical
from consent_service.ledger.canonical import canonical_json, parse_json

OPENING_SIZE = 32
"""Length of an opening in bytes: random, fresh for every entry."""
COMMITMENT_SIZE = 32
"""Length of a commitment in bytes."""

_KEY = b"consent/v1"
# HMAC (RFC 2104) with a constant key begins with two constant blocks. Hashing them once and copying the
# states halves the cost of hmac.digest(), which verification pays for every entry.
_inner_hash = sha256(bytes(byte ^ 0x36 for byte in _KEY.ljust(64, b"\0"))).copy
_outer_hash = sha256(bytes(byte ^ 0x5C for byte in _KEY.ljust(64, b"\0"))).copy


class Kind(StrEnum):
    """What an entry is about."""

    DECISION = "decision"
    NOTICE = "notice"
    LINK = "link"
    ERASURE = "erasure"
    KEY = "key"


_FORM = re.compile(
    rb'\{"c":"(?P<c>[A-Za-z0-9+/]{43}=)","kind":"(?P<kind>%b)","log":(?P<log>".*"),"v":1\}'
    % "|".join(Kind).encode(),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a leaf says: the log it belongs to, its kind and the commitment to its record."""

    origin: str
    kind: Kind
    commitment: bytes


def commitment(opening: bytes, record: bytes) -> bytes:
    """Return HMAC-SHA256(key "consent/v1", opening || record), 32 bytes; `record` is canonical JSON.

    Raises `InvalidEntry` unless the opening has 32 bytes: with a free length, one commitment could be opened
    as several records.
    """
    if len(opening) != OPENING_SIZE:
        raise InvalidEntry(f"An opening has {OPENING_SIZE} bytes, not {len(opening)}.")
    inner = _inner_hash()
    inner.update(opening + record)
    outer = _outer_hash()
    outer.update(inner.digest())
    return outer.digest()


def leaf(origin: str, kind: Kind, commitment: bytes) -> bytes:
    """Return the leaf bytes: canonical JSON `{"c": base64, "kind": kind, "log": origin, "v": 1}`.

    Raises `InvalidEntry` unless the commitment has 32 bytes.
    """
    if len(commitment) != COMMITMENT_SIZE:
        raise InvalidEntry(f"A commitment has {COMMITMENT_SIZE} bytes, not {len(commitment)}.")
    return b'{"c":"%b"%b' % (b2a_base64(commitment, newline=False), _after_commitment(origin, kind))


@lru_cache(maxsize=1024)
def _after_commitment(origin: str, kind: Kind) -> bytes:
    return b"," + canonical_json({"kind": Kind(kind).value, "log": origin, "v": 1})[1:]


def parse_leaf(data: bytes) -> Leaf:
    """Return what the leaf bytes say; raise `InvalidEntry` for any bytes that `leaf` does not write."""
    match = _FORM.fullmatch(data)
    if match is None:
        raise InvalidEntry('A leaf is canonical JSON with exactly the members "c", "kind", "log" and "v": 1.')
    try:
        parsed = Leaf(
            origin=_origin(match["log"]),
            kind=Kind(match["kind"].decode()),
            commitment=a2b_base64(match["c"]),
        )
    except NotCanonical as problem:
        raise InvalidEntry(f'The member "log" of the leaf is malformed: {problem}') from None
    if leaf(parsed.origin, parsed.kind, parsed.commitment) != data:
        raise InvalidEntry("The leaf is not in canonical form.")
    return parsed


@lru_cache(maxsize=1024)
def _origin(string: bytes) -> str:
    return str(parse_json(string))
