"""What must not be published, where it is reported and what the author is told to do."""

import unicodedata
from collections.abc import Mapping

import pytest

from consent_service.domain import wording
from consent_service.domain.notice_form import parse_notice
from consent_service.errors import InvalidNotice
from tests.builders import REMOVED, a_notice_document


def refused(changes: Mapping[str, object]) -> dict[str, str]:
    """Return path and message of every problem of the example notice, changed."""
    with pytest.raises(InvalidNotice) as refusal:
        parse_notice(a_notice_document(changes))
    return {problem.path: problem.message for problem in refusal.value.problems}


@pytest.mark.parametrize("text", ["name", "benefit", "description", "never", "if_denied"])
def test_a_purpose_says_everything_in_every_declared_language(text: str) -> None:
    problems = refused({f"purposes/coupons/{text}/fr": REMOVED})

    assert problems == {
        f"purposes.coupons.{text}.fr": "is missing; write this text in fr or take fr out of languages."
    }


@pytest.mark.parametrize("text", ["title", "introduction", "categories/household/name"])
def test_the_other_texts_are_in_every_declared_language_too(text: str) -> None:
    problems = refused({f"{text}/fr": REMOVED})

    path = text.replace("/", ".")
    assert problems == {f"{path}.fr": "is missing; write this text in fr or take fr out of languages."}


@pytest.mark.parametrize("text", ["name", "benefit", "description", "never", "if_denied"])
@pytest.mark.parametrize("empty", ["", "  \n\t", "…", "-", "\u200b", "\u2800\u00a0"])
def test_a_text_that_says_nothing_is_refused(text: str, empty: str) -> None:
    problems = refused({f"purposes/coupons/{text}/en": empty})

    assert problems == {f"purposes.coupons.{text}.en": "says nothing; write it in words."}


def test_a_text_in_a_language_that_is_not_declared_is_refused() -> None:
    problems = refused({"purposes/coupons/benefit/de": "Rabatte"})

    assert problems == {
        "purposes.coupons.benefit.de": '"de" is not declared; add it to languages or remove this text.'
    }


def test_a_text_without_its_language_is_refused() -> None:
    problems = refused({"title": "Your choices"})

    assert problems == {"title": "must say it in each language: {en: …, fr: …}."}


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\x00", "U+0000"),
        ("\x1b", "U+001B"),
        ("\t", "U+0009"),
        ("\r", "U+000D"),
        ("\x85", "U+0085"),
        ("\u202e", "U+202E"),
        ("\u2066", "U+2066"),
        ("\u2028", "U+2028"),
        ("\ud800", "U+D800"),
        ("\ue000", "U+E000"),
        ("\U000e0041", "U+E0041"),
    ],
)
def test_a_character_that_readers_cannot_see_is_refused(character: str, name: str) -> None:
    problems = refused({"purposes/coupons/description/en": f"We sell{character}nothing"})

    assert problems == {
        "purposes.coupons.description.en": f"has the character {name}, which readers cannot see; remove it."
    }


def test_what_readers_cannot_see_is_what_unicode_calls_control_surrogate_or_private_and_what_deceives() -> (
    None
):
    everything = [chr(number) for number in range(0x110000)]
    deceiving = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff"}
    deceiving |= {chr(number) for number in range(0xE0000, 0xE0080)}

    hidden = wording._HIDDEN[False].findall("".join(everything))
    hidden_in_lines = wording._HIDDEN[True].findall("".join(everything))

    assert hidden == [
        c for c in everything if unicodedata.category(c) in {"Cc", "Cs", "Co"} or c in deceiving
    ]
    assert hidden_in_lines == [c for c in hidden if c != "\n"]


