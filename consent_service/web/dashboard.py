"""The dashboard: one tenant's counts, ledger and banner, as values for its template."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from babel.numbers import format_decimal, format_percent

from consent_service.domain.consent import Status
from consent_service.domain.purpose import PurposeKey
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.read_dashboard import Dashboard
from consent_service.operations.tally_ledger import Tally
from consent_service.web.layout import pages
from consent_service.web.notice_checks import check_notice, honesty_rules
from consent_service.web.verifying import verify_link
from consent_service.web.words import Words, best_language, direction, names_of, own_name, words

BAND: Final = (0.30, 0.45)
"""The usual share of yes where refusing takes one click: docs/decisions/0054-a-dashboard-of-counts.md."""

LEAST: Final = 100
"""Answers below which no share is judged."""

_DAYS: Final = 30
_RARE: Final = 5
_MOST: Final = 12
_FOLDER: Final = files("consent_service.web") / "dashboard_words"
_FIRST: Final = "en"
_METHODS: Final = {"accept_all": "accept", "refuse_all": "refuse", "save": "save"}
_KNOWN: Final = frozenset({*_METHODS, "withdraw_all", "gpc", "banner", "dialog", "page"})
"""The methods and sources of our own banner and pages."""


@cache
def dashboard_languages() -> tuple[str, ...]:
    """Return the languages that the page has words in, English first."""
    spoken = {item.name.removesuffix(".json") for item in _FOLDER.iterdir()}
    return (_FIRST, *sorted(spoken - {_FIRST}))


@cache
def _words(language: str) -> Mapping[str, str]:
    texts: Mapping[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return texts


class Bar(NamedTuple):
    """One day's decisions; `height` is the share of the busiest day's, in per cent."""

    day: str
    number: str
    place: int
    height: int


class Way(NamedTuple):
    """How often something was so: `name` is a word of ours, or `code` what the shop calls it."""

    name: str
    code: str
    number: str
    share: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersView:
    """What was answered to one notice: a row a purpose, and a judgement of the whole."""

    title: str
    published: str
    digest: str
    current: bool
    rows: Sequence[tuple[str, Sequence[str]]]
    judgement: str


def sign_in_page(wanted: str, *, fault: str = "") -> tuple[str, str]:
    """Return the language taken and the form that asks for a key; `fault` names what was wrong before."""
    language = best_language(wanted, dashboard_languages())
    texts = _words(language)
    text = (
        pages()
        .get_template("dashboard_sign_in.html")
        .render(**_frame(language), fault=texts[fault] if fault else "")
    )
    return language, text


def dashboard_page(data: Dashboard, wanted: str) -> tuple[str, str]:
    """Return the language taken and the page; `wanted` is a comma-separated list, best first."""
    language = best_language(wanted, dashboard_languages())
    current = data.book.current
    shown = "" if current is None else best_language(language, current.notice.languages)
    text = (
        pages()
        .get_template("dashboard.html")
        .render(
            **_frame(language),
            data=data,
            notice=current,
            shown=shown,
            view=_View(data, shown, words(language), _words(language)),
            checking=verify_link(language),
        )
    )
    return language, text


def _frame(language: str) -> dict[str, object]:
    return {
        "language": language,
        "direction": direction(language),
        "own": _words(language),
        "words": words(language),
        "languages": [(tag, own_name(tag)) for tag in dashboard_languages()],
    }


class _View:
    """The page's tables in one language; purposes are named in `shown`, a language of the notice."""

    def __init__(self, data: Dashboard, shown: str, spoken: Words, own: Mapping[str, str]) -> None:
        self._data = data
        self._tally: Tally = data.tally
        self._shown = shown
        self._spoken = spoken
        self._own = own
        current = data.book.current
        self._checked = {} if current is None else check_notice(current)

    def number(self, number: int) -> str:
        """Return a whole number as the language writes it."""
        return format_decimal(number, locale=self._spoken.locale)

    def share(self, part: int, whole: int) -> str:
        """Return a share in per cent, a dash where there is nothing to share."""
        return self._percent(part / whole, ".0") if whole else "\u2013"

    def _percent(self, share: float, fraction: str) -> str:
        locale = self._spoken.locale
        form = locale.percent_formats[None].pattern.replace("#,##0", f"#,##0{fraction}")
        return format_percent(share, form, locale=locale)

    def moment(self, when: datetime | None) -> str:
        """Return a date and a time of day, a dash for none."""
        return "\u2013" if when is None else self._spoken.moment(when)

    @property
    def partial(self) -> str:
        """What is still to be counted, empty where everything was."""
        tally = self._tally
        if tally.counted == tally.rows:
            return ""
        counted, rows = self.number(tally.counted), self.number(tally.rows)
        return self._own["partial"].format(counted=counted, rows=rows)

    @property
    def band(self) -> str:
        """The usual shares, from the lower to the upper."""
        return "\u2013".join(self._percent(share, "") for share in BAND)

    @property
    def people(self) -> list[tuple[str, str, list[str]]]:
        """Name, version and numbers: allowed, refused, withdrawn, expired, never asked."""
        rows = []
        for key, name, versions in self._versions():
            of_purpose = [each for each in self._tally.standings if each.purpose == key]
            asked = sum(each.people for each in of_purpose)
            for version in versions:
                here = [each for each in of_purpose if each.version == version]
                living = {
                    status: sum(each.people for each in here if each.status == status and not each.over)
                    for status in Status
                }
                numbers = [
                    living[Status.GIVEN] + living[Status.RENEWED],
                    living[Status.REFUSED],
                    living[Status.WITHDRAWN],
                    sum(each.people for each in here if each.over),
                ]
                unknown = self.number(self._tally.people - asked) if version == versions[0] else "\u2013"
                rows.append((name, str(version), [*map(self.number, numbers), unknown]))
        return rows

    def _versions(self) -> list[tuple[PurposeKey, str, list[int]]]:
        book = self._data.book
        offered = {} if book.current is None else book.current.notice.purposes
        found = []
        for key in [*offered, *(key for key in book.highest_versions if key not in offered)]:
            chosen = {each.version for each in self._tally.standings if each.purpose == key}
            now = {offered[key].version} if key in offered else set()
            if versions := sorted(chosen | now, reverse=True):
                found.append((key, self._name(key), versions))
        return found

    def _name(self, key: PurposeKey, published: PublishedNotice | None = None) -> str:
        for each in (published, *reversed(self._data.book.publications)):
            if each is not None and key in each.notice.purposes:
                name = each.notice.purposes[key].name
                return name[best_language(self._shown, list(name))]
        return key

    @property
    def answers(self) -> list[AnswersView]:
        """What was answered to each notice, the newest first; of older ones those that anybody answered."""
        current = self._data.book.current
        views = []
        for published in sorted(self._data.book.notices.values(), key=lambda each: -each.index):
            rows, given, asked = [], 0, 0
            for key in published.notice.purposes:
                yes, no, renewed, withdrawn = (
                    self._tally.outcomes(published.digest, key, status)
                    for status in (Status.GIVEN, Status.REFUSED, Status.RENEWED, Status.WITHDRAWN)
                )
                given, asked = given + yes, asked + yes + no
                numbers = [*map(self.number, (yes, no, renewed, withdrawn)), self.share(yes, yes + no)]
                rows.append((self._name(key, published), numbers))
            if asked or published == current:
                views.append(self._answers(published, rows, given, asked))
        return views[:_MOST]

    def _answers(
        self,
        published: PublishedNotice,
        rows: Sequence[tuple[str, Sequence[str]]],
        given: int,
        asked: int,
    ) -> AnswersView:
        title = published.notice.title
        return AnswersView(
            title=title[best_language(self._shown, list(title))],
            published=self._spoken.day(published.published_at),
            digest=published.digest[:12],
            current=published == self._data.book.current,
            rows=rows,
            judgement=self._judgement(given, asked),
        )

    def _judgement(self, given: int, asked: int) -> str:
        if asked < LEAST:
            return self._own["few"].format(least=self.number(LEAST))
        low, high = BAND
        word = "below" if given < low * asked else "above" if given > high * asked else "within"
        return f"{self.share(given, asked)}. {self._own[word].format(band=self.band)}"

    @property
    def days(self) -> list[Bar]:
        """The last thirty days, the oldest first."""
        today = self._tally.taken_at.astimezone(UTC).date()
        dates = [today - timedelta(days=ago) for ago in range(_DAYS - 1, -1, -1)]
        counts = [self._tally.on(day) for day in dates]
        most = max(counts) or 1
        return [
            Bar(
                self._spoken.day(datetime(day.year, day.month, day.day, tzinfo=UTC)),
                self.number(count),
                place,
                # Rounded up: a day with one decision is seen beside one with thousands.
                -(-100 * count // most),
            )
            for place, (day, count) in enumerate(zip(dates, counts, strict=True))
        ]

    @property
    def taken_back(self) -> list[tuple[str, list[str]]]:
        """Name of each purpose, how many withdrawals, the share of its yeses that were regretted."""
        rows = []
        for key, name, _ in self._versions():
            outcomes = {
                status: sum(self._tally.outcomes(digest, key, status) for digest in self._data.book.notices)
                for status in (Status.GIVEN, Status.WITHDRAWN)
            }
            regrets = self._tally.counts["regret", key]
            numbers = [self.number(outcomes[Status.WITHDRAWN]), self.share(regrets, outcomes[Status.GIVEN])]
            rows.append((name, numbers))
        return rows

    def ways(self, what: str) -> list[Way]:
        """How often each method, source or language was used.

        A shop's own word that is rarer than five goes under "others": a mistaken client might have put into
        it what names somebody.
        """
        counts = self._tally.of(what)
        whole = sum(counts.values())
        named = [
            (code, count)
            for code, count in counts.items()
            if what == "language" or code in _KNOWN or count >= _RARE
        ][:_MOST]
        ways = [self._way(what, code, count, whole) for code, count in named]
        if rest := whole - sum(count for _, count in named):
            ways.append(Way(self._own["others"], "", self.number(rest), self.share(rest, whole)))
        return ways

    def _way(self, what: str, code: str, count: int, whole: int) -> Way:
        name = own_name(code) if what == "language" else ""
        if what == "method" and code in _METHODS:
            name = self._spoken[_METHODS[code]]
        return Way(name, "" if name else code, self.number(count), self.share(count, whole))

    def counted(self, what: str, name: str) -> str:
        """Return one count."""
        return self.number(self._tally.counts[what, name])

    @property
    def decisions(self) -> str:
        """How many decisions the ledger holds."""
        return self.counted("kind", "decision")

    @property
    def root(self) -> str:
        """The root of the log in base64."""
        return base64.b64encode(self._data.root).decode()

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """The reasons given, each with how often."""
        process = self._data.process
        given = {} if process is None else process.reasons
        return [(self._spoken[reason], self.number(count)) for reason, count in given.items()]

    @property
    def witnesses(self) -> list[tuple[str, str, str]]:
        """Name, when it last cosigned, how many entries it is behind."""
        return [
            (
                each.name,
                self._own["never"]
                if each.cosigned_at is None
                else self._spoken.moment(datetime.fromtimestamp(each.cosigned_at, UTC)),
                self.number(each.lag),
            )
            for each in self._data.witnesses
        ]

    @property
    def summary(self) -> str:
        """How many rules were read from the current notice, and how many of them hold."""
        held = self.number(sum(not failing for failing in self._checked.values()))
        return self._own["summary"].format(checked=self.number(len(self._checked)), held=held)

    @property
    def rules(self) -> list[tuple[str, str, str, str, str]]:
        """Id, rule, source, what the current notice says about it, and what to do on the shop's page."""
        return [
            (
                rule.id,
                rule.text,
                rule.source,
                self._result(self._checked.get(rule.id)),
                self._own["unchecked" if rule.kit else "own_tests"],
            )
            for rule in honesty_rules()
        ]

    def _result(self, failing: Sequence[str] | None) -> str:
        if failing is None:
            return self._own["unread"]
        if failing:
            return self._own["fails"].format(languages=names_of(own_name(tag) for tag in failing))
        return self._own["holds"]
