"""What a new notice may change without asking everyone again."""

from collections.abc import Mapping

import pytest

from consent_service.domain.purpose import PurposeKey
from consent_service.domain.republication import highest_versions, republication_problems
from tests.builders import REMOVED, a_notice


def problems(before: Mapping[str, object], after: Mapping[str, object], **highest: int) -> dict[str, str]:
    """Return path and message of what is wrong with one changed example notice following another."""
    old, new = a_notice(before), a_notice(after)
    versions = highest_versions([old]) | {PurposeKey(key): version for key, version in highest.items()}
    found = republication_problems(old, new, highest=versions)
    return {problem.path: problem.message for problem in found}


UNDO = "to ask everyone again, or undo it."


@pytest.mark.parametrize(
    ("path", "before", "after", "says"),
    [
        (
            "purposes.coupons.categories",
            ["purchases"],
            ["purchases", "browsing"],
            'adds "browsing"; raise the version',
        ),
        ("purposes.coupons.categories", ["purchases"], ["browsing"], 'adds "browsing"'),
        ("purposes.coupons.recipients", [], ["mailer"], 'adds "mailer"'),
        ("purposes.coupons.consent_mode", [], ["ad_storage"], 'adds "ad_storage"'),
        (
            "purposes.coupons.dpv",
            "dpv:PersonalisedAdvertising",
            "dpv:Marketing",
            "changes from dpv:PersonalisedAdv",
        ),
        ("purposes.coupons.retention", "P12M", "P13M", "grows from P12M to P13M"),
        ("purposes.coupons.retention", "P1M", "P31D", "grows from P1M to P31D"),
        ("purposes.coupons.validity", "P6M", "P7M", "grows from P6M to P7M"),
        (
            "purposes.coupons.gpc",
            True,
            False,
            "no longer takes a Global Privacy Control signal for a refusal",
        ),
    ],
)
def test_a_purpose_that_uses_more_is_refused_until_its_version_is_raised(
    path: str, before: object, after: object, says: str
) -> None:
    place = path.replace(".", "/")

    refused = problems({place: before}, {place: after})
    raised = problems({place: before}, {place: after, "purposes/coupons/version": 2})
    back = problems({place: after}, {place: before, "purposes/coupons/version": 2})

    assert list(refused) == [path]
    assert says in refused[path]
    assert f"raise the version of this purpose to 2 {UNDO}" in refused[path]
    assert raised == {}
    assert back == {}


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("purposes.coupons.categories", ["purchases", "household"], ["purchases"]),
        ("purposes.coupons.categories", ["purchases", "household"], ["household", "purchases"]),
        ("purposes.coupons.recipients", ["mailer"], []),
        ("purposes.coupons.consent_mode", ["ad_storage"], []),
        ("purposes.coupons.retention", "P12M", "P11M"),
        ("purposes.coupons.retention", "P12M", "P1Y"),
        ("purposes.coupons.validity", "P6M", "P180D"),
        ("purposes.coupons.gpc", False, True),
        ("categories.household.origin", "observed", "told"),
    ],
)
def test_a_purpose_that_uses_less_is_published_without_asking(
    path: str, before: object, after: object
) -> None:
    place = path.replace(".", "/")

    assert problems({place: before}, {place: after}) == {}


@pytest.mark.parametrize(
    ("path", "before", "after", "says"),
    [
        ("categories.household.dpv", "pd:Household", "pd:Income", "changes from pd:Household to pd:Income"),
        ("categories.household.origin", "told", "observed", "widens from told to observed"),
        ("categories.household.origin", "observed", "partner", "widens from observed to partner"),
        ("categories.household.special", False, True, "changes from false to true"),
        ("categories.household.special", True, False, "changes from true to false"),
        (
            "recipients.mailer.name",
            "Poste & Co",
            "Data Brokers Ltd",
            'changes from "Poste & Co" to "Data Brokers Ltd"',
        ),
        ("recipients.mailer.role", "processor", "controller", 'changes from "processor" to "controller"'),
        ("recipients.mailer.country", "FR", "US", 'changes from "FR" to "US"'),
    ],
)
def test_another_thing_under_the_same_key_is_refused_until_the_purposes_that_use_it_are_raised(
    path: str, before: object, after: object, says: str
) -> None:
    place = path.replace(".", "/")

    refused = problems({place: before}, {place: after})
    raised = problems({place: before}, {place: after, "purposes/coupons/version": 2})

    assert refused == {path: f"{says}; raise the version of coupons to 2, {UNDO}"}
    assert raised == {}


def test_every_purpose_that_uses_a_changed_category_must_be_raised() -> None:
    changed = {"categories/purchases/dpv": "pd:Financial"}

    refused = problems({}, {**changed, "purposes/coupons/version": 2})

    assert refused == {
        "categories.purchases.dpv": "changes from pd:Purchase to pd:Financial; raise the version of "
        f"recommendations to 2, support_context to 2, {UNDO}"
    }


def test_a_category_that_nobody_uses_may_become_something_else() -> None:
    before = {"purposes/coupons": REMOVED}

    assert problems(before, {**before, "categories/household/dpv": "pd:Income"}) == {}


def test_new_words_in_another_order_and_language_ask_nobody_again() -> None:
    after = {
        "title/en": "Choose",
        "controller/address": "1 rue Neuve, Paris",
        "categories/purchases/name/en": "Your orders",
        "purposes/coupons/description/en": "From what you buy and who you live with.",
        "order": ["coupons", "recommendations", "ai_assistance", "support_context"],
    }

    assert problems({}, after) == {}


def test_a_version_never_falls() -> None:
    refused = problems({"purposes/coupons/version": 3}, {"purposes/coupons/version": 2})

    assert refused == {
        "purposes.coupons.version": "falls from 3 to 2; "
        "write 3 to change nothing, or 4 to ask everyone again."
    }


def test_a_purpose_that_comes_back_has_a_higher_version_than_it_ever_had() -> None:
    without = {"purposes/coupons": REMOVED}

    as_it_was = problems(without, {"purposes/coupons/version": 3}, coupons=3)
    higher = problems(without, {"purposes/coupons/version": 4}, coupons=3)

    assert list(as_it_was) == ["purposes.coupons.version"]
    assert as_it_was["purposes.coupons.version"].startswith("must be 4 or higher: this purpose was retired")
    assert higher == {}


def test_the_first_notice_of_a_shop_follows_nothing_and_is_welcome() -> None:
    assert republication_problems(None, a_notice(), highest={}) == []


def test_the_same_notice_may_be_published_again() -> None:
    assert problems({}, {}) == {}


def test_retiring_a_purpose_is_welcome() -> None:
    assert problems({}, {"purposes/coupons": REMOVED}) == {}


def test_the_highest_version_counts_and_not_the_latest() -> None:
    notices = [a_notice({"purposes/coupons/version": version}) for version in (1, 5, 2)]

    assert highest_versions(notices) == {
        "recommendations": 1,
        "coupons": 5,
        "support_context": 1,
        "ai_assistance": 1,
    }
