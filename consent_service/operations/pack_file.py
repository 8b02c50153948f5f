"""The file that an audit pack is: a ZIP archive, written as a stream, of which every byte is fixed.

The directory has no choices left (one date, one mode, no extras), so that a verifier can demand exactly it.
"""

import base64
import hashlib
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import IO

from consent_service.ledger.canonical import JsonValue, canonical_json
from consent_service.ledger.note import NoteSigner, sign_note
from consent_service.verifier.verify import MANIFEST, NOTE_HEADER, SIGNATURE

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LEVEL = 1
"""Most of a pack is random: a higher level costs time and saves nothing."""
_PIECE = 1 << 17
_MOST_QUEUED = 1 << 25
"""Bytes that may wait for the thread: a chunk's table is compressed while the next entries are read."""


class PackFile:
    """Writes members one after another; what it yields is the file, piece by piece.

    Compressing and hashing let go of the interpreter: a thread does them, in order, while the next pieces are
    made.
    """

    def __init__(self) -> None:
        self.members: list[dict[str, JsonValue]] = []
        self._sink = _Sink()
        # The sink cannot tell or seek, so sizes follow each member and nothing is rewritten.
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._beside = ThreadPoolExecutor(1)
        self._queue: deque[tuple[int, Future[None]]] = deque()
        self._queued = 0

    def member(
        self, name: str, contents: Iterable[bytes | memoryview], *, stored: bool = False, ahead: bool = False
    ) -> Iterator[bytes]:
        """Add a member and note its size and digests for the manifest; `stored` is compressed already.

        The manifest and its signature are stored, too: no digest covers their bytes in the file, and
        compressed data ends in bits that nobody reads. With `ahead`, it may be finished while the next member
        is made.
        """
        info = zipfile.ZipInfo(name, _EARLIEST)
        info.create_system, info.external_attr = 3, 0o600 << 16
        plain = stored or name in {MANIFEST, SIGNATURE}
        info.compress_type = zipfile.ZIP_STORED if plain else zipfile.ZIP_DEFLATED
        writer = _Member(self._zip, self._sink, info)
        try:
            self._later(0, writer.begin)
            for piece in contents:
                self._later(len(piece), partial(writer.write, piece))
                if self._sink.waiting > _PIECE:
                    yield self._sink.take()
            self._later(0, lambda: self.members.append(writer.end()))
            self._settle(_MOST_QUEUED if ahead else 0)
        except BaseException:
            self._abandon(writer)
            raise

    def _later(self, size: int, work: Callable[[], None]) -> None:
        """Let the thread do this after all it has, and wait while it has too much; raise what went wrong."""
        self._queue.append((size, self._beside.submit(work)))
        self._queued += size
        self._settle(_MOST_QUEUED)

    def _settle(self, most: int) -> None:
        while self._queue and (self._queued > most or most == 0 or self._queue[0][1].done()):
            size, future = self._queue.popleft()
            self._queued -= size
            future.result()

    def _abandon(self, writer: "_Member") -> None:
        self._beside.shutdown()  # what waits is soon done, and leaves no member open
        writer.abandon()

    def close(self, manifest: dict[str, JsonValue], signer: NoteSigner) -> Iterator[bytes]:
        """Add the manifest with the members so far, its signature and the directory."""
        self._settle(0)
        members: list[JsonValue] = list(self.members)
        data = canonical_json({**manifest, "members": members})
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        note = sign_note(f"{NOTE_HEADER}\n{manifest['origin']}\n{digest}\n", signer)
        yield from self.member(MANIFEST, [data])
        yield from self.member(SIGNATURE, [note])
        self._beside.shutdown()
        self._zip.close()
        yield self._sink.take()


class _Member:
    """One member while it is written, by one thread."""

    def __init__(self, archive: zipfile.ZipFile, sink: "_Sink", info: zipfile.ZipInfo) -> None:
        self._archive, self._sink, self._info = archive, sink, info
        self._file: IO[bytes] | None = None
        self._size, self._digest = 0, hashlib.sha256()

    def begin(self) -> None:
        self._sink.digest = hashlib.sha256()
        self._file = self._archive.open(self._info, "w")

    def write(self, piece: bytes | memoryview) -> None:
        if self._file is not None:
            self._file.write(piece)
            self._digest.update(piece)
            self._size += len(piece)

    def end(self) -> dict[str, JsonValue]:
        """Return what the manifest says about it."""
        self.abandon()
        return {
            "name": self._info.filename,
            "size": self._size,
            "sha256": self._digest.hexdigest(),
            "raw": self._sink.digest.hexdigest(),
        }

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Sink:
    """Where the archive is written: hashed, and kept until somebody takes it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.waiting = 0
        self._pieces: list[bytes] = []
        self._lock = threading.Lock()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        with self._lock:
            self.waiting += len(data)
            self._pieces.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here that `take` does not give."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        with self._lock:
            pieces, self._pieces, self.waiting = self._pieces, [], 0
        return b"".join(pieces)
