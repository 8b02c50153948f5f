"""A witness: it remembers the last checkpoint of each log it knows, and cosigns only what continues it.

It holds no personal data and needs no database: a key file and one small file for each log.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.errors import (
    ConfigurationError,
    InvalidInput,
    InvalidNote,
    UnknownLog,
    WitnessConflict,
    WrongKey,
)
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.merkle import EMPTY_ROOT, verify_consistency
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import AddCheckpoint, proof_of_misbehaviour

_KEY_FILE = "witness.key"
_KEY_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the witness cosigned last for a log."""

    checkpoint: Checkpoint
    note: bytes


def cosigner_in(folder: Path, name: str) -> Cosigner:
    """Return the cosigner whose key is in a folder; the key, and the folder, are made where there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Cosigner(name, _key(folder / _KEY_FILE))


class Witness:
    """Cosigns checkpoints of the logs that it is told to watch; several processes may share its folder."""

    def __init__(self, folder: Path, *, name: str, vkeys: Sequence[str]) -> None:
        self._folder = folder
        self._logs: dict[str, list[NoteVerifier]] = {}
        for vkey in vkeys:
            verifier = NoteVerifier.parse(vkey)
            self._logs.setdefault(verifier.name, []).append(verifier)
        if not self._logs:
            raise ConfigurationError("A witness watches at least one log: give its key.")
        self.cosigner = cosigner_in(folder, name)

    @property
    def logs(self) -> Mapping[str, Sequence[NoteVerifier]]:
        """The logs that are watched, by origin, with the keys trusted for each."""
        return self._logs

    def add_checkpoint(self, body: bytes, timestamp: int) -> str:
        """Return the cosignature line for a request that continues what was seen (C2SP tlog-witness).

        (1) a trusted key of a known log signed the checkpoint; (2) the request starts from the size that
        was cosigned last; (3) the proof leads from there to it. What was seen is stored before the answer.

        Raises `UnknownLog`, `InvalidNote`, `InvalidInput`, `InvalidProof` or `WitnessConflict`.
        """
        request = AddCheckpoint.parse(body)
        origin = request.checkpoint.decode("utf-8", "replace").partition("\n")[0]
        if origin not in self._logs:
            raise UnknownLog("This witness does not watch that log.")
        checkpoint = open_checkpoint(request.checkpoint, *self._logs[origin], origin=origin)  # (1)
        with self._exclusively(origin) as path:
            seen = self._read(path, origin)
            old = seen.checkpoint if seen else Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
            if request.old_size > checkpoint.size:
                raise InvalidInput("The old size is beyond the checkpoint.")
            if request.old_size != old.size:  # (2)
                raise WitnessConflict(old.size)
            self._require_one_history(old, seen, checkpoint, request)
            verify_consistency(  # (3)
                old_size=old.size,
                new_size=checkpoint.size,
                old_root=old.root,
                new_root=checkpoint.root,
                proof=request.proof,
            )
            _store(path, request.checkpoint)
        return self.cosigner.cosign(request.checkpoint, timestamp)

    def _require_one_history(
        self, old: Checkpoint, seen: _Seen | None, checkpoint: Checkpoint, request: AddCheckpoint
    ) -> None:
        """Keep the proof where the log signed two roots for one size, and refuse."""
        if seen is None or old.size != checkpoint.size or old.root == checkpoint.root:
            return
        for verifier in self._logs[checkpoint.origin]:
            try:
                proof = proof_of_misbehaviour(seen.note, request.checkpoint, verifier.vkey)
            except InvalidNote:
                continue
            digest = hashlib.sha256(proof).hexdigest()[:16]
            _store(self._folder / f"misbehaviour-{digest}.txt", proof)
        raise WitnessConflict(old.size)

    @contextmanager
    def _exclusively(self, origin: str) -> Iterator[Path]:
        path = self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.checkpoint"
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)

    def _read(self, path: Path, origin: str) -> _Seen | None:
        if not path.exists():
            return None
        note = path.read_bytes()
        try:
            return _Seen(checkpoint=open_checkpoint(note, *self._logs[origin], origin=origin), note=note)
        except InvalidNote as error:  # Not the caller's, who would be told that its own is wrong.
            raise ConfigurationError(f"{path} is not what this witness wrote: {error}") from None


def _key(path: Path) -> Ed25519PrivateKey:
    """Return the witness's key; make it, for its owner only, when there is none."""
    if not path.exists():
        _store(path, Ed25519PrivateKey.generate().private_bytes_raw())
    if path.stat().st_mode & 0o077:
        raise WrongKey(f"Others can read {path}: chmod 600.")
    data = path.read_bytes()
    if len(data) != _KEY_SIZE:
        raise WrongKey(f"{path} is not a witness's key.")
    return Ed25519PrivateKey.from_private_bytes(data)


def _store(path: Path, data: bytes) -> None:
    """Put a whole file under its name, durably."""
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