def test_a_name_is_one_line() -> None:
    problems = refused({"purposes/coupons/name/en": "Coupons\nand more"})

    assert "keep this text on one line" in problems["purposes.coupons.name.en"]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("title.en", 120),
        ("purposes.coupons.name.en", 120),
        ("purposes.coupons.benefit.fr", 500),
        ("purposes.coupons.never.fr", 500),
        ("purposes.coupons.description.en", 4000),
        ("introduction.en", 4000),
        ("controller.name", 120),
        ("recipients.mailer.name", 120),
    ],
)
def test_a_text_that_nobody_would_read_is_refused(path: str, most: int) -> None:
    problems = refused({path.replace(".", "/"): "a" * (most + 1)})

    assert problems == {path: f"has {most + 1} characters; shorten it to {most}."}


@pytest.mark.parametrize(
    "key",
    [
        "default",
        "preselected",
        "pre_selected",
        "checked",
        "selected",
        "granted",
        "enabled",
        "opt_out",
        "optOut",
        "Default",
        "on",
    ],
)
@pytest.mark.parametrize("place", ["", "purposes.coupons.", "categories.purchases."])
def test_a_choice_made_beforehand_is_refused_everywhere(key: str, place: str) -> None:
    problems = refused({(place + key).replace(".", "/"): False})

    assert problems == {
        place
        + key: "would choose for the subject; remove it: every purpose starts undecided (GDPR Recital 32)."
    }


@pytest.mark.parametrize(
    "key", ["requires", "depends_on", "dependsOn", "bundle", "bundled_with", "parent", "unlocks"]
)
def test_tying_one_purpose_to_another_is_refused(key: str) -> None:
    problems = refused({f"purposes/coupons/{key}": ["recommendations"]})

    assert problems == {
        f"purposes.coupons.{key}": "would tie choices together; remove it: each purpose is chosen by itself "
        "(GDPR Recital 43)."
    }


@pytest.mark.parametrize(
    "key", ["required", "mandatory", "strictly_necessary", "legitimate_interest", "locked"]
)
def test_a_purpose_that_leaves_no_choice_is_refused(key: str) -> None:
    problems = refused({f"purposes/coupons/{key}": True})

    assert "would take the choice away; remove it, or the purpose" in problems[f"purposes.coupons.{key}"]


def test_an_unknown_key_is_refused_with_the_key_that_was_meant() -> None:
    problems = refused({"purposes/coupons/nevr": {}, "controler": {}})

    assert problems == {
        "purposes.coupons.nevr": '"nevr" is not a key of this place; remove it. Did you mean "never"?',
        "controler": '"controler" is not a key of this place; remove it. Did you mean "controller"?',
    }


def test_an_unknown_key_like_no_other_is_refused_with_the_keys_there_are() -> None:
    problems = refused({"recipients/mailer/xyzzy": 1})

    assert problems["recipients.mailer.xyzzy"].endswith("remove it. Known here: name, role, country.")


@pytest.mark.parametrize(
    "path",
    [
        "notice",
        "languages",
        "controller",
        "controller.name",
        "controller.address",
        "controller.contact",
        "controller.url",
        "controller.jurisdiction",
        "title",
        "introduction",
        "purposes",
        "categories.household.dpv",
        "categories.household.origin",
        "categories.household.name",
        "recipients.mailer.name",
        "recipients.mailer.role",
        "recipients.mailer.country",
        "purposes.coupons.version",
        "purposes.coupons.dpv",
        "purposes.coupons.name",
        "purposes.coupons.benefit",
        "purposes.coupons.description",
        "purposes.coupons.never",
        "purposes.coupons.if_denied",
        "purposes.coupons.categories",
        "purposes.coupons.retention",
    ],
)
def test_what_has_no_default_must_be_there(path: str) -> None:
    problems = refused({path.replace(".", "/"): REMOVED})

    assert problems == {path: "is missing; add it."}


DURATION = "must be an ISO 8601 duration such as P6M"


