"""Every error the toolkit raises. The names state the fact; nothing here knows HTTP.

ConsentToolkitError
├── InvalidInput                  the caller's data is wrong; nothing was stored
│   ├── InvalidDuration
│   ├── InvalidNotice             carries a list of NoticeProblem
│   ├── InvalidDecision           the decision contradicts its notice or its clock
│   │   ├── UnknownPurpose
│   │   ├── ClockOutOfBounds
│   │   └── NoticeSuperseded
│   ├── InvalidSubject
│   ├── InvalidProfile            attributes that cannot be stored
│   └── NotCanonical              a value has no canonical JSON form
├── NotFound
│   ├── UnknownNotice
│   ├── UnknownEntry
│   ├── UnknownSubject            nothing is held about this subject
│   ├── UnknownTile
│   ├── UnknownTenant
│   ├── UnknownLog                a witness does not watch it
│   └── NoSuchForm                a receipt that cannot be given in the form asked for
├── Conflict
│   ├── IdempotencyKeyReused
│   ├── TenantExists
│   ├── LinkRefused
│   ├── ErasureRefused
│   ├── RotationOvertaken
│   ├── PackChanged               a pack cannot be made again as it was
│   ├── WitnessConflict           carries the size that was cosigned last
│   └── NoLiveGrant               carries the categories that nobody granted
├── AccessDenied
│   ├── Unauthenticated
│   └── Forbidden
│       └── PurposeClosed         carries the gate's reason
├── Unavailable                   try again later; carries retry_after seconds
│   ├── QueueFull
│   ├── KeystoreUnavailable
│   ├── ShuttingDown
│   ├── DatabaseDamaged           as long as nobody restores a backup
│   └── DatabaseUnavailable
│       └── TransactionUndone     for another one's sake; done again at once, it will go through
├── EvidenceError                 evidence does not verify
│   ├── InvalidProof
│   ├── InvalidNote
│   ├── InvalidEntry
│   ├── LedgerCorrupt             carries the first bad index
│   └── LogMisbehaved             carries a portable proof, where there is one
├── SealBroken                    sealed bytes do not open under this key, here
└── ConfigurationError            the operator has to act
    ├── WrongKey
    ├── KeyFileMissing
    ├── ExtraNotInstalled         carries the name of the extra
    ├── SchemaMismatch
    └── NoDatabase
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self


class ConsentToolkitError(Exception):
    """Base of every error of this package."""


class InvalidInput(ConsentToolkitError):
    """The caller's data is wrong; nothing was stored."""


class InvalidDuration(InvalidInput):
    """Not an ISO 8601 duration without fractions."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Not an ISO 8601 duration such as P6M: {text[:32]!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeProblem:
    """One thing to mend in a notice: where it is (a JSON-path-like string) and what to do.

    An empty path is the whole document; `line` counts from 1 where the notice was read from a file.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.path or "the notice"
        return (
            f"{where}: {self.message}" if self.line is None else f"line {self.line}, {where}: {self.message}"
        )


