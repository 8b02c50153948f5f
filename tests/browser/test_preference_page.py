"""The preference page in a real browser: nothing for axe-core, on any screen, in either direction.

With CONSENT_SOAK=1 axe-core looks at every language.
"""

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from consent_service.domain.notice_form import parse_notice
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.web.honesty.bench import layer_two, press
from consent_service.web.words import words
from tests.browser.bench import ShopBench
from tests.browser.notices import in_languages
from tests.browser.own_platform_rules import JUDGED, judge, violations
from tests.browser.own_rules import allowed
from tests.servers import PLAIN


def her_page(bench: ShopBench, language: str) -> Page:
    """The page of somebody who allowed everything, reached from the dialog."""
    page = bench.visit(bench.shop.page(lang=language))
    press(page, "accept_all")
    allowed(page)
    page.locator("consent-banner .o").click()
    layer_two(page).locator("[value=page]").click()
    page.wait_for_url("**/preferences?*")
    return page


def places(element: Locator, text: str, *letters: int) -> list[float]:
    """Return where these letters of a text within an element begin, from the screen's left."""
    found: list[float] = element.evaluate(
        """(element, [text, letters]) => {
          const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
          while (!walker.nextNode().data.includes(text));
          const node = walker.currentNode, range = new Range();
          return letters.map((at) => {
            range.setStart(node, node.data.indexOf(text) + at);
            range.setEnd(node, node.data.indexOf(text) + at + 1);
            return range.getBoundingClientRect().left;
          });
        }""",
        [text, letters],
    )
    return found


@pytest.mark.parametrize("language", ["en", "ar"])
def test_axe_has_nothing_to_say(bench: ShopBench, language: str) -> None:
    bench.shop.open_tenant(in_languages(("en", "ar")))

    page = her_page(bench, language)

    judge(page)


def test_axe_has_nothing_to_say_in_other_languages(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("en", *JUDGED)))
    page = her_page(bench, "en")
    english = page.url

    for language in JUDGED:
        page.goto(english.replace("language=en", f"language={language}"))
        expect(page.locator("html")).to_have_attribute("lang", language)
        assert violations(page, "html") == []


def test_everything_is_withdrawn_by_the_keyboard_alone(bench: ShopBench) -> None:
    page = her_page(bench, "en")
    refuse = page.get_by_role("button", name=words("en")["refuse"])

    for _ in range(20):
        page.keyboard.press("Tab")
        if refuse.evaluate("(element) => element === document.activeElement"):
            break
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_have_text(words("en")["saved"])
    assert page.get_by_role("switch", checked=True).count() == 0


def test_the_three_answers_of_the_page_are_equal(bench: ShopBench) -> None:
    page = her_page(bench, "en")

    sizes = [box for button in page.locator(".acts button").all() if (box := button.bounding_box())]

    assert len(sizes) == 3
    assert len({(round(box["width"]), round(box["height"])) for box in sizes}) == 1


def test_on_a_narrow_screen_no_purpose_has_its_name_broken(bench: ShopBench) -> None:
    page = her_page(bench, "en")

    page.set_viewport_size({"width": 320, "height": 640})

    heights = page.locator(".card > h2").evaluate_all("(all) => all.map((title) => title.offsetHeight)")
    line = page.locator(".card > h2").first.evaluate(
        "(title) => parseFloat(getComputedStyle(title).lineHeight)"
    )
    assert heights[0] < 2 * line  # "Recommendations", one word
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def everything_held(bench: ShopBench, who: str, language: str) -> Page:
    """The page of everything that is held about somebody who decided once, as a shop's backend gets it."""
    shop = bench.shop
    key = create_api_key(shop.service.deployment, shop.tenant, Role.BACKEND).key
    her = {"Authorization": f"Bearer {key}", "Consent-Subject": who}
    decision = {"notice": shop.published.digest, "choices": {"coupons": "granted"}, "language": language}
    decision |= {"method": "save", "source": "account"}
    answer = httpx2.post(f"{shop.service_url}/v1/decisions", json=decision, headers=her, verify=PLAIN)
    assert answer.status_code == 201
    page = bench.browser.new_context(extra_http_headers={**her, "Accept": "text/html"}).new_page()
    bench.pages.append(page)
    page.goto(f"{shop.service_url}/v1/personal-data?language={language}")
    return page


@pytest.mark.parametrize("language", ["en", "ar"])
def test_axe_has_nothing_to_say_of_everything_held(bench: ShopBench, language: str) -> None:
    if language == "ar":
        bench.shop.open_tenant(in_languages(("ar",)))

    page = everything_held(bench, "customer-42", language)

    judge(page)


def test_a_telephone_number_reads_from_the_left_where_all_else_reads_from_the_right(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("he",)))

    page = everything_held(bench, "+33 6 12 34 56 78", "he")

    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    lefts = places(page.get_by_text("+33 6 12 34 56 78"), "+33 6 12 34 56 78", 0, 1, 4)
    assert lefts == sorted(lefts)


def test_a_companys_name_ends_with_its_full_stop_where_all_else_reads_from_the_right(
    bench: ShopBench,
) -> None:
    shop = bench.shop
    notice = in_languages(("ar",)).document()
    notice["controller"]["name"] = "Shop Inc."  # type: ignore[index,call-overload]  # as it is published
    notice["recipients"]["mailer"]["name"] = "Post Ltd."  # type: ignore[index,call-overload]  # the same
    shop.open_tenant(parse_notice(notice))

    page = her_page(bench, "ar")

    named = [page.locator(".top a").first, page.locator("address"), page.locator("dd", has_text="Shop Inc.")]
    for element in named:
        lefts = places(element.first, "Shop Inc.", 0, 3, 8)
        assert lefts == sorted(lefts)
    lefts = places(page.locator("dd", has_text="Post Ltd.").first, "Post Ltd.", 0, 3, 8)
    assert lefts == sorted(lefts)


def test_words_that_were_shown_in_another_language_keep_its_direction(bench: ShopBench) -> None:
    bench.shop.open_tenant(in_languages(("en", "ar")))
    english = her_page(bench, "en")

    english.goto(english.url.replace("language=en", "language=ar"))

    expect(english.locator("html")).to_have_attribute("dir", "rtl")
    english.locator(".history summary").click()
    shown = english.locator(".history [lang=en] dd").first
    expect(shown).to_be_visible()
    assert shown.evaluate("(element) => getComputedStyle(element).direction") == "ltr"
    assert english.locator(".history li li bdi").first.get_attribute("lang") == "en"


@pytest.mark.parametrize("language", ["en", "ar"])
def test_she_is_erased_by_the_keyboard_alone_and_takes_the_certificate_home(
    bench: ShopBench, language: str
) -> None:
    bench.shop.open_tenant(in_languages(("en", "ar")))
    page = her_page(bench, language)
    page.locator("[aria-labelledby=erase] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(words(language)["erased"])
    judge(page)

    with page.expect_download() as download:
        page.get_by_role("link", name=words(language)["take"]).press("Enter")

    assert download.value.suggested_filename == "erasure-certificate.txt"
    assert download.value.path().read_text("utf-8") == page.locator("pre").text_content()
