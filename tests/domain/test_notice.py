"""A notice and the document that is digested and published."""

import json
from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_service.domain.dpv_terms import DATA_TERMS, PURPOSE_TERMS, SPECIAL_TERMS
from consent_service.domain.notice_form import parse_notice
from consent_service.domain.purpose import CONSENT_MODE_SIGNALS, Origin, RecipientRole
from consent_service.errors import InvalidNotice
from tests.builders import REMOVED, a_notice, a_notice_document
from tests.size import size

EXAMPLES = size(40, 400)
KEYS = st.text(ascii_lowercase + "0123456789_.-", max_size=20).map(lambda text: f"k{text}")
WORDS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40).map(
    lambda text: f"A {text}"
)
DURATIONS = st.sampled_from(["P1D", "P6M", "P13M", "P2W", "P1Y", "PT12H", "P3M10D"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    """Return documents that may be published, with and without what has a default."""
    languages = draw(
        st.lists(st.sampled_from(["en", "fr", "pt-BR", "zh-Hant", "no"]), min_size=1, unique=True)
    )
    texts = st.fixed_dictionaries(dict.fromkeys(languages, WORDS))
    category = st.fixed_dictionaries(
        {
            "dpv": st.sampled_from(sorted(DATA_TERMS - SPECIAL_TERMS)),
            "origin": st.sampled_from(Origin),
            "name": texts,
        },
        optional={"special": st.booleans()},
    ) | st.fixed_dictionaries(
        {
            "dpv": st.sampled_from(sorted(SPECIAL_TERMS)),
            "origin": st.just("told"),
            "name": texts,
            "special": st.just(True),
        }
    )
    recipient = st.fixed_dictionaries(
        {
            "name": WORDS,
            "role": st.sampled_from(RecipientRole),
            "country": st.sampled_from(["FR", "NO", "US"]),
        }
    )
    categories = draw(st.dictionaries(KEYS, category, min_size=1, max_size=3))
    recipients = draw(st.dictionaries(KEYS, recipient, max_size=3))
    purpose = st.fixed_dictionaries(
        {
            "version": st.integers(1, 9),
            "dpv": st.sampled_from(sorted(PURPOSE_TERMS)),
            **dict.fromkeys(["benefit", "description", "never", "if_denied"], texts),
            "categories": st.lists(st.sampled_from(sorted(categories)), min_size=1, unique=True),
            "retention": DURATIONS,
        },
        optional={
            "recipients": st.lists(st.sampled_from(sorted(recipients)), unique=True)
            if recipients
            else st.just([]),
            "validity": DURATIONS,
            "gpc": st.booleans(),
            "consent_mode": st.lists(st.sampled_from(CONSENT_MODE_SIGNALS), unique=True),
        },
    )
    purposes = draw(st.dictionaries(KEYS, purpose, min_size=1, max_size=3))
    for key, fields in purposes.items():
        fields["name"] = {tag: f"{draw(WORDS)} ({key})" for tag in languages}
    document = a_notice_document(languages=languages, title=draw(texts), introduction=draw(texts))
    return {**document, "categories": categories, "recipients": recipients, "purposes": purposes}


@settings(max_examples=EXAMPLES)
@given(documents())
def test_a_document_reads_back_to_the_same_notice_and_digests_to_the_same_bytes(
    document: dict[str, object],
) -> None:
    notice = parse_notice(document)

    published = json.dumps(notice.document(), sort_keys=True)
    read = parse_notice(json.loads(published))

    assert read == notice
    assert list(read.purposes) == list(notice.purposes)
    assert json.dumps(read.document(), sort_keys=True) == published


@settings(max_examples=EXAMPLES)
@given(documents(), st.data())
def test_whatever_stands_at_any_place_a_document_is_read_or_refused_with_what_to_mend(
    document: dict[str, object], data: st.DataObject
) -> None:
    place: object = document
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            place[key] = data.draw(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text(max_size=200)
                | st.lists(st.text(max_size=5) | st.integers(), max_size=3)
                | st.dictionaries(st.text(max_size=5) | st.integers(), st.text(max_size=5), max_size=3)
            )
            break
        place = place[key]

    try:
        problems = []
        parse_notice(document)
    except InvalidNotice as invalid:
        problems = list(invalid.problems)

    assert all(problem.message.endswith((".", "?")) and len(str(problem)) < 600 for problem in problems)


def test_what_an_author_leaves_out_has_its_default_in_the_document() -> None:
    defaults = ["recipients", "validity", "gpc", "consent_mode"]
    document = a_notice_document({f"purposes/coupons/{name}": REMOVED for name in defaults})

    published = parse_notice(document).document()

    purposes = published["purposes"]
    assert isinstance(purposes, dict)
    coupons = purposes["coupons"]
    assert isinstance(coupons, dict)
    assert [coupons[name] for name in defaults] == [[], "P6M", False, []]


def test_the_document_says_the_format_and_every_field_of_a_purpose() -> None:
    published = a_notice(languages=["fr", "en"]).document()

    assert published["notice"] == 1
    assert published["languages"] == ["fr", "en"]
    assert published["order"] == ["recommendations", "coupons", "support_context", "ai_assistance"]
    purposes = published["purposes"]
    assert isinstance(purposes, dict)
    assert purposes["ai_assistance"] == {
        "version": 1,
        "dpv": "dpv:CommunicationForCustomerCare",
        "name": {"fr": "Un assistant IA peut répondre d'abord", "en": "An AI assistant may answer first"},
        "benefit": {
            "fr": "Une réponse à toute heure. Sinon un humain vous répond directement.",
            "en": "An answer at any hour. Without it you go straight to a human.",
        },
        "description": {
            "fr": "L'assistant lit votre question et vos échanges précédents.",
            "en": "The assistant reads your question and your earlier conversations.",
        },
        "never": {"fr": "Entraîner des modèles avec", "en": "Train models with it"},
        "if_denied": {"fr": "Un humain vous répond.", "en": "A human answers you."},
        "categories": ["support_history"],
        "recipients": [],
        "retention": "P1M",
        "validity": "P6M",
        "gpc": False,
        "consent_mode": [],
    }


def test_an_author_may_say_in_which_order_the_purposes_are_shown() -> None:
    order = ["ai_assistance", "coupons", "recommendations", "support_context"]

    notice = a_notice(order=order)

    assert list(notice.purposes) == order


def test_spaces_around_a_text_are_not_part_of_it_and_lines_within_a_long_one_are() -> None:
    notice = a_notice({"introduction/en": "\n One.\n\nTwo.\n"})

    assert notice.introduction["en"] == "One.\n\nTwo."


@pytest.mark.parametrize(
    "text",
    [
        "\u200f\u05e9\u05dc\u05d5\u05dd\u200e 50%",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "Für 👩\u200d👩\u200d👧 only",
        "१२३",
    ],
    ids=[
        "Hebrew with direction marks",
        "Persian with a non-joiner",
        "an emoji with joiners",
        "digits of Devanagari",
    ],
)
def test_marks_that_scripts_need_are_welcome_in_a_text(text: str) -> None:
    notice = a_notice({"title/en": text})

    assert notice.title["en"] == text


def test_categories_and_recipients_that_no_purpose_uses_are_fine() -> None:
    notice = a_notice({"purposes/coupons": REMOVED})

    assert "household" in notice.categories
    assert "mailer" in notice.recipients


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("languages", ["en", "fr"]),
        ("controller/contact", "tel:+33-1-23-45-67-89"),
        ("controller/contact", "https://maison-lumiere.example/contact"),
        ("controller/contact", "dpo+privacy@xn--lumire-6ua.example"),
        ("controller/url", "https://[2001:db8::1]:8443/privacy?lang=en#top"),
        ("controller/jurisdiction", "US-CA"),
        ("purposes/coupons/retention", "P0D"),
        ("purposes/coupons/validity", "P1Y1M"),
        ("purposes/coupons/validity", "P365D"),
        ("purposes/coupons/version", 2**31 - 1),
        ("categories/purchases/special", True),
        ("categories/purchases/dpv", "dpv:ObservedPersonalData"),
        ("purposes/coupons/consent_mode", list(CONSENT_MODE_SIGNALS)),
    ],
)
def test_unusual_but_honest_values_are_accepted(path: str, value: object) -> None:
    document = a_notice_document({path: value})

    notice = parse_notice(document)

    assert parse_notice(notice.document()) == notice
