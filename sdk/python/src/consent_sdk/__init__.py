"""Gate personalization features on live, explicit consent: no answer means no."""

from consent_sdk._values import Consent, Consents, History, PastDecision, Recorded
from consent_sdk.client import ConsentClient
from consent_sdk.errors import (
    ConfigurationError,
    ConsentError,
    InvalidSubject,
    NoLiveGrant,
    NotAuthorized,
    NotRecorded,
    Refused,
    ServiceUnavailable,
    UnknownPurpose,
)
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from consent_sdk.aio import AsyncConsentClient

__all__ = [
    "AsyncConsentClient",
    "ConfigurationError",
    "Consent",
    "ConsentClient",
    "ConsentError",
    "Consents",
    "History",
    "InvalidSubject",
    "NoLiveGrant",
    "NotAuthorized",
    "NotRecorded",
    "PastDecision",
    "Reason",
    "Recorded",
    "Refused",
    "ServiceUnavailable",
    "UnknownPurpose",
    "Verdict",
]


def __getattr__(name: str) -> object:
    """Import `AsyncConsentClient` when it is first asked for (PEP 562): most programs need one client."""
    if name != "AsyncConsentClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from consent_sdk.aio import AsyncConsentClient  # noqa: PLC0415  # see above

    return AsyncConsentClient
