"""Read what a subject's data was used for, and say it in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from consent_service.domain.notice import Notice
from consent_service.domain.purpose import CategoryKey, PurposeKey, Texts
from consent_service.domain.uses import Day, UseCount, UseKind, added, by_purpose_and_category, day_of
from consent_service.ledger.words import primary, spoken, words_of
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up
from consent_service.operations.record_uses import UsesRecorder, open_day
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import find_known
from consent_service.storage.vault_store import find_subject_keys, find_uses

RECENT_DAYS = 30
"""How far back the preference page looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfUses:
    """The uses of one day."""

    day: Day
    uses: Mapping[UseKind, UseCount]


def read_uses(
    deployment: Deployment,
    recorder: UsesRecorder,
    tenant: Tenant,
    subject: Subject,
    *,
    language: str,
    purpose: str | None = None,
) -> tuple[list[DayOfUses], list[str]]:
    """Return a subject's uses day by day, oldest first, and in sentences of `language`.

    Of one purpose, or of all. None for a subject about whom nothing is held.
    """
    recorder.flush()
    with deployment.reading(tenant) as scope:
        known = look_up(deployment, scope, tenant, [subject], find_known).get(subject.blind_index)
        if known is None:
            return [], []
        days = uses_of(scope, deployment.refreshed(scope, tenant), known[0])
        current = deployment.book(scope).current
    if purpose is not None:
        days = [
            DayOfUses(day=day.day, uses=own)
            for day in days
            if (own := {kind: count for kind, count in day.uses.items() if kind.purpose == purpose})
        ]
    return days, sentences(days, None if current is None else current.notice, language)


def recent_uses(
    deployment: Deployment, recorder: UsesRecorder, tenant: Tenant, subject: Subject
) -> Mapping[tuple[PurposeKey, CategoryKey], UseCount]:
    """Return what a subject's data was used for in the last 30 days, by purpose and category."""
    since = day_of(deployment.clock() - timedelta(days=RECENT_DAYS))
    days, _ = read_uses(deployment, recorder, tenant, subject, language="en")
    return by_purpose_and_category(added(*(day.uses for day in days if day.day >= since)).items())


def uses_of(scope: TenantScope, tenant: Tenant, subject_id: int) -> list[DayOfUses]:
    """Return the stored uses of a subject; raise `SealBroken`."""
    stored = find_subject_keys(scope, [subject_id]).get(subject_id)
    if stored is None:
        return []
    own = tenant.keyring.unwrap_subject_key(stored.wrapped, subject=str(subject_id))
    return [
        DayOfUses(day=Day(day.day), uses=open_day(tenant.origin, own, subject_id, day.day, day.sealed))
        for day in find_uses(scope, [subject_id])
    ]


def sentences(days: list[DayOfUses], notice: Notice | None, language: str) -> list[str]:
    """Return one sentence for each category and purpose, the latest use first, in a language of ours.

    Names come from the current notice in that language; what it does not have any more is named by key.
    """
    forms = words_of(spoken(language))["uses"]
    total = by_purpose_and_category(added(*(day.uses for day in days)).items())
    told = []
    for (purpose, category), count in sorted(total.items(), key=lambda item: item[1].last, reverse=True):
        names = (
            None if notice is None or category not in notice.categories else notice.categories[category].name,
            None if notice is None or purpose not in notice.purposes else notice.purposes[purpose].name,
        )
        told.append(
            forms["once" if count.times == 1 else "times"].format(
                category=_name(names[0], language, category),
                purpose=_name(names[1], language, purpose),
                n=count.times,
                date=count.last.date().isoformat(),
            )
        )
    return told


def _name(texts: Texts | None, language: str, key: str) -> str:
    if not texts:
        return key
    same = (text for tag, text in texts.items() if primary(tag) == primary(language))
    return texts.get(language) or next(same, next(iter(texts.values())))
