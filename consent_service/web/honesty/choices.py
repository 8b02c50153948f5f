"""Rules of the choice itself: what makes one, how long it lasts, how it is taken back."""

from playwright.sync_api import Page, expect

from consent_service.web.honesty.bench import (
    COOKIE,
    Bench,
    choices,
    cookie,
    layer_one,
    layer_two,
    portable,
    press,
    standing_control,
)

_DAY_MS = 86_400_000
_LONGEST_S = 180 * 86_400


def _silent(page: Page) -> None:
    assert cookie(page) is None
    assert not any(choices(page).values())


@portable(
    "R12", "Silence, scrolling, Esc and closing are no yes", "CNIL 2020-092 art. 2; EDPB 05/2020 par. 86"
)
def silence_is_no(bench: Bench) -> None:
    """Scroll, click elsewhere, press Esc, open and close the dialog, wait a minute, go on to another page."""
    page = bench.visit(prepare=lambda new: new.clock.install())
    page.mouse.wheel(0, 2000)
    page.mouse.click(640, 5)
    page.keyboard.press("Escape")
    press(page, "open")
    page.keyboard.press("Escape")
    press(page, "open")
    press(page, "close")
    page.clock.fast_forward(60_000)
    _silent(page)
    page.reload()
    expect(layer_one(page)).to_be_visible()
    _silent(page)


@portable(
    "R14",
    "Yes and no are remembered equally long, 180 days at most",
    "CNIL 2020-092 art. 2.4; EDPB 03/2022 continuous prompting",
)
def same_memory(bench: Bench) -> None:
    """Compare both cookies, then come back after 179 and after 181 days."""
    lasting = {}
    for answer in ("accept_all", "refuse_all"):
        page = bench.visit()
        press(page, answer)
        expect(layer_one(page)).to_be_hidden()
        saved = next(item for item in page.context.cookies() if item.get("name") == COOKIE)
        lasting[answer] = round(saved.get("expires", 0) - page.evaluate("Date.now()") / 1000)
        now = page.evaluate("Date.now()")
        for days, asked in ((179, False), (181, True)):
            later = page.context.new_page()
            later.clock.set_fixed_time((now + days * _DAY_MS) / 1000)
            later.goto(bench.url)
            later.wait_for_function("() => window.consent && consent.ready.then(() => true)")
            assert layer_one(later).is_visible() is asked
            later.close()
    assert abs(lasting["accept_all"] - lasting["refuse_all"]) <= 2
    assert max(lasting.values()) <= _LONGEST_S + 2


@portable(
    "R25",
    "A standing control opens the choices again, on every page",
    "CNIL 2020-092 art. 3; GDPR Art. 7(3); Taskforce K",
)
def always_at_hand(bench: Bench) -> None:
    """Choose, go on to another page, and open the dialog by the keyboard."""
    page = bench.visit()
    press(page, "refuse_all")
    page.reload()
    control = standing_control(page)
    expect(control).to_be_visible()
    control.press("Enter")
    expect(layer_two(page)).to_be_visible()


@portable("R26", "Everything is withdrawn with two actions from any page", "GDPR Art. 7(3)")
def two_actions_to_withdraw(bench: Bench) -> None:
    """Accept, come back, count the actions of the withdrawal."""
    page = bench.visit()
    press(page, "accept_all")
    page.wait_for_function("() => Object.values(consent.choices()).includes(true)")
    page.reload()
    page.wait_for_function("() => Object.values(window.consent?.choices() ?? {}).includes(true)")
    standing_control(page).click()
    layer_two(page).locator("[value=refuse_all]").click()
    page.wait_for_function("() => !Object.values(consent.choices()).includes(true)")


@portable(
    "R32",
    "Nothing is stored and nothing is sent before a choice",
    "ePrivacy Directive Art. 5(3); CNIL 2020-092 art. 2",
)
def nothing_before(bench: Bench) -> None:
    """Look into every store of the browser and at every request."""
    methods: list[str] = []
    page = bench.visit(prepare=lambda new: new.on("request", lambda request: methods.append(request.method)))
    assert page.context.cookies() == []
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
    assert page.evaluate("caches.keys().then((all) => all.length)") == 0
    assert set(methods) == {"GET"}


@portable("R48", "That the choice is saved is announced", "WCAG 2.2 SC 4.1.3")
def saving_is_announced(bench: Bench) -> None:
    """Read the status line after a choice."""
    page = bench.visit()
    press(page, "refuse_all")
    expect(
        page.get_by_role("status")
        .filter(has_text="saved")
        .or_(page.locator("consent-banner [role=status]:not(:empty)"))
    ).to_be_visible()


@portable("R56", "After a choice the banner never flashes on the next page", "no layout that comes and goes")
def no_flash(bench: Bench) -> None:
    """Look at every frame of the next page from its very start."""
    page = bench.visit()
    press(page, "refuse_all")
    expect(layer_one(page)).to_be_hidden()
    page.add_init_script(
        """window.framesWithBanner = 0;
        (function frame() {
          const section = document.querySelector("consent-banner")?.shadowRoot?.querySelector("section");
          if (section && section.checkVisibility()) window.framesWithBanner += 1;
          requestAnimationFrame(frame);
        })();"""
    )
    page.reload()
    page.wait_for_function("() => window.consent && consent.ready.then(() => true)")
    assert page.evaluate("framesWithBanner") == 0