@pytest.mark.parametrize(
    ("path", "value", "remedy"),
    [
        ("notice", 2, "must be 1, the only version of this format"),
        ("notice", True, "must be 1, the only version of this format"),
        ("notice", "1", "must be 1, the only version of this format"),
        ("languages", [], "is empty; name at least one language"),
        ("languages", "en", "must be a list such as [a, b], but it is a text"),
        ("controller", "Maison Lumière", "must be a mapping (key: value), but it is a text"),
        ("controller.name", 42, "must be a text, but it is a number; put it in quotes if it is one"),
        (
            "controller.contact",
            "privacy",
            "an e-mail address (privacy@shop.example), an https:// address or a tel:+… number",
        ),
        ("controller.contact", "mailto:privacy@shop.example", "an e-mail address (privacy@shop.example)"),
        ("controller.contact", "a@b@shop.example", "an e-mail address (privacy@shop.example)"),
        (
            "controller.contact",
            "privacy@shop.example\nBcc: x@y.example",
            "an e-mail address (privacy@shop.example)",
        ),
        ("controller.contact", "tel:0123", "a tel:+… number"),
        ("controller.url", "http://shop.example", "must be an absolute https:// address"),
        ("controller.url", "javascript:alert(1)", "must be an absolute https:// address"),
        ("controller.url", "https://shop..example", "must be an absolute https:// address"),
        ("controller.url", "https://-shop.example", "must be an absolute https:// address"),
        ("controller.url", "https://", "must be an absolute https:// address"),
        ("controller.url", "https://user:secret@shop.example", "must be an absolute https:// address"),
        ("controller.url", "https://shop.example:port", "must be an absolute https:// address"),
        (
            "controller.url",
            "https://maison-lumière.example",
            "in ASCII (write other letters as %XX or xn--…)",
        ),
        ("controller.url", 'https://shop.example/"onclick="x', "must be an absolute https:// address"),
        ("controller.jurisdiction", "Europe", "must be a code of ISO 3166 such as EU, FR or US-CA"),
        ("recipients.mailer.country", "fr", "must be a code of ISO 3166 such as FR"),
        ("recipients.mailer.country", "FRA", "must be a code of ISO 3166 such as FR"),
        ("recipients.mailer.country", False, "must be a code of ISO 3166 such as FR"),
        ("recipients.mailer.country", "UK", "The United Kingdom is GB."),
        ("recipients.mailer.role", "procesor", 'not "procesor". Did you mean "processor"?'),
        ("categories.household.origin", "bought", "must be told, observed or partner"),
        ("categories.household.dpv", "pd:Houshold", 'is none. Did you mean "pd:Household"?'),
        ("categories.household.dpv", "dpv:CustomerCare", "must be a term of DPV 2.3 for personal data"),
        ("categories.household.dpv", "dpv:PersonalData", "must be a term of DPV 2.3 for personal data"),
        ("categories.household.dpv", "https://w3id.org/dpv/pd#Household", "must be a term of DPV 2.3"),
        ("categories.household.special", "yes", "must be true or false"),
        ("purposes", {}, "is empty; describe at least one purpose"),
        ("purposes", ["coupons"], "must be a mapping (key: value), but it is a list"),
        ("purposes.coupons", None, "must be a mapping (key: value), but it is empty"),
        ("purposes.coupons.version", 0, "must be a whole number from 1 to"),
        ("purposes.coupons.version", -1, "must be a whole number from 1 to"),
        pytest.param("purposes.coupons.version", 10**5000, "must be a whole number from 1 to", id="huge"),
        (
            "purposes.coupons.version",
            True,
            "must be a whole number from 1 to 2147483647, but it is true or false",
        ),
        ("purposes.coupons.version", "1", "must be a whole number from 1 to 2147483647, but it is a text"),
        ("purposes.coupons.version", 1.0, "but it is a number with a fraction"),
        (
            "purposes.coupons.dpv",
            "dpv:PersonalizedAdvertising",
            'Did you mean "dpv:PersonalisedAdvertising"?',
        ),
        ("purposes.coupons.dpv", "pd:Purchase", "must be a term of DPV 2.3 for a purpose"),
        ("purposes.coupons.dpv", "dpv:Purpose", "must be a term of DPV 2.3 for a purpose"),
        ("purposes.coupons.dpv", "dpv:Consent", "must be a term of DPV 2.3 for a purpose"),
        ("purposes.coupons.dpv", ["dpv:Marketing"], "must be a term of DPV 2.3 for a purpose"),
        ("purposes.coupons.validity", "P14M", 'must be at most P13M, not "P14M"; shorten it'),
        ("purposes.coupons.validity", "P13M1D", "must be at most P13M"),
        ("purposes.coupons.validity", "P394D", "must be at most P13M"),
        ("purposes.coupons.validity", "P9999Y", "must be at most P13M"),
        ("purposes.coupons.validity", "P0M", "must be longer than nothing, such as P6M"),
        ("purposes.coupons.validity", "PT0S", "must be longer than nothing, such as P6M"),
        ("purposes.coupons.validity", "six months", DURATION),
        ("purposes.coupons.validity", 6, DURATION),
        ("purposes.coupons.retention", "2 years", DURATION),
        ("purposes.coupons.retention", "P1.5Y", DURATION),
        ("purposes.coupons.retention", None, DURATION),
        ("purposes.coupons.retention", "P31Y", 'must be at most P30Y, not "P31Y"; shorten it'),
        ("purposes.coupons.gpc", "true", "must be true or false"),
        ("purposes.coupons.gpc", 1, "must be true or false"),
        ("purposes.coupons.categories", [], "is empty; name the data this purpose uses"),
        ("purposes.coupons.categories", "purchases", "must be a list such as [a, b]"),
        ("purposes.coupons.recipients", None, "must be a list such as [a, b], but it is empty"),
        ("purposes.coupons.benefit.en", None, "must be a text, but it is empty"),
        ("purposes.coupons.benefit.en", ["a"], "must be a text, but it is a list"),
        ("purposes.coupons.benefit", None, "must be a mapping (key: value), but it is empty"),
        (
            "order",
            ["coupons"],
            "leaves out recommendations, support_context or ai_assistance; name every purpose once",
        ),
    ],
)
def test_a_value_that_does_not_fit_its_place_is_refused(path: str, value: object, remedy: str) -> None:
    problems = refused({path.replace(".", "/"): value})

    assert remedy in problems[path]
    assert list(problems) == [path]


