"""Follow a log from the outside: every checkpoint is signed, fresh, and a continuation of the last one."""

import base64
import binascii
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from consent_service.errors import (
    ConfigurationError,
    InvalidEntry,
    InvalidInput,
    InvalidNote,
    InvalidProof,
    LogMisbehaved,
)
from consent_service.ledger.canonical import parse_json
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.handoff import Handoff, follow_keys
from consent_service.ledger.merkle import verify_consistency
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import proof_of_misbehaviour
from consent_service.verifier.verify import Policy

_PATIENCE = 3
"""Looks in a row in which a log may fail to show what belongs to a checkpoint that it gave."""

Fetch = Callable[[str], bytes]
"""Gives the body of a path of the service, such as `/v1/ledger/checkpoint`; raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The last checkpoint that held, and when it was first seen (POSIX seconds)."""

    note: bytes
    checkpoint: Checkpoint
    first_seen: float


class LogMonitor:
    """Looks at a log again and again; what it saw last survives in a file, if it has one.

    A log that replaced its key is followed to the new one, where the trusted key signed it in.
    """

    def __init__(self, fetch: Fetch, vkey: str, *, state: Path | None = None) -> None:
        self._fetch = fetch
        self._verifier = NoteVerifier.parse(vkey)
        self._earlier: list[NoteVerifier] = []
        self._state = state
        self._began: float | None = None
        self._unshown: Counter[str] = Counter()
        self.seen: Seen | None = None
        if state is not None and state.exists():
            with suppress(InvalidNote):  # By a later key perhaps: `look` finds out.
                self.seen = self._checked(state.read_bytes(), state.stat().st_mtime)

    def _remembered(self) -> Seen | None:
        if self.seen is None and self._state is not None and self._state.exists():
            note = self._state.read_bytes()
            if not note.startswith(f"{self._verifier.name}\n".encode()):
                raise ConfigurationError(f"{self._state} holds no checkpoint of this log.")
            return self._opened(note, self._state.stat().st_mtime)
        return self.seen

    def _opened(self, note: bytes, moment: float) -> Seen:
        try:
            return self._checked(note, moment)
        except InvalidNote:
            earlier, self._verifier = self._verifier, self._followed()
            self._earlier.append(earlier)
            return self._checked(note, moment)

    def _checked(self, note: bytes, moment: float) -> Seen:
        checkpoint = open_checkpoint(note, self._verifier, origin=self._verifier.name)
        return Seen(note=note, checkpoint=checkpoint, first_seen=moment)

    def _followed(self) -> NoteVerifier:
        """Return the newest key that the trusted one leads to; raise `InvalidNote` where it leads nowhere."""
        try:
            document = parse_json(self._shown("/v1/ledger/handoffs"))
            handoffs = document["handoffs"] if isinstance(document, dict) else None
            if not isinstance(handoffs, list):
                raise InvalidNote("The log does not say how its keys followed each other.")
            return follow_keys([Handoff.parse(handoff) for handoff in handoffs], self._verifier)
        except (InvalidInput, KeyError, InvalidEntry, InvalidProof) as error:
            raise InvalidNote("The log does not show how its trusted key was replaced.") from error

    def _shown(self, path: str) -> bytes:
        """Return what belongs to a checkpoint that the log gave.

        That it cannot be had once is an OSError; that it cannot for some looks is how a log would hide that
        it was rewritten, and raises `LogMisbehaved`.
        """
        what = path.partition("?from=")[0]
        try:
            answer = self._fetch(path)
        except OSError as error:
            self._unshown[what] += 1
            if self._unshown[what] < _PATIENCE:
                raise
            raise LogMisbehaved(f"The log gives checkpoints, and {_PATIENCE} times no {what}.") from error
        self._unshown[what] = 0
        return answer

    def look(self, moment: float, *, max_age: float | None = None, max_rate: float | None = None) -> Seen:
        """Return the log's checkpoint of now after checking that it continues the last one.

        Raises `LogMisbehaved` where it is unsigned, does not continue the last one, did not move for more
        than `max_age` seconds, or grew by more than `max_rate` entries a second since. Two checkpoints that
        contradict each other come with it as a portable proof. An OSError says only that the log could not
        be reached: `require_fresh` says whether that has lasted too long.
        """
        self._began = moment if self._began is None else self._began
        try:
            old = self.seen = self._remembered()
            new = self._opened(self._fetch("/v1/ledger/checkpoint"), moment)
        except InvalidNote as error:
            raise LogMisbehaved(f"The checkpoint is not one of this log: {error}") from error
        if old is None:
            return self._remember(new)
        self._require_continuation(old, new)
        if new.checkpoint.size > old.checkpoint.size:
            self._require_rate(old, new, max_rate)
            return self._remember(new)
        self.require_fresh(moment, max_age)
        return old

    def require_fresh(self, moment: float, max_age: float | None) -> None:
        """Raise `LogMisbehaved` where the last new checkpoint was seen more than `max_age` seconds ago.

        Where none was seen yet, the first look counts.
        """
        since = self.seen.first_seen if self.seen is not None else self._began
        if max_age is not None and since is not None and moment - since > max_age:
            raise LogMisbehaved(f"The log has not moved for {round(moment - since)} seconds.")

    def look_witnessed(self, policy: Policy, moment: float, *, max_age: float | None = None) -> Seen:
        """Return the latest checkpoint that a quorum of witnesses cosigned; call `look` before.

        Raises `LogMisbehaved` where there is no quorum on it, it is of another history than the one seen, or
        it was cosigned more than `max_age` seconds ago although the log has moved on.
        """
        note = self._shown("/v1/ledger/checkpoint?cosigned=true")
        try:
            keys = self._verifier, *self._earlier  # it may be from before a key was replaced
            checkpoint = open_checkpoint(note, *keys, origin=self._verifier.name)
            cosigned = Seen(note=note, checkpoint=checkpoint, first_seen=moment)
            times = policy.seen(note.decode())
        except (InvalidNote, ValueError) as error:
            raise LogMisbehaved(f"The cosigned checkpoint is not one of this log: {error}") from error
        if not policy.satisfied(times):
            raise LogMisbehaved("The log shows a checkpoint as cosigned that has no quorum of witnesses.")
        if self.seen is not None:
            pair = sorted([self.seen, cosigned], key=lambda each: each.checkpoint.size)
            self._require_continuation(*pair)
            behind = cosigned.checkpoint.size < self.seen.checkpoint.size
            age = moment - max(times.values(), default=moment)
            if behind and max_age is not None and age > max_age:
                raise LogMisbehaved(f"No quorum of witnesses has seen the log for {round(age)} seconds.")
        return cosigned

    def _require_rate(self, old: Seen, new: Seen, max_rate: float | None) -> None:
        grown, seconds = new.checkpoint.size - old.checkpoint.size, new.first_seen - old.first_seen
        if max_rate is not None and grown > max_rate * max(seconds, 1.0):
            raise LogMisbehaved(f"The log grew by {grown} entries in {max(0, round(seconds))} seconds.")

    def _require_continuation(self, old: Seen, new: Seen) -> None:
        before, after = old.checkpoint, new.checkpoint
        if before.size == after.size:
            if before.root != after.root:
                raise LogMisbehaved("The log signed two roots for one size.", proof=self._proof(old, new))
            return
        if after.size < before.size:
            raise LogMisbehaved(f"The log went back from {before.size} to {after.size} entries.")
        path = f"/v1/ledger/proof/consistency?from={before.size}&to={after.size}"
        try:
            steps = _steps(self._shown(path))
            verify_consistency(
                old_size=before.size,
                new_size=after.size,
                old_root=before.root,
                new_root=after.root,
                proof=steps,
            )
        except (InvalidInput, ValueError, TypeError, binascii.Error) as error:
            raise LogMisbehaved("The log answers no consistency proof.") from error
        except InvalidProof as error:
            raise LogMisbehaved(f"The log was rewritten: {error}") from error

    def _proof(self, old: Seen, new: Seen) -> bytes | None:
        """Return the portable proof that both contradict each other, if one key signed both."""
        try:
            return proof_of_misbehaviour(old.note, new.note, self._verifier.vkey)
        except InvalidNote:
            return None

    def _remember(self, seen: Seen) -> Seen:
        self.seen = seen
        if self._state is not None:
            try:
                _keep(self._state, seen)
            except OSError as error:
                raise ConfigurationError(f"What was seen cannot be kept: {error}.") from error
        return seen


def _steps(answer: bytes) -> list[bytes]:
    document = parse_json(answer)
    proof = document.get("proof") if isinstance(document, dict) else None
    if not isinstance(proof, list):
        raise TypeError("not a list of steps")
    return [base64.b64decode(str(step), validate=True) for step in proof]


def _keep(state: Path, seen: Seen) -> None:
    """Put a checkpoint into a file whose time is that when it was first seen, durably."""
    part = state.with_name(state.name + ".part")
    with part.open("wb") as file:
        file.write(seen.note)
        file.flush()
        os.fsync(file.fileno())
    os.utime(part, (seen.first_seen, seen.first_seen))
    part.replace(state)
