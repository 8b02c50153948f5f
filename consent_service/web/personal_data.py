"""The personal-data page: everything held about one subject, readable without script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consent_service.domain.notice import Notice
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.ledger.words import primary
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_personal_data import HeldValue, PersonalData
from consent_service.operations.read_uses import sentences
from consent_service.web.layout import contact_address, pages, purpose_facts
from consent_service.web.preferences import status_word
from consent_service.web.words import best_language, direction, words

_LABELS: Final = {
    "en": {
        "title": "Everything we hold about you",
        "made": "Made on",
        "known_as": "You are known here as",
        "nothing": "We hold nothing about you.",
        "choices": "Your choices",
        "profile": "Your data",
        "no_data": "No data is stored.",
        "since": "stored on",
        "until": "kept until",
        "derived": "worked out for",
        "open": "may be read for",
        "closed": "closed: nobody may read it, and it is deleted {days} days after it closed",
        "uses_kept": "Uses are kept for {days} days.",
        "uses": "What it was used for",
        "no_uses": "No use is recorded.",
        "history": "What you decided, and the words you were shown",
        "linked": "Browsers that were linked to you",
        "take": "The same as a file for programs: ask for this page as application/json.",
    },
    "fr": {
        "title": "Tout ce que nous avons sur vous",
        "made": "Établi le",
        "known_as": "Vous êtes connu ici comme",
        "nothing": "Nous n'avons rien sur vous.",
        "choices": "Vos choix",
        "profile": "Vos données",
        "no_data": "Aucune donnée n'est enregistrée.",
        "since": "enregistré le",
        "until": "conservé jusqu'au",
        "derived": "déduit pour",
        "open": "lisible pour",
        "closed": "fermé : personne ne peut le lire, et il est supprimé {days} jours après sa fermeture",
        "uses_kept": "Les usages sont conservés {days} jours.",
        "uses": "À quoi elles ont servi",
        "no_uses": "Aucun usage n'est enregistré.",
        "history": "Ce que vous avez décidé, et les mots montrés",
        "linked": "Navigateurs reliés à vous",
        "take": "La même chose pour les programmes : demandez cette page en application/json.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueView:
    """One field as it is shown."""

    field: str
    value: str
    stored: str
    kept_until: str
    derived_for: str
    open_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """One entry of the history as it is shown; `digest` leads to the words."""

    when: str
    outcomes: Sequence[tuple[str, str]]
    digest: str


def personal_data_page(data: PersonalData, published: PublishedNotice, wanted: str) -> tuple[str, str]:
    """Return the language taken and the page; `wanted` is a comma-separated list, best first.

    Our own labels are English or French; names and descriptions are the notice's in its language.
    """
    notice = published.notice
    language = best_language(wanted, notice.languages)
    own = primary(language) if primary(language) in _LABELS else "en"
    spoken = words(language)
    text = (
        pages()
        .get_template("personal_data.html")
        .render(
            data=data,
            notice=notice,
            language=language,
            direction=direction(language),
            words=spoken,
            labels=_labels(own, data),
            own=own,
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
            uses=sentences(list(data.uses), notice, language),
            history=_history(data, notice, language),
        )
    )
    return language, text


def _labels(own: str, data: PersonalData) -> dict[str, str]:
    labels = _LABELS[own]
    days = {"closed": data.grace_days, "uses_kept": data.uses_days}
    return {**labels, **{key: labels[key].format(days=number) for key, number in days.items()}}


def _profile(data: PersonalData, notice: Notice, language: str) -> list[tuple[str, list[ValueView]]]:
    spoken = words(language)
    by_category: dict[CategoryKey, list[ValueView]] = {}
    for held in data.values:
        by_category.setdefault(held.category, []).append(
            ValueView(
                field=held.field,
                value=_shown(held),
                stored=spoken.moment(held.stored_at),
                kept_until="" if held.kept_until is None else spoken.moment(held.kept_until),
                derived_for="" if held.derived_for is None else _purpose(notice, held.derived_for, language),
                open_to=", ".join(_purpose(notice, key, language) for key in held.open_to),
            )
        )
    return [
        (notice.categories[key].name[language] if key in notice.categories else key, views)
        for key, views in by_category.items()
    ]


def _history(data: PersonalData, notice: Notice, language: str) -> list[EntryView]:
    spoken = words(language)
    views = []
    for entry in reversed(data.history):
        shown = notice if entry.notice is None else entry.notice.notice
        outcomes = [
            (_purpose(shown, key, language), status_word(outcome.status, spoken))
            for key, outcome in entry.record.consents.items()
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
