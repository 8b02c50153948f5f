"""May this purpose use this subject's data now? Deny by default, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from consent_service.domain.consent import Consent, SubjectState
from consent_service.domain.purpose import Purpose, PurposeKey


class Reason(StrEnum):
    """Why a gate is open (`granted`) or closed (every other one)."""

    GRANTED = "granted"
    NEVER_ASKED = "never_asked"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NOTICE_OUTDATED = "notice_outdated"
    PURPOSE_UNKNOWN = "purpose_unknown"
    PURPOSE_RETIRED = "purpose_retired"
    GPC_OPT_OUT = "gpc_opt_out"
    SUBJECT_ERASED = "subject_erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer of a gate. `index` is the ledger entry it rests on, `None` where there is none."""

    allowed: bool
    reason: Reason
    valid_until: datetime | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The purposes of a tenant's current notice, and the keys that only earlier notices had."""

    purposes: Mapping[PurposeKey, Purpose] = field(default_factory=dict)
    retired: frozenset[PurposeKey] = frozenset()


def evaluate(purpose: Purpose, state: SubjectState, now: datetime, *, gpc: bool = False) -> Verdict:
    """Return the verdict on `purpose` at `now`; allowed only under a live grant of its current version.

    `gpc` is the Global Privacy Control signal of the request at hand: it refuses a purpose that honours
    the signal, unless the subject granted that purpose with the signal already on (W3C GPC, section 5).
    """
    consent = state.consents.get(purpose.key)
    if state.erased:
        return Verdict(allowed=False, reason=Reason.SUBJECT_ERASED)
    signalled = gpc and purpose.gpc
    if consent is None:
        return Verdict(allowed=False, reason=Reason.GPC_OPT_OUT if signalled else Reason.NEVER_ASKED)
    reason = _reason(consent, purpose, now)
    if reason is Reason.GRANTED and signalled and not consent.gpc:
        reason = Reason.GPC_OPT_OUT
    return Verdict(
        allowed=reason is Reason.GRANTED,
        reason=reason,
        valid_until=consent.valid_until,
        index=consent.index,
    )


def _reason(consent: Consent, purpose: Purpose, now: datetime) -> Reason:
    if now >= consent.valid_until:
        return Reason.EXPIRED
    if consent.granting:
        current = consent.purpose_version == purpose.version
        return Reason.GRANTED if current else Reason.NOTICE_OUTDATED
    if consent.by_signal:
        return Reason.GPC_OPT_OUT
    return Reason(consent.status.value)


def evaluate_key(
    key: PurposeKey, catalogue: Catalogue, state: SubjectState, now: datetime, *, gpc: bool = False
) -> Verdict:
    """Return the verdict on the purpose named `key`; one that is unknown or retired denies."""
    purpose = catalogue.purposes.get(key)
    if purpose is not None:
        return evaluate(purpose, state, now, gpc=gpc)
    if state.erased:
        return Verdict(allowed=False, reason=Reason.SUBJECT_ERASED)
    retired = key in catalogue.retired
    return Verdict(allowed=False, reason=Reason.PURPOSE_RETIRED if retired else Reason.PURPOSE_UNKNOWN)