@pytest.mark.parametrize(
    ("path", "items", "place", "remedy"),
    [
        ("languages", ["en", "fr", "english"], 2, "must be a language tag of BCP 47"),
        ("languages", ["en", "fr", "en"], 2, 'repeats "en"; name it once'),
        ("languages", ["en", "fr", "EN"], 2, "in its usual case"),
        ("languages", ["en", "fr", "pt_BR"], 2, "must be a language tag of BCP 47"),
        ("languages", ["en", "fr", False], 2, "put it in quotes if YAML reads it as something else"),
        ("purposes.coupons.categories", ["purchases", "purchasses"], 1, 'Did you mean "purchases"?'),
        ("purposes.coupons.categories", ["purchases", "purchases"], 1, 'repeats "purchases"; name it once'),
        (
            "purposes.coupons.recipients",
            ["mailer", "printer"],
            1,
            "is not described under recipients; describe it there",
        ),
        ("purposes.coupons.recipients", ["mailer", 7], 1, "is not described under recipients"),
        ("purposes.coupons.consent_mode", ["ad_storage", "ads_storage"], 1, 'Did you mean "ad_storage"?'),
        (
            "purposes.coupons.consent_mode",
            ["ad_storage", "ad_storage"],
            1,
            'repeats "ad_storage"; name it once',
        ),
        (
            "order",
            ["recommendations", "coupons", "support_context", "ai_assistance", "x"],
            4,
            "under purposes",
        ),
    ],
)
def test_an_item_that_does_not_fit_its_list_is_refused(
    path: str, items: list[object], place: int, remedy: str
) -> None:
    problems = refused({path.replace(".", "/"): items})

    assert remedy in problems[f"{path}[{place}]"]
    assert list(problems) == [f"{path}[{place}]"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Coupons", "purposes.Coupons"),
        ("a b", 'purposes["a b"]'),
        ("café", 'purposes["café"]'),
        ("x" * 65, f'purposes["{"x" * 40}…"]'),
        ("", 'purposes[""]'),
        ("a\n", 'purposes["a\\u000a"]'),
    ],
)
def test_a_purpose_key_that_cannot_stand_in_a_url_is_refused(key: str, path: str) -> None:
    document = a_notice_document()
    purposes = document["purposes"]
    assert isinstance(purposes, dict)
    purposes[key] = purposes.pop("coupons")

    with pytest.raises(InvalidNotice) as refusal:
        parse_notice(document)

    (problem,) = refusal.value.problems
    assert problem.path == path
    assert "cannot be a key; use 1 to 64 of the characters a-z 0-9 _ . -" in problem.message


