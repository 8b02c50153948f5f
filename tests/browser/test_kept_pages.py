"""The pages that people keep as files, a receipt and that of an audit pack: nothing for axe-core anywhere."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from consent_service.domain.notice_form import parse_notice
from consent_service.ledger.pack_page import PackSummary, pack_page
from consent_service.ledger.receipt_forms.html import html_page
from tests.browser.notices import in_languages
from tests.browser.own_platform_rules import judge
from tests.browser.test_preference_page import places
from tests.builders import a_notice
from tests.receipts.make import ORIGIN, SIGNER, a_receipt

ONE_WORD = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
SUMMARY = PackSummary(
    origin=ORIGIN,
    vkey=SIGNER.vkey,
    root="A" * 43 + "=",
    first=0,
    size=9,
    made_at="2026-11-29T12:00:00Z",
    counts={"entries": 9, "subjects": 2},
)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_axe_has_nothing_to_say_of_a_receipt(page: Page, language: str) -> None:
    page.set_content(html_page(a_receipt(in_languages(("en", "ar")), language=language)))

    judge(page)


def test_a_purpose_with_a_latin_name_keeps_its_full_stop_at_its_end_on_an_arabic_receipt(page: Page) -> None:
    document, name = in_languages(("ar",)).document(), "Post by Post Ltd."
    document["purposes"]["coupons"]["name"] = {"ar": name}  # type: ignore[index,call-overload]  # as published

    page.set_content(html_page(a_receipt(parse_notice(document), language="ar")))

    lefts = places(page.get_by_role("heading", level=2).filter(has_text=name), name, 0, len(name) - 1)
    assert lefts == sorted(lefts)


def test_axe_has_nothing_to_say_of_the_page_in_a_pack(page: Page) -> None:
    page.set_content(pack_page(SUMMARY, in_languages(("en", "ar", "ja"))))

    judge(page)


def test_a_telephone_shows_them_as_wide_as_it_is(browser: Browser) -> None:
    telephone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = telephone.new_page()

    for text in (html_page(a_receipt()), pack_page(SUMMARY, a_notice())):
        page.set_content(text)
        assert page.evaluate("innerWidth") == 390

    telephone.close()


def test_a_name_of_one_long_word_makes_no_page_scroll_sideways(page: Page) -> None:
    notice = a_notice({"controller/name": ONE_WORD, "purposes/coupons/name": {"en": ONE_WORD, "fr": "Bons"}})

    for text in (html_page(a_receipt(notice)), pack_page(SUMMARY, notice)):
        page.set_content(text)
        for width in (320, 390, 1280):
            page.set_viewport_size({"width": width, "height": 640})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
