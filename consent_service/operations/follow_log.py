"""Follow a log from the outside: every checkpoint is signed, fresh, and a continuation of the last one."""

import base64
import binascii
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from consent_service.errors import InvalidNote, InvalidProof, LogMisbehaved
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.merkle import verify_consistency
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import proof_of_misbehaviour

Fetch = Callable[[str], bytes]
"""Gives the body of a path of the service, such as `/v1/ledger/checkpoint`; raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The last checkpoint that held, and when it was first seen (POSIX seconds)."""

    note: bytes
    checkpoint: Checkpoint
    first_seen: float


class LogMonitor:
    """Looks at a log again and again; what it saw last survives in a file, if it has one."""

    def __init__(self, fetch: Fetch, vkey: str, *, state: Path | None = None) -> None:
        self._fetch = fetch
        self._verifier = NoteVerifier.parse(vkey)
        self._state = state
        self.seen: Seen | None = None
        if state is not None and state.exists():
            self.seen = self._opened(state.read_bytes(), state.stat().st_mtime)

    def _opened(self, note: bytes, moment: float) -> Seen:
        checkpoint = open_checkpoint(note, self._verifier, origin=self._verifier.name)
        return Seen(note=note, checkpoint=checkpoint, first_seen=moment)

    def look(self, moment: float, *, max_age: float | None = None) -> Seen:
        """Return the log's checkpoint of now after checking that it continues the last one.

        Raises `LogMisbehaved` where it is unsigned, does not continue the last one, or did not move for more
        than `max_age` seconds. Two checkpoints that contradict each other come with it as a portable proof.
        An OSError says only that the log could not be reached.
        """
        try:
            new = self._opened(self._fetch("/v1/ledger/checkpoint"), moment)
        except InvalidNote as error:
            raise LogMisbehaved(f"The checkpoint is not one of this log: {error}") from error
        old = self.seen
        if old is None:
            return self._remember(new)
        self._require_continuation(old, new)
        if new.checkpoint.size > old.checkpoint.size:
            return self._remember(new)
        if max_age is not None and moment - old.first_seen > max_age:
            raise LogMisbehaved(f"The log has not moved for {round(moment - old.first_seen)} seconds.")
        return old

    def _require_continuation(self, old: Seen, new: Seen) -> None:
        before, after = old.checkpoint, new.checkpoint
        if before.size == after.size:
            if before.root != after.root:
                proof = proof_of_misbehaviour(old.note, new.note, self._verifier.vkey)
                raise LogMisbehaved("The log signed two roots for one size.", proof=proof)
            return
        if after.size < before.size:
            raise LogMisbehaved(f"The log went back from {before.size} to {after.size} entries.")
        path = f"/v1/ledger/proof/consistency?from={before.size}&to={after.size}"
        try:
            steps = [base64.b64decode(step, validate=True) for step in json.loads(self._fetch(path))["proof"]]
            verify_consistency(
                old_size=before.size,
                new_size=after.size,
                old_root=before.root,
                new_root=after.root,
                proof=steps,
            )
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise LogMisbehaved("The log answers no consistency proof.") from error
        except InvalidProof as error:
            raise LogMisbehaved(f"The log was rewritten: {error}") from error

    def _remember(self, seen: Seen) -> Seen:
        self.seen = seen
        if self._state is not None:
            part = self._state.with_name(self._state.name + ".part")
            part.write_bytes(seen.note)
            os.utime(part, (seen.first_seen, seen.first_seen))
            part.replace(self._state)
        return seen
