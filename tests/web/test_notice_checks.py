"""What can be read of honesty from a notice and its layout: it holds for ours, and a spoilt one is found."""

from datetime import datetime

import pytest

from consent_service.domain.notice import Notice, NoticeDigest
from consent_service.operations.notice_book import PublishedNotice
from consent_service.web.layout import banner_fragment
from consent_service.web.notice_checks import check_layout, check_notice, honesty_rules, steering
from tests.browser.notices import in_languages
from tests.builders import NOW, a_notice

DIGEST = NoticeDigest("0" * 64)


def published(notice: Notice, at: datetime = NOW) -> PublishedNotice:
    return PublishedNotice(notice=notice, digest=DIGEST, document=b"", index=0, published_at=at)


def failing(fragment: str) -> set[str]:
    return {rule for rule, holds in check_layout(a_notice(), "en", fragment).items() if not holds}


def fragment() -> str:
    return banner_fragment(a_notice(), DIGEST, "en")[1]


def test_the_example_notice_keeps_every_rule_that_can_be_read() -> None:
    checked = check_notice(published(a_notice()))

    assert len(checked) == 11
    assert checked.keys() <= {rule.id for rule in honesty_rules()}
    assert not any(checked.values())


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("R08", "<li>Coupons chosen for you", ""),
        ("R08", "<section ", "<button value=accept_all></button><section "),
        ("R09", "role=switch", "role=switch checked"),
        ("R10", "Change or withdraw", "Legitimate interest. Change or withdraw"),
        ("R11", "role=switch", "role=switch disabled"),
        ("R15", "Change or withdraw", "Please. Change or withdraw"),
        ("R15", "Change or withdraw", "\U0001f36a Change or withdraw"),
        ("R19", "<dt>We never", "<dt>We rarely"),
        ("R20", "Recipients: ", "Recipients: 1"),
        ("R21", "Change or withdraw any time", "Whatever"),
        ("R22", "<dt>If you say no<dd>", "<dt>If you say no<dd>perhaps "),
        ("R23", "mailto:", "about:"),
    ],
)
def test_a_spoilt_layout_is_found(rule: str, old: str, new: str) -> None:
    whole = fragment()
    assert old in whole

    assert failing(whole) == set()
    assert rule in failing(whole.replace(old, new))


def test_the_languages_in_which_a_rule_fails_are_named() -> None:
    checked = check_notice(published(in_languages(("en", "zh"))))

    assert checked["R16"] == ("zh",)
    assert checked["R08"] == ()


def test_words_and_signs_that_steer_are_named() -> None:
    assert steering("Unlock it, hurry! \U0001f389") == ["unlock", "hurry", "!", "\U0001f389"]
    assert steering("We use what you bought.") == []
