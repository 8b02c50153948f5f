"""Deflate and CRC-32 of a pack's members: ISA-L with the extra `audit`, an eighth of zlib's time, else zlib.

Both write RFC 1951, so nobody who reads needs to know which.
"""

import hashlib
import zlib
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Protocol

_LEVEL = 1
"""Most of a pack is random: a higher level costs time and saves nothing."""


class Deflater(Protocol):
    """What compresses a stream, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


def deflater() -> Deflater:
    """Return what compresses a new member, without header or trailer."""
    made: Deflater = _engine().compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made


def crc32(data: bytes, before: int) -> int:
    """Return the CRC-32 of a stream that goes on with these data."""
    checksum: int = _engine().crc32(data, before)
    return checksum


@cache
def deflate_mark() -> str:
    """Return a name that two installations share only if they compress a sample to the same bytes.

    A version does not say that: ISA-L has other code for other processors.
    """
    digests = (hashlib.sha256(b"%d" % each).hexdigest() for each in range(2048))
    sample = "\n".join(f'{{"index":{each},"leaf":"{digest}"}}' for each, digest in enumerate(digests))
    made = deflater()
    return hashlib.sha256(made.compress(sample.encode()) + made.flush()).hexdigest()


@cache
def _engine() -> ModuleType:
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib
