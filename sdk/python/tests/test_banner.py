"""The banner for a page that a server renders: what it shows to whom, and what when the service is away."""

import time

import pytest
from consent_sdk.banner import Markup, PageBanner
from stand_in import StandIn, an_answer

KEY = "pk_0123456789"
TODAY = int(time.time() // 86_400)
CONTENT = (
    '<section lang="fr" data-notice="d1"><ul><li data-for="coupons">Coupons<li data-for="ai">IA</ul>'
    "<button value=refuse_all popovertarget=refuse_all popovertargetaction=show>Non</button></section>"
)
PURPOSES = {"coupons": {"version": 2, "days": 180}, "ai": {"version": 1, "days": 30}}


def a_layout(**changes: object) -> bytes:
    return an_answer(
        {
            "language": "fr",
            "direction": "ltr",
            "content": CONTENT,
            "style": ":host{all:initial}",
            "purposes": PURPOSES,
            **changes,
        }
    )


def a_banner(stand_in: StandIn, *, stylesheet: str | None = None, **changes: object) -> PageBanner:
    stand_in.say(a_layout(**changes))
    banner = PageBanner(stand_in.url, key=KEY, stylesheet=stylesheet)
    banner.wait_until_ready(5, language="fr")
    return banner


def test_somebody_new_is_asked_at_first_paint(stand_in: StandIn) -> None:
    markup = a_banner(stand_in).markup(language="fr", said="")

    assert markup == (
        '<consent-banner hidden lang="fr" dir="ltr"><template shadowrootmode="open">'
        f"{CONTENT}<style>:host{{all:initial}}</style></template></consent-banner>"
    )
    assert isinstance(markup, Markup)
    assert markup.__html__() is markup


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (f"coupons:2:1:{TODAY}~ai:1:0:{TODAY}", []),
        (f"coupons:1:1:{TODAY}~ai:1:0:{TODAY}", ["coupons"]),
        (f"coupons:2:0:{TODAY - 179}~ai:1:0:{TODAY - 30}", ["ai"]),
        (f"coupons:2:0:{TODAY - 180}~ai:1:0:{TODAY}", ["coupons"]),
        ("yes~~:::~ai:1:1:x~coupons:9999999999:1:1", ["coupons", "ai"]),
        (None, []),
    ],
)
def test_what_she_answered_and_what_nobody_knows_is_not_shown(
    stand_in: StandIn, said: str | None, asked: list[str]
) -> None:
    markup = a_banner(stand_in).markup(language="fr", said=said)

    assert [key for key in PURPOSES if f'<li data-for="{key}"' in markup] == asked
    assert ("<section hidden " in markup) is (asked == [])


def test_the_style_can_be_a_file_of_the_shops_own(stand_in: StandIn) -> None:
    banner = a_banner(stand_in, stylesheet='/banner.css?a="&b')

    assert '<link rel="stylesheet" href="/banner.css?a=&quot;&amp;b">' in banner.markup(
        language="fr", said=""
    )
    assert banner.style() == ":host{all:initial}"
    assert banner.style_source().startswith("'sha256-")


@pytest.mark.parametrize(
    "changes",
    [
        {"content": CONTENT + "<script>alert(1)</script>"},
        {"content": CONTENT + "<img src=x>"},
        {"content": CONTENT + "<!-- --><b>"},
        {"content": CONTENT + "<b onclick=x>"},
        {"content": CONTENT + '<p style="color:red">'},
        {"content": CONTENT + '<a href="javascript:x">'},
        {"content": CONTENT + '<form action="https://x">'},
        {"content": CONTENT + "</template><b>"},
        {"content": "<p>parked domain</p>"},
        {"style": "</style><script>"},
        {"purposes": {"coupons": {"version": "2"}}},
        {"purposes": None},
        {"language": None},
    ],
)
def test_an_answer_that_could_bring_code_is_no_banner(stand_in: StandIn, changes: dict[str, object]) -> None:
    banner = a_banner(stand_in, **changes)

    assert banner.markup(language="fr", said="") == ""


def test_no_page_waits_for_the_service_and_none_asks_it_twice(stand_in: StandIn) -> None:
    stand_in.say(an_answer({}, status=500))
    banner = PageBanner(stand_in.url, key=KEY)

    assert [banner.markup(language="fr", said="") for _ in range(100)] == [""] * 100
    assert not banner.wait_until_ready(5, language="fr")
    assert len(stand_in.requests) == 1
    assert f"GET /v1/banner/markup?key={KEY}&language=fr " in stand_in.requests[0].decode()


def test_a_privacy_signal_has_a_layout_of_its_own(stand_in: StandIn) -> None:
    stand_in.say(a_layout(style="a{}"), a_layout(style="b{}"))
    banner = PageBanner(stand_in.url, key=KEY)
    banner.wait_until_ready(5, language="fr")

    banner.wait_until_ready(5, language="fr", gpc=True)

    assert "a{}" in banner.markup(language="fr", said="")
    assert "b{}" in banner.markup(language="fr", said="", gpc=True)
    assert b"&gpc=1" in stand_in.requests[1]


def test_invented_languages_are_not_all_kept(stand_in: StandIn) -> None:
    banner = a_banner(stand_in)
    banner._next |= {(f"x-{number}", False): float("inf") for number in range(63)}

    assert not banner.wait_until_ready(5, language="y-1")
    assert banner.markup(language="fr", said="") != ""
    assert len(banner._next) == 64
