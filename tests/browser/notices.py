"""Notices for the browser tests: in many languages, with many purposes, or hostile."""

from collections.abc import Sequence

from consent_service.domain.notice import Notice
from consent_service.domain.notice_form import parse_notice
from tests.builders import a_notice_document


def in_languages(tags: Sequence[str]) -> Notice:
    """Return the example notice in each of these languages: its English words, marked with the tag."""

    def translated(value: object) -> object:
        if isinstance(value, dict):
            if set(value) == {"en", "fr"}:
                return {tag: f"{value['en']} ({tag})" for tag in tags}
            return {key: translated(inner) for key, inner in value.items()}
        return value

    document = translated(a_notice_document())
    assert isinstance(document, dict)
    return parse_notice({**document, "languages": list(tags)})
