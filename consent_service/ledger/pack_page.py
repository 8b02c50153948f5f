"""The page in an audit pack that people read first: what the pack is, what is in it, how to check it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from consent_service.domain.notice import Notice
from consent_service.ledger.receipt_forms.sheet import clean
from consent_service.ledger.words import FALLBACK, direction, primary, spoken, words_of

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "overflow-wrap:anywhere}dt{font-weight:600}dd{margin:0 0 .5rem}pre{white-space:pre-wrap}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSummary:
    """The figures of a pack."""

    origin: str
    vkey: str
    root: str
    first: int
    size: int
    made_at: str
    counts: Mapping[str, int]


def pack_page(summary: PackSummary, notice: Notice | None) -> str:
    """Return the page, with a section for each of the notice's languages; we speak English where not that."""
    declared = (FALLBACK,) if notice is None else notice.languages
    first = spoken(declared[0])
    sections = "".join(_section(summary, notice, language) for language in declared)
    return (
        f'<!doctype html>\n<html lang="{first}" dir="{direction(first)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(words_of(first)['pack']['title'])}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{sections}</main>\n</body>\n</html>\n"
    )


def _section(summary: PackSummary, notice: Notice | None, language: str) -> str:
    ours = spoken(language)
    words = words_of(ours)["pack"]
    counts = summary.counts
    lines = [
        (words["entries"], f"{counts.get('entries', 0)} ({summary.first}-{summary.size})"),
        (words["subjects"], str(counts.get("subjects", 0))),
        (words["erased"], str(counts.get("erased", 0))),
        (words["made"], summary.made_at),
        (words["root"], f"{summary.size}: {summary.root}"),
        (words["key"], summary.vkey),
    ]
    purposes = [] if notice is None else list(notice.purposes.values())
    shown = [(clean(each.name[language]), clean(each.benefit[language])) for each in purposes]
    rows = _rows(lines, "") + _rows(shown, _lang(language))
    heading = summary.origin if notice is None else clean(notice.controller.name)
    return (
        f'<section lang="{ours}" dir="{direction(ours)}">\n<h1>{escape(words["title"])}</h1>\n'
        f"<p><bdi>{escape(heading)}</bdi></p>\n<p>{escape(words['what'])}</p>\n<dl>\n{rows}</dl>\n"
        f"<p>{escape(words['members'])}</p>\n<p>{escape(words['check'])}</p>\n"
        f'<pre dir="ltr">python verify.py PACK.zip --key {escape(summary.vkey)}</pre>\n'
        f"<p>{escape(words['browser'])}</p>\n</section>\n"
    )


def _rows(pairs: Sequence[tuple[str, str]], lang: str) -> str:
    return "".join(
        f"<dt{lang}>{escape(label)}</dt><dd{lang}><bdi>{escape(value)}</bdi></dd>\n" for label, value in pairs
    )


def _lang(language: str) -> str:
    """Mark the notice's words where they are in another language than ours (WCAG 3.1.2)."""
    if spoken(language) == primary(language):
        return ""
    return f' lang="{escape(language)}" dir="{direction(language)}"'
