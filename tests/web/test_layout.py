"""The fragment that banner and dialog are laid out from."""

import gzip
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from consent_service.domain.duration import Duration
from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.domain.purpose import CONSENT_MODE_SIGNALS
from consent_service.web.layout import banner_fragment, remembered_days
from consent_service.web.words import languages
from tests.browser.notices import in_languages
from tests.builders import a_notice

DIGEST = NoticeDigest("7c1f0b9ad34e58622a90fd1de6c83b475f02a6b1c9e7d8340b6a5f9e21c7d843")
BUDGET = 6144  # bytes, gzip: banner, dialog and one language's configuration (rule R57)


class Reader(HTMLParser):
    """Collects what a fragment is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def size(notice: Notice, language: str) -> int:
    script = (files("consent_service.web") / "static" / "banner.js").read_bytes()
    _, text = banner_fragment(notice, DIGEST, language)
    return len(gzip.compress(script, 9)) + len(gzip.compress(text.encode(), 9))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_r57_banner_dialog_and_one_language_fit_six_kilobytes_with_air(language: str) -> None:
    assert size(a_notice(), language) <= BUDGET - 128


@pytest.mark.parametrize("language", languages())
def test_r57_the_words_of_every_language_fit_six_kilobytes(language: str) -> None:
    assert size(in_languages((language,)), language) <= BUDGET


def test_what_the_privacy_signal_refuses_is_said_only_to_whom_sends_one() -> None:
    said = "Global Privacy Control"

    assert said not in banner_fragment(a_notice(), DIGEST, "en")[1]
    assert banner_fragment(a_notice(), DIGEST, "en", gpc=True)[1].count(said) == 2


def test_a_fragment_for_a_page_that_shows_it_early_differs_in_that_alone() -> None:
    _, late = banner_fragment(a_notice(), DIGEST, "en")
    _, early = banner_fragment(a_notice(), DIGEST, "en", early=True)

    shown = re.sub(r"<p popover=manual id=\w+ hidden></p>", "", early)
    shown = re.sub(r' popovertarget=\w+ popovertargetaction=show|(?<=<li) data-for="\w+"', "", shown)
    assert shown == late.replace(" hidden>", ">", 1)


def test_every_text_of_the_notice_is_in_the_fragment() -> None:
    notice = a_notice()

    language, text = banner_fragment(notice, DIGEST, "fr")

    shown = " ".join(Reader(text).texts)
    assert language == "fr"
    for purpose in notice.purposes.values():
        for said in (purpose.name, purpose.benefit, purpose.description, purpose.never, purpose.if_denied):
            assert said["fr"] in shown


def test_markup_in_a_notice_is_shown_and_never_becomes_elements() -> None:
    notice = a_notice(title={"en": '<img src=x onerror="alert(1)">', "fr": "x"})

    _, text = banner_fragment(notice, DIGEST, "en")

    reader = Reader(text)
    assert "img" not in reader.tags
    assert "onerror" not in reader.names
    assert '<img src=x onerror="alert(1)">' in reader.texts


def test_a_fragment_carries_no_script_and_no_style() -> None:
    _, text = banner_fragment(a_notice(), DIGEST, "en")

    reader = Reader(text)
    assert not {"script", "style", "link", "iframe", "img"} & set(reader.tags)
    assert not {name for name in reader.names if name.startswith(("on", "style", "src"))}


@pytest.mark.parametrize(
    ("validity", "days"), [("P6M", 180), ("P1Y", 180), ("P1M", 30), ("P2W", 14), ("PT5H", 1)]
)
def test_a_browser_remembers_no_longer_than_the_notice_says(validity: str, days: int) -> None:
    assert remembered_days(Duration.parse(validity)) == days


def test_the_signals_of_consent_mode_are_counted_as_the_notice_and_the_script_name_them() -> None:
    source = (Path(__file__).parents[2] / "sdk" / "js" / "src" / "adapters" / "consent-mode.ts").read_text()
    listed = re.search(r"names = \[(.*?)\]", source, re.DOTALL)

    assert listed is not None
    assert tuple(re.findall(r"\w+", listed[1])) == CONSENT_MODE_SIGNALS
    assert (
        'name="coupons" data-v=1 data-days=180 data-gpc=1 data-mode=120'
        in banner_fragment(a_notice(), DIGEST, "en")[1]
    )
