"""Checkpoints (C2SP tlog-checkpoint): the size and root of a log, signed as a note."""

import re
from dataclasses import dataclass
from typing import Self

from consent_service.errors import InvalidNote, NotCanonical
from consent_service.ledger.canonical import decode_base64, encode_base64
from consent_service.ledger.merkle import HASH_SIZE
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note, sign_note

_SIZE = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_LARGEST_SIZE = 2**63 - 1
_FEWEST_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log says about itself: its origin, its number of leaves and its root.

    Extension lines are read and kept, since other logs may have them; ours never writes any.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the note text: origin, size and base64 root, a line each."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` wrote; raise `InvalidNote` for anything else."""
        *lines, end = text.split("\n")
        if end or len(lines) < _FEWEST_LINES or not all(lines):
            raise InvalidNote("A checkpoint has an origin line, a size line and a root line.")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size) or int(size) > _LARGEST_SIZE:
            raise InvalidNote("A checkpoint's size is a decimal number below 2^63 without leading zeros.")
        return cls(origin=origin, size=int(size), root=_parse_root(root), extensions=tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, *signers: NoteSigner) -> bytes:
    """Return the signed note of a checkpoint; raise `InvalidNote` for one that could not be read back."""
    text = checkpoint.text()
    if Checkpoint.parse(text) != checkpoint:
        raise InvalidNote("The checkpoint's origin or extensions have line breaks.")
    return sign_note(text, *signers)


def open_checkpoint(note: bytes, *verifiers: NoteVerifier, origin: str) -> Checkpoint:
    """Return the checkpoint of log `origin` if one of these keys signed it; raise `InvalidNote` if not."""
    checkpoint = Checkpoint.parse(open_note(note, *verifiers))
    if checkpoint.origin != origin:
        raise InvalidNote("The checkpoint is another log's.")
    return checkpoint


def _parse_root(line: str) -> bytes:
    try:
        root = decode_base64(line)
    except NotCanonical:
        root = b""
    if len(root) != HASH_SIZE:
        raise InvalidNote(f"A checkpoint's root is {HASH_SIZE} bytes in base64.")
    return root
