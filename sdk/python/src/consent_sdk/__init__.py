"""Gate personalization features on live, explicit consent: no answer means no."""

from consent_sdk._values import Consent, Consents, History, PastDecision, Recorded
from consent_sdk.aio import AsyncConsentClient
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
