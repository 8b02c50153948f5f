"""The preference page: everything about one subject's choices, as values for its template."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from consent_service.domain.consent import Consent, Status
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import UseCount
from consent_service.ledger.record import DecisionRecord, LinkRecord
from consent_service.observability import REASONS
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_history import Consents, HistoryEntry
from consent_service.web.erased import what_stays
from consent_service.web.layout import contact_address, pages, purpose_facts
from consent_service.web.verifying import verify_link
from consent_service.web.words import Words, best_language, direction, names_of, own_name, words

MESSAGES: Final = frozenset({"saved", "ended", "nothing"})
"""What the page may say about what just happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeView:
    """One purpose with its value-exchange card and where the subject stands."""

    key: PurposeKey
    name: str
    description: str
    facts: Sequence[tuple[str, Sequence[str]]]
    allowed: bool
    status: str
    counts: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """One entry of the subject's history, with the words she was shown; a link was shown none."""

    index: int
    when: str
    linked: bool
    outcomes: Sequence[tuple[str, str]]
    language: str
    direction: str
    shown: Sequence[PurposeView]
    receipt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UseView:
    """What one category of data was used for, how often and when last."""

    category: str
    purpose: str
    times: int
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePage:
    """What the page shows; `consents` and `history` are those of its subject, empty for somebody new.

    After an erasure, backups would hold her for `epoch_days`, and sealed proof be kept until `sealed_until`.
    With `account` she is a known subject; with `joint` she is linked to one, and erased with that one only.
    """

    published: PublishedNotice
    wanted: str
    consents: Consents
    history: Sequence[HistoryEntry]
    known: bool
    uses: Mapping[tuple[PurposeKey, CategoryKey], UseCount]
    signalled: bool
    epoch_days: int
    sealed_until: datetime | None
    joint: bool
    account: bool
    message: str = ""

    def render(self, *, key: str) -> tuple[str, str]:
        """Return the language taken and the page; `key` is the publishable key its links carry."""
        notice = self.published.notice
        language = best_language(self.wanted, notice.languages)
        spoken = words(language)
        text = (
            pages()
            .get_template("preferences.html")
            .render(
                notice=notice,
                digest=self.published.digest,
                key=key,
                language=language,
                direction=direction(language),
                words=spoken,
                contact=contact_address(notice),
                languages=[(tag, own_name(tag)) for tag in notice.languages],
                signalled=names_of(p.name[language] for p in notice.purposes.values() if p.gpc)
                if self.signalled
                else "",
                message=spoken[self.message] if self.message in MESSAGES else "",
                purposes=self._purposes(notice, language, spoken),
                allowed=any(current.verdict.allowed for current in self.consents.consents.values()),
                reasons=[(reason, spoken[reason]) for reason in REASONS],
                history=[self._entry(entry, spoken) for entry in reversed(self.history)],
                uses=use_views(self.uses, notice, language, spoken),
                known=self.known,
                joint=self.joint,
                account=self.account,
                stays=what_stays(self.epoch_days, self.sealed_until, spoken),
                checking=verify_link(language),
            )
        )
        return language, text

    def _purposes(self, notice: Notice, language: str, spoken: Words) -> list[PurposeView]:
        views = []
        for key, purpose in notice.purposes.items():
            current = self.consents.consents[key]
            views.append(
                PurposeView(
                    key=key,
                    name=purpose.name[language],
                    description=purpose.description[language],
                    facts=purpose_facts(notice, purpose, language, spoken),
                    allowed=current.verdict.allowed,
                    status=status_word(current.status, spoken),
                    counts=_counts(current.consent, spoken),
                )
            )
        return views

    def _entry(self, entry: HistoryEntry, spoken: Words) -> EntryView:
        record = entry.record
        published = entry.notice or self.published
        notice = published.notice
        shown_in = record.decision.language if isinstance(record, DecisionRecord) else spoken.language
        language = best_language(shown_in, notice.languages)
        keys = in_order(record.consents, notice)
        outcomes = [
            (
                _name(key, notice, self.published.notice, language),
                status_word(record.consents[key].status, spoken),
            )
            for key in keys
        ]
        shown = [
            PurposeView(
                key=key,
                name=notice.purposes[key].name[language],
                description=notice.purposes[key].description[language],
                facts=purpose_facts(notice, notice.purposes[key], language, words(language)),
                allowed=False,
                status="",
                counts=None,
            )
            for key in keys
            if entry.notice is not None and key in notice.purposes
        ]
        return EntryView(
            index=entry.index,
            when=spoken.moment(record.recorded_at),
            linked=isinstance(record, LinkRecord),
            outcomes=outcomes,
            language=language,
            direction=direction(language),
            shown=shown,
            receipt=isinstance(record, DecisionRecord),
        )


def use_views(
    uses: Mapping[tuple[PurposeKey, CategoryKey], UseCount], notice: Notice, language: str, spoken: Words
) -> list[UseView]:
    """Return what each category was used for, the latest use first."""
    latest = sorted(uses.items(), key=lambda item: item[1].last, reverse=True)
    return [
        UseView(
            category=notice.categories[category].name[language]
            if category in notice.categories
            else category,
            purpose=notice.purposes[purpose].name[language] if purpose in notice.purposes else purpose,
            times=count.times,
            last=spoken.day(count.last),
        )
        for (purpose, category), count in latest
    ]


def in_order(keys: Iterable[PurposeKey], notice: Notice) -> list[PurposeKey]:
    """Return purposes in the order in which a notice shows them, those it does not have at the end."""
    order = list(notice.purposes)
    return sorted(keys, key=lambda key: order.index(key) if key in order else len(order))


def status_word(status: Status, spoken: Words) -> str:
    """Return a status in the interface's words."""
    return spoken["on" if status is Status.GIVEN else status.value]


def _counts(consent: Consent | None, spoken: Words) -> str | None:
    if consent is None:
        return None
    return f"{spoken['since']} {_span(consent.since, consent.valid_until, spoken)}"


def _span(since: datetime, until: datetime, spoken: Words) -> str:
    return f"{spoken.day(since)} \N{EN DASH} {spoken.day(until)}"


def _name(key: PurposeKey, shown: Notice, current: Notice, language: str) -> str:
    for notice in (shown, current):
        if key in notice.purposes:
            return notice.purposes[key].name[best_language(language, notice.languages)]
    return key
