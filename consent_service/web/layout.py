"""Lays out banner and dialog in one language: the fragment that `GET /v1/banner` answers."""

import re
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from consent_service.domain.duration import Duration
from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.purpose import CONSENT_MODE_SIGNALS, Purpose, PurposeKey
from consent_service.web.words import Words, best_language, direction, names_of, own_name, words

LONGEST_DAYS: Final = 180
"""Yes and no are remembered by the browser for 180 days at most (CNIL 2020-092: six months)."""


@cache
def pages() -> Environment:
    """Return the templates: every value escaped, a missing one an error."""
    return Environment(
        loader=PackageLoader("consent_service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def banner_fragment(
    notice: Notice, digest: NoticeDigest, wanted: str, *, gpc: bool = False, early: bool = False
) -> tuple[str, str]:
    """Return the language taken and the fragment in it; `wanted` is a comma-separated list, best first.

    With `gpc` it says what the browser's privacy signal refuses; `early` is for a page that shows it before
    its script is there: the banner is not hidden, and a button that is pressed early keeps that in mind.
    """
    language = best_language(wanted, notice.languages)
    spoken = words(language)
    text = (
        pages()
        .get_template("banner.html")
        .render(
            notice=notice,
            digest=digest,
            language=language,
            direction=direction(language),
            words=spoken,
            contact=contact_address(notice),
            controller=name_in(notice.controller.name, language),
            languages=[(tag, own_name(tag)) for tag in notice.languages],
            recipients=len({key for purpose in notice.purposes.values() for key in purpose.recipients}),
            signalled=names_of(p.name[language] for p in notice.purposes.values() if p.gpc) if gpc else "",
            early=early,
            facts={
                key: purpose_facts(notice, purpose, language, spoken)
                for key, purpose in notice.purposes.items()
            },
            # Counted as `consent-mode.ts` lists them: names are long.
            signals={
                key: "".join(str(CONSENT_MODE_SIGNALS.index(signal)) for signal in purpose.consent_mode)
                for key, purpose in notice.purposes.items()
            },
            days={key: days for key, (_, days) in remembered(notice).items()},
        )
    )
    # Every attribute stands in double quotes: a bare apostrophe ends none of them.
    return language, re.sub(r"\n\s*", "", text).replace("&#39;", "'")


def name_in(name: str, language: str) -> str:
    """Return a name to stand in a text of that language: its full stop stays at its end (UAX 9, isolates)."""
    if direction(language) == "ltr":
        return name
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"


def contact_address(notice: Notice) -> str:
    """Return the controller's contact as a link: `mailto:`, `tel:` or `https:`."""
    contact = notice.controller.contact
    return contact if contact.startswith(("https:", "tel:")) else f"mailto:{contact}"


def remembered(notice: Notice) -> dict[PurposeKey, tuple[int, int]]:
    """Return under which version, and for how many days, a browser remembers a choice of each purpose."""
    return {
        key: (purpose.version, remembered_days(purpose.validity)) for key, purpose in notice.purposes.items()
    }


def remembered_days(validity: Duration) -> int:
    """Return the days a browser remembers a choice: the validity in months of 30 days, at most 180."""
    return min(max(validity.months * 30 + validity.exact.days, 1), LONGEST_DAYS)


def purpose_facts(
    notice: Notice, purpose: Purpose, language: str, spoken: Words
) -> list[tuple[str, list[str]]]:
    """Return the value-exchange card of a purpose: its six facts in their fixed order, each with its name."""
    used = [notice.categories[key] for key in purpose.categories]
    seen = [notice.recipients[key] for key in purpose.recipients]
    return [
        (spoken["use"], [f"{item.name[language]} ({spoken[item.origin]})" for item in used]),
        (spoken["get"], [purpose.benefit[language]]),
        (spoken["never"], [purpose.never[language]]),
        (
            spoken["seen"],
            [f"{name_in(item.name, language)} ({spoken.country(item.country)})" for item in seen]
            or [spoken.say("only", name=name_in(notice.controller.name, language))],
        ),
        (spoken["kept"], [spoken.lasting(purpose.retention.text)]),
        (spoken["no"], [purpose.if_denied[language]]),
    ]