@pytest.mark.parametrize("key", [".", "..", "__proto__", "constructor"])
@pytest.mark.parametrize("section", ["purposes", "categories", "recipients"])
def test_a_key_that_means_something_else_to_a_url_or_a_browser_is_refused(section: str, key: str) -> None:
    values = a_notice_document()[section]
    assert isinstance(values, dict)

    problems = refused({section: {**values, key: next(iter(values.values()))}})

    assert "means something else in a URL or a browser; rename it." in str(problems)


def test_special_category_data_is_marked_as_such() -> None:
    problems = refused({"categories/household/dpv": "pd:Health"})

    assert problems == {
        "categories.household.special": "pd:Health is special-category data (GDPR Art. 9); "
        "add special: true or another term."
    }


def test_two_purposes_of_the_same_name_are_refused() -> None:
    problems = refused({"purposes/coupons/name/en": "RECOMMENDATIONS"})

    assert problems == {
        "purposes.coupons.name.en": 'is also the name of "recommendations"; call them differently.'
    }


@pytest.mark.parametrize(("section", "most"), [("purposes", 100), ("categories", 200), ("recipients", 500)])
def test_more_entries_than_anybody_reads_are_refused(section: str, most: int) -> None:
    problems = refused({section: {f"k{number}": {} for number in range(most + 1)}})

    assert problems[section] == f"has {most + 1} entries; keep at most {most}."


def test_more_languages_than_there_may_be_are_refused() -> None:
    problems = refused({"languages": ["en"] * 51})

    assert problems["languages"] == "has 51 items; keep at most 50."


@pytest.mark.parametrize("document", [None, [], "notice: 1", 1])
def test_what_is_no_mapping_is_no_notice(document: object) -> None:
    with pytest.raises(InvalidNotice, match="the notice: must be a mapping"):
        parse_notice(document)  # type: ignore[arg-type]  # what a caller's JSON may hold


def test_every_problem_is_reported_at_once() -> None:
    problems = refused(
        {
            "controller/url": "http://shop.example",
            "purposes/coupons/benefit/fr": REMOVED,
            "purposes/coupons/default": True,
            "purposes/recommendations/validity": "P2Y",
            "categories/browsing/dpv": "pd:Nonsense",
        }
    )

    assert set(problems) == {
        "controller.url",
        "purposes.coupons.benefit.fr",
        "purposes.coupons.default",
        "purposes.recommendations.validity",
        "categories.browsing.dpv",
    }


def test_a_hopeless_document_is_not_reported_without_end() -> None:
    with pytest.raises(InvalidNotice) as refusal:
        parse_notice({f"key {number}": None for number in range(5000)})

    assert len(refusal.value.problems) == 200