class InvalidNotice(InvalidInput):
    """A notice that must not be published; `problems` says everything there is to mend."""

    def __init__(self, problems: Sequence[NoticeProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class InvalidDecision(InvalidInput):
    """The decision contradicts its notice or carries something that cannot be recorded."""


class UnknownPurpose(InvalidDecision):
    """A choice names a purpose that its notice does not have."""


class ClockOutOfBounds(InvalidDecision):
    """The subject's clock is too far from ours to be evidence of anything."""


class NoticeSuperseded(InvalidDecision):
    """The decision was made under a notice that was replaced too long ago."""


class InvalidSubject(InvalidInput):
    """The subject's identifier is missing, empty, too long or badly encoded."""


class InvalidProfile(InvalidInput):
    """A profile's attributes are malformed or too long, or wanted of a category that no notice has."""


class NotCanonical(InvalidInput):
    """A value that has no canonical JSON form (RFC 8785 in the subset we sign)."""


class NotFound(ConsentToolkitError):
    """What was asked for does not exist, or not for this caller."""


class UnknownNotice(NotFound):
    """No notice with this digest was published by this tenant."""


class UnknownEntry(NotFound):
    """The ledger has no such entry, or not for this caller."""


class UnknownTile(NotFound):
    """A path names no tile or entry bundle of this log."""


class UnknownSubject(NotFound):
    """Nothing is held about this subject: she never decided, or was erased."""


class UnknownTenant(NotFound):
    """No tenant of this name."""


class UnknownLog(NotFound):
    """A witness is asked about a log that it does not watch."""


class NoSuchForm(NotFound):
    """A receipt cannot be given in the form that was asked for."""


class Conflict(ConsentToolkitError):
    """The request contradicts what is stored."""


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used before with another body."""


class TenantExists(Conflict):
    """A tenant of this name exists."""


class LinkRefused(Conflict):
    """The two subjects cannot be linked."""


class WitnessConflict(Conflict):
    """A checkpoint does not start from what the witness cosigned last, which had `size` entries."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"The last checkpoint that was cosigned has size {size}.")


class ErasureRefused(Conflict):
    """This subject is linked to a known one, who alone can be erased, with all that is linked to her."""


class RotationOvertaken(Conflict):
    """Another process rotated this key meanwhile."""


class PackChanged(Conflict):
    """A pack cannot be made again as it was: something was erased since, or a key replaced."""


class NoLiveGrant(Conflict):
    """Data of `categories` may not be stored: the subject granted no purpose that uses them."""

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = tuple(categories)
        super().__init__(f"No live grant covers: {', '.join(self.categories)}. Nothing was stored.")


class AccessDenied(ConsentToolkitError):
    """The caller may not do this."""


class Unauthenticated(AccessDenied):
    """No credential, or one that is unknown, revoked, expired or tampered with."""


class Forbidden(AccessDenied):
    """The credential is good, but not for this."""


class PurposeClosed(Forbidden):
    """The subject's data may not be read for this purpose now; `reason` is the gate's."""

    def __init__(self, purpose: str, reason: str) -> None:
        self.purpose = purpose
        self.reason = reason
        super().__init__(f"The gate of purpose {purpose} is closed: {reason}.")


class Unavailable(ConsentToolkitError):
    """The service cannot answer now; try again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class QueueFull(Unavailable):
    """More decisions are waiting than may wait."""


class KeystoreUnavailable(Unavailable):
    """The keystore that holds the root keys does not answer."""


class ShuttingDown(Unavailable):
    """The service drains its queue and takes nothing new."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer, refuses to write, or a lock was not to be had in time."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"The database is not available now ({cause}); try again.", retry_after=2)


class DatabaseDamaged(Unavailable):
    """The database is none any more, or a part of it cannot be read: waiting mends nothing."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The database is damaged ({cause}): look at its disk, and restore the newest backup.",
            retry_after=30,
        )


class TransactionUndone(DatabaseUnavailable):
    """The database rolled this transaction back so that another could go on: a deadlock, or a lost race."""


class EvidenceError(ConsentToolkitError):
    """Evidence does not verify."""


class InvalidProof(EvidenceError):
    """An inclusion or consistency proof does not lead to the root."""


class InvalidNote(EvidenceError):
    """A signed note is malformed or no trusted key signed it."""


class InvalidEntry(EvidenceError):
    """Leaf bytes or a record are not what an encoder of ours writes."""


class LedgerCorrupt(EvidenceError):
    """The stored ledger contradicts itself; `index` is the first bad entry."""

    def __init__(self, message: str, *, index: int) -> None:
        self.index = index
        super().__init__(message)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        return partial(type(self), index=self.index), self.args


class LogMisbehaved(EvidenceError):
    """A log that is followed broke its promise; `proof` is two checkpoints that contradict each other."""

    def __init__(self, message: str, *, proof: bytes | None = None) -> None:
        self.proof = proof
        super().__init__(message)


class SealBroken(ConsentToolkitError):
    """Sealed bytes were truncated, changed, swapped or sealed under another key."""


class ConfigurationError(ConsentToolkitError):
    """The operator has to act before the service can run."""


class WrongKey(ConfigurationError):
    """A key file does not belong to this database, or others can read it."""


class KeyFileMissing(ConfigurationError):
    """There is no key file where the settings say."""


class ExtraNotInstalled(ConfigurationError):
    """The settings ask for something that an optional dependency brings; `extra` is its name."""

    def __init__(self, extra: str) -> None:
        self.extra = extra
        super().__init__(f"This needs an optional dependency: pip install 'consent-service[{extra}]'.")


class SchemaMismatch(ConfigurationError):
    """The database's schema is another program's, or that of another version of this one."""


class NoDatabase(ConfigurationError):
    """There is no database of ours where the settings say; only a command that begins one makes it."""
