"""Every error the SDK raises. Reading calls raise none of the first group: they deny, with a reason.

ConsentError
├── ConfigurationError        the client cannot be made from what it was given
├── MisuseError               strict mode only: the calling code is wrong
│   ├── UnknownPurpose
│   └── InvalidSubject
├── NotRecorded               a writing call: nothing is known to be stored
│   ├── ServiceUnavailable    try again later; carries retry_after seconds
│   └── Refused               the service said no; carries its problem document's type, status, detail
│       ├── NotAuthorized
│       └── NoLiveGrant
└── EvidenceError             evidence does not verify
    ├── InvalidProof
    └── InvalidNote
"""


class ConsentError(Exception):
    """Base of every error of this package."""


class ConfigurationError(ConsentError):
    """The client cannot be made from what it was given."""


class MisuseError(ConsentError):
    """The calling code is wrong; raised in strict mode, denied and logged once otherwise."""


class UnknownPurpose(MisuseError):
    """No notice of this tenant ever named the purpose, or its key is malformed."""

    def __init__(self, purpose: object) -> None:
        shown = repr(purpose[:64]) if isinstance(purpose, str) else f"of the type {type(purpose).__name__}"
        super().__init__(f"No published notice has a purpose {shown}: publish one, or mend the spelling.")


class InvalidSubject(MisuseError, ValueError):
    """A subject is a string of 1 to 256 printable characters: no line break, nothing that nobody sees."""

    def __init__(self) -> None:
        super().__init__("A subject must be a str of 1 to 256 printable characters.")


class NotRecorded(ConsentError):
    """A writing call failed: nothing is known to be stored."""


class ServiceUnavailable(NotRecorded):
    """The service did not answer, or cannot now; try again after `retry_after` seconds."""

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(f"The consent service is unavailable ({detail}); try again later.")


class Refused(NotRecorded):
    """The service refused; `type`, `status`, `title` and `detail` are its problem document's (RFC 9457)."""

    def __init__(self, *, problem: str, status: int, title: str, detail: str) -> None:
        self.type = problem
        self.status = status
        self.title = title
        self.detail = detail
        super().__init__(f"{status} {title}: {detail}" if detail else f"{status} {title}")


class NotAuthorized(Refused):
    """The API key is unknown, revoked or not for this."""


class NoLiveGrant(Refused):
    """A category was written that no live grant covers."""


class EvidenceError(ConsentError):
    """Evidence does not verify."""


class InvalidProof(EvidenceError):
    """A proof does not lead to the root."""


class InvalidNote(EvidenceError):
    """A signed note is malformed, or no trusted key signed it, or a trusted key's signature is wrong."""
