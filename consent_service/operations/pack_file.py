"""The file that an audit pack is: a ZIP archive, written as a stream, of which every byte is fixed.

The directory has no choices left (one date, one mode, no extras), so that a verifier can demand exactly it.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from consent_service.ledger.canonical import JsonValue, canonical_json
from consent_service.ledger.note import NoteSigner, sign_note
from consent_service.verifier.verify import MANIFEST, NOTE_HEADER, SIGNATURE

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LEVEL = 1
"""Most of a pack is random: a higher level costs time and saves nothing."""
_PIECE = 1 << 17


class PackFile:
    """Writes members one after another; what it yields is the file, piece by piece."""

    def __init__(self) -> None:
        self.members: list[dict[str, JsonValue]] = []
        self._sink = _Sink()
        # The sink cannot tell or seek, so sizes follow each member and nothing is rewritten.
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    def member(self, name: str, contents: Iterable[bytes], *, stored: bool = False) -> Iterator[bytes]:
        """Add a member and note its size and digests for the manifest; `stored` is compressed already.

        The manifest and its signature are stored, too: no digest covers their bytes in the file, and
        compressed data ends in bits that nobody reads.
        """
        stored = stored or name in {MANIFEST, SIGNATURE}
        info = zipfile.ZipInfo(name, _EARLIEST)
        info.create_system, info.external_attr = 3, 0o600 << 16
        info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        size, digest = 0, hashlib.sha256()
        self._sink.digest = hashlib.sha256()
        # Compressing and hashing let go of the interpreter: they run while the next piece is made.
        with ThreadPoolExecutor(1) as beside, self._zip.open(info, "w") as file:
            waiting: Future[object] | None = None
            for piece in contents:
                if waiting is not None:
                    waiting.result()
                if self._sink.waiting > _PIECE:
                    yield self._sink.take()
                waiting = beside.submit(_write, file, digest, piece)
                size += len(piece)
            if waiting is not None:
                waiting.result()
        raw = self._sink.digest.hexdigest()
        self.members.append({"name": name, "size": size, "sha256": digest.hexdigest(), "raw": raw})

    def close(self, manifest: dict[str, JsonValue], signer: NoteSigner) -> Iterator[bytes]:
        """Add the manifest with the members so far, its signature and the directory."""
        members: list[JsonValue] = list(self.members)
        data = canonical_json({**manifest, "members": members})
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        note = sign_note(f"{NOTE_HEADER}\n{manifest['origin']}\n{digest}\n", signer)
        yield from self.member(MANIFEST, [data])
        yield from self.member(SIGNATURE, [note])
        self._zip.close()
        yield self._sink.take()


def _write(file: IO[bytes], digest: "hashlib._Hash", piece: bytes) -> None:
    file.write(piece)
    digest.update(piece)


class _Sink:
    """Where the archive is written: hashed, and kept until somebody takes it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.waiting = 0
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.waiting += len(data)
        self._pieces.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here that `take` does not give."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces, self.waiting = [], 0
        return data
