"""The personal-data page: everything held about one subject, readable without script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.notice import Notice
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import added, by_purpose_and_category
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_personal_data import HeldValue, PersonalData
from consent_service.web.layout import contact_address, pages, purpose_facts
from consent_service.web.preferences import in_order, status_word, use_views
from consent_service.web.words import best_language, direction, names_of, words


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueView:
    """One field as it is shown."""

    field: str
    value: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """One entry of the history as it is shown; `digest` leads to the words."""

    when: str
    outcomes: Sequence[tuple[str, str]]
    digest: str


def personal_data_page(data: PersonalData, published: PublishedNotice, wanted: str) -> tuple[str, str]:
    """Return the language taken and the page; `wanted` is a comma-separated list, best first."""
    notice = published.notice
    language = best_language(wanted, notice.languages)
    spoken = words(language)
    uses = by_purpose_and_category(added(*(day.uses for day in data.uses)).items())
    text = (
        pages()
        .get_template("personal_data.html")
        .render(
            data=data,
            notice=notice,
            language=language,
            direction=direction(language),
            words=spoken,
            contact=contact_address(notice),
            choices=[
                (_purpose(notice, key, language), status_word(current.status, spoken))
                for key, current in data.consents.consents.items()
            ],
            facts=[
                (purpose.name[language], purpose_facts(notice, purpose, language, spoken))
                for purpose in notice.purposes.values()
            ],
            profile=_profile(data, notice, language),
            uses=use_views(uses, notice, language, spoken),
            uses_kept=f"{spoken['kept']}: {spoken.lasting(f'P{data.uses_days}D')}",
            history=_history(data, notice, language),
        )
    )
    return language, text


def _profile(data: PersonalData, notice: Notice, language: str) -> list[tuple[str, list[ValueView]]]:
    by_category: dict[CategoryKey, list[ValueView]] = {}
    for held in data.values:
        by_category.setdefault(held.category, []).append(
            ValueView(field=held.field, value=_shown(held), lines=_lines(data, held, notice, language))
        )
    return [
        (notice.categories[key].name[language] if key in notice.categories else key, views)
        for key, views in by_category.items()
    ]


def _lines(data: PersonalData, held: HeldValue, notice: Notice, language: str) -> list[str]:
    """Return since and until when a value is there, and for what it may be read."""
    spoken = words(language)
    lines = [spoken.say("stored", when=spoken.moment(held.stored_at))]
    if held.kept_until is not None and held.open_to:
        lines.append(spoken.say("until", when=spoken.moment(held.kept_until)))
    if held.derived_for is not None:
        lines.append(spoken.say("derived", purpose=_purpose(notice, held.derived_for, language)))
    if held.open_to:
        names = names_of(_purpose(notice, key, language) for key in held.open_to)
        lines.append(spoken.say("readable", purposes=names))
    else:
        lines.append(spoken.say("closed", time=spoken.lasting(f"P{data.grace_days}D")))
    return lines


def _history(data: PersonalData, notice: Notice, language: str) -> list[EntryView]:
    spoken = words(language)
    views = []
    for entry in reversed(data.history):
        shown = notice if entry.notice is None else entry.notice.notice
        outcomes = [
            (_purpose(shown, key, language), status_word(entry.record.consents[key].status, spoken))
            for key in in_order(entry.record.consents, shown)
        ]
        digest = "" if entry.notice is None else entry.notice.digest
        views.append(
            EntryView(when=spoken.moment(entry.record.recorded_at), outcomes=outcomes, digest=digest)
        )
    return views


def _shown(held: HeldValue) -> str:
    return held.value if isinstance(held.value, str) else json.dumps(held.value, ensure_ascii=False)


def _purpose(notice: Notice, key: PurposeKey, language: str) -> str:
    purpose = notice.purposes.get(key)
    if purpose is None:
        return key
    return purpose.name.get(language) or next(iter(purpose.name.values()))
