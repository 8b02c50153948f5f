"""The file that an audit pack is: a ZIP archive, written as a stream, of which every byte is fixed.

The directory has no choices left (one date, one mode, no extras), so that a verifier can demand exactly it.
Headers are made and checked by the same lines.
"""

import base64
import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from consent_service.ledger.canonical import JsonValue, canonical_json
from consent_service.ledger.note import NoteSigner, sign_note
from consent_service.operations.pack_deflate import crc32, deflater
from consent_service.verifier.verify import (
    MANIFEST,
    NOTE_HEADER,
    SIGNATURE,
    Member,
    directory_end,
    member_header,
)

_PIECE = 1 << 17
_MOST_QUEUED = 1 << 24
"""Bytes that may wait for the thread."""

Piece = bytes | Callable[[], bytes]
"""Some of a member's bytes, or how the thread makes them when their turn comes."""


class PackFile:
    """Writes members one after another; what it yields is the file, piece by piece.

    Compressing and hashing let go of the interpreter: a thread does them, in order, while the next pieces are
    made.
    """

    def __init__(self) -> None:
        self.members: list[dict[str, JsonValue]] = []
        self._directory: list[Member] = []
        self._sink = _Sink()
        self._beside = ThreadPoolExecutor(1)
        self._queue: deque[tuple[int, Future[None]]] = deque()
        self._queued = 0

    def member(
        self, name: str, contents: "Iterable[Piece] | Ahead", *, stored: bool = False, ahead: bool = False
    ) -> Iterator[bytes]:
        """Add a member and note its size and digests for the manifest; `stored` is compressed already.

        The manifest and its signature are stored, too: no digest covers their bytes in the file, and
        compressed data ends in bits that nobody reads. With `ahead`, it may be finished while the next member
        is made.
        """
        pieces: Iterable[Piece] = ()
        if isinstance(contents, Ahead):
            made = contents
        else:
            made, pieces = Ahead(self, stored=stored or name in {MANIFEST, SIGNATURE}), contents
        self.later(0, partial(self._begin, name, made))
        try:
            for piece in pieces:
                made.add(piece)
                if self._sink.waiting > _PIECE:
                    yield self._sink.take()
            self.later(0, partial(self._end, name, made))
            self._settle(_MOST_QUEUED if ahead else 0)
        except BaseException:
            self._beside.shutdown()  # what waits is soon done
            raise

    def later(self, size: int, work: Callable[[], None]) -> None:
        """Let the thread do this after all it has, and wait while it has too much; raise what went wrong.

        `size` is what waits with it, in bytes.
        """
        self._queue.append((size, self._beside.submit(work)))
        self._queued += size
        self._settle(_MOST_QUEUED)

    def _settle(self, most: int) -> None:
        while self._queue and (self._queued > most or most == 0 or self._queue[0][1].done()):
            size, future = self._queue.popleft()
            self._queued -= size
            future.result()

    def _begin(self, name: str, made: "Ahead") -> None:
        self._sink.begin()
        self._sink.write(member_header(name, made.method))
        made.into(self._sink.write)

    def _end(self, name: str, made: "Ahead") -> None:
        made.end()
        member = Member(name, made.method, made.crc, (made.stored, made.size), self._sink.began)
        self._sink.write(member.trailer())
        self._directory.append(member)
        digests = {"sha256": made.digest.hexdigest(), "raw": self._sink.digest.hexdigest()}
        self.members.append({"name": name, "size": made.size, **digests})

    def close(self, manifest: dict[str, JsonValue], signer: NoteSigner) -> Iterator[bytes]:
        """Add the manifest with the members so far, its signature and the directory."""
        self._settle(0)
        members: list[JsonValue] = list(self.members)
        data = canonical_json({**manifest, "members": members})
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        note = sign_note(f"{NOTE_HEADER}\n{manifest['origin']}\n{digest}\n", signer)
        yield from self.member(MANIFEST, [data])
        yield from self.member(SIGNATURE, [note])
        yield self.directory()

    def directory(self) -> bytes:
        """Return the rest of the file, when all members are there."""
        self._beside.shutdown()
        self._sink.begin()
        listed = b"".join(member.listed() for member in self._directory)
        self._sink.write(listed + directory_end(len(self._directory), self._sink.began, len(listed)))
        return self._sink.take()


class Ahead:
    """The contents of a member, which may be compressed before its turn in the file comes."""

    def __init__(self, file: PackFile, *, stored: bool = False) -> None:
        self._file = file
        self._deflate = None if stored else deflater()
        self.method = 0 if stored else zlib.DEFLATED
        self.digest, self.crc, self.size, self.stored = hashlib.sha256(), 0, 0, 0
        self._waiting: list[bytes] = []
        self._out: Callable[[bytes], None] = self._waiting.append

    def add(self, piece: Piece) -> None:
        """Add to the contents, when the thread comes to it."""
        self._file.later(0 if callable(piece) else len(piece), partial(self._take, piece))

    def _take(self, piece: Piece) -> None:
        data = piece() if callable(piece) else piece
        self.digest.update(data)
        self.crc = crc32(data, self.crc)
        self.size += len(data)
        self._give(data if self._deflate is None else self._deflate.compress(data))

    def _give(self, data: bytes) -> None:
        self.stored += len(data)
        self._out(data)

    def into(self, out: Callable[[bytes], None]) -> None:
        """Give what is compressed so far, and from now on."""
        self._out = out
        for data in self._waiting:
            out(data)
        self._waiting.clear()

    def end(self) -> None:
        """Give what is left."""
        if self._deflate is not None:
            self._give(self._deflate.flush())


class _Sink:
    """Where the archive is written: hashed, and kept until somebody takes it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.waiting = self.began = self._size = 0
        self._pieces: list[bytes] = []
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin a new part of the file, with a digest of its own."""
        self.digest, self.began = hashlib.sha256(), self._size

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        with self._lock:
            self.waiting += len(data)
            self._size += len(data)
            self._pieces.append(data)

    def take(self) -> bytes:
        """Return what was written since."""
        with self._lock:
            pieces, self._pieces, self.waiting = self._pieces, [], 0
        return b"".join(pieces)
