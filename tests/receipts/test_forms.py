"""Every form of a receipt says the same, conforms to its standard, and carries evidence that verifies."""

import csv
import json
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pypdf
import pytest
import rdflib
import segno
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from consent_service.domain.notice import Notice
from consent_service.domain.notice_form import parse_notice
from consent_service.errors import EvidenceError, NoSuchForm
from consent_service.ledger.note import NoteSigner, NoteVerifier
from consent_service.ledger.receipt import Evidence, Receipt
from consent_service.ledger.receipt_forms.html import html_page
from consent_service.ledger.receipt_forms.json_ld import json_ld
from consent_service.ledger.receipt_forms.kantara import kantara
from consent_service.ledger.receipt_forms.plain import EVIDENCE_MARK, plain_text
from consent_service.ledger.receipt_forms.qr import qr_png, qr_svg
from consent_service.ledger.receipt_forms.wording import wording_for
from consent_service.ledger.words import spoken, spoken_languages, words_of
from consent_service.operations.read_receipt import PDF_MEDIA_TYPE, write_receipt
from consent_service.settings import Settings
from consent_service.web.words import languages
from tests.builders import a_notice
from tests.receipts.make import ORIGIN, SIGNER, SIZE, a_receipt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyshacl's own dependencies deprecate each other at import
    import pyshacl

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
SCHEMAS = ROOT / "docs" / "reference" / "schemas"
VERIFIER = NoteVerifier.parse(SIGNER.vkey)
# rdflib's own JSON-LD parser, and pyshacl, use names that rdflib deprecates.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(ConjunctiveGraph|Dataset\.\w+) is deprecated:DeprecationWarning"
)
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eevil & \"quoted\" 'too'"


@pytest.fixture(scope="module")
def jsonschema() -> ModuleType:
    """Imported for the tests that validate: it compiles grammars for two seconds of processor time."""
    return import_module("jsonschema")


def verified(document: object) -> int:
    """Verify the evidence of a receipt under the log's key; return the size of the tree it is in."""
    return Evidence.parse(json.loads(json.dumps(document))).verify(VERIFIER).size


def graph_of(receipt: Receipt) -> rdflib.Graph:
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(json_ld(receipt)), format="json-ld")
    return graph


def test_the_evidence_of_a_receipt_verifies_offline() -> None:
    receipt = a_receipt()

    checkpoint = receipt.evidence.verify(VERIFIER)

    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, SIZE)


@pytest.mark.parametrize("member", ["origin", "index", "leaf", "opening", "record", "notice", "proof"])
def test_evidence_with_one_thing_changed_does_not_verify(member: str) -> None:
    mine = a_receipt().evidence
    other = a_receipt(choices={"recommendations": "denied"}).evidence
    changed: Any = {
        "origin": "consent.example/another",
        "index": 6,
        "opening": bytes(32),
        "notice": mine.notice.replace(b"Recommendations", b"recommendations"),
        "proof": mine.proof.replace(b"index 5", b"index 6"),
    }.get(member, getattr(other, member))

    with pytest.raises(EvidenceError):
        replace(mine, **{member: changed}).verify(VERIFIER)


def test_evidence_under_a_foreign_key_does_not_verify() -> None:
    foreign = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.generate())

    with pytest.raises(EvidenceError):
        a_receipt().evidence.verify(NoteVerifier.parse(foreign.vkey))


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"v": 1}, {"v": 2, **dict.fromkeys(("origin", "vkey", "index", "leaf"), "x")}],
)
def test_malformed_evidence_is_refused(document: Any) -> None:
    with pytest.raises(EvidenceError):
        Evidence.parse(document)


def test_the_json_ld_receipt_conforms_to_our_schema(jsonschema: ModuleType) -> None:
    schema = json.loads((SCHEMAS / "receipt.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(json_ld(a_receipt()), schema)


def test_the_schema_refuses_a_receipt_without_a_consent_status(jsonschema: ModuleType) -> None:
    schema = json.loads((SCHEMAS / "receipt.schema.json").read_text())
    document: Any = json_ld(a_receipt())
    del document["dpv:hasRecordOfActivity"][0]["dpv:hasConsentStatus"]

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("country", ["FR", None])
def test_the_json_ld_receipt_conforms_to_our_shapes(country: str | None) -> None:
    graph = graph_of(a_receipt(storage_country=country))

    conforms, _, report = pyshacl.validate(graph, shacl_graph=str(SCHEMAS / "receipt.shapes.ttl"))

    assert conforms, report


def test_the_shapes_refuse_a_receipt_that_says_not_how_to_withdraw() -> None:
    graph = graph_of(a_receipt())
    graph.remove((None, rdflib.URIRef("https://w3id.org/dpv#hasConsentControl"), None))

    conforms, _, _ = pyshacl.validate(graph, shacl_graph=str(SCHEMAS / "receipt.shapes.ttl"))

    assert not conforms


def test_every_term_of_the_receipt_exists_in_dpv() -> None:
    known = set(_known_iris())

    used = {
        str(term)
        for triple in graph_of(a_receipt(a_notice({"categories/purchases/special": True})))
        for term in triple
        if isinstance(term, rdflib.URIRef) and str(term).startswith("https://w3id.org/dpv")
    }

    locations = {iri for iri in used if re.fullmatch(r"https://w3id\.org/dpv/loc#[A-Z]{2}", iri)}
    assert used - known - locations == set()
    assert len(used) > 50


def _known_iris() -> Iterator[str]:
    for name in ("dpv", "pd", "eu-gdpr"):
        with (SHARED / "dpv-2.3" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            yield from (row["iri"] for row in csv.DictReader(file))
    profiles = rdflib.Graph()
    profiles.parse(SHARED / "dpv-2.3" / "dpv-27560.ttl")
    yield from (str(subject) for subject in profiles.subjects())


def test_the_json_ld_receipt_carries_its_evidence_as_a_json_literal() -> None:
    receipt = a_receipt()

    literals = list(graph_of(receipt).objects(predicate=rdflib.URIRef("urn:consent-toolkit:evidence:v1")))

    assert len(literals) == 1
    assert verified(json.loads(str(literals[0]))) == SIZE


def test_each_purpose_has_its_own_status_and_identifier() -> None:
    document: Any = json_ld(a_receipt())

    records = document["dpv:hasRecordOfActivity"]
    statuses = {
        record["dpv:hasProcess"][0]["dct:identifier"]: record["dpv:hasConsentStatus"][0]["@type"][0]
        for record in records
    }
    identifiers = {document["dct:identifier"], *(record["dct:identifier"] for record in records)}
    assert statuses == {"recommendations": "dpv:ConsentGiven", "coupons": "dpv:ConsentRefused"}
    assert {uuid.UUID(identifier).version for identifier in identifiers} == {4}
    assert len(identifiers) == 3


def test_special_categories_name_their_legal_basis(jsonschema: ModuleType) -> None:
    document: Any = json_ld(a_receipt(a_notice({"categories/purchases/special": True})))

    record = document["dpv:hasRecordOfActivity"][0]
    jsonschema.validate(document, json.loads((SCHEMAS / "receipt.schema.json").read_text()))

    assert {"@id": "eu-gdpr:A9-2-a"} in record["dpv:hasProcess"][0]["dpv:hasLegalBasis"]
    assert "dpv:ExplicitlyExpressedConsent" in record["dpv:hasConsentStatus"][0]["@type"]


def test_the_kantara_receipt_conforms_to_the_public_schema(jsonschema: ModuleType) -> None:
    text = (SHARED / "schemas" / "kantara-consent-receipt-v1_1-schema.json").read_text()
    schema = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    choices = {"recommendations": "granted", "coupons": "granted", "ai_assistance": "denied"}
    document: Any = kantara(a_receipt(choices=choices))

    jsonschema.validate(document, schema, cls=jsonschema.Draft4Validator)

    purposes = document["services"][0]["purposes"]
    assert [purpose["purpose"] for purpose in purposes] == ["Recommendations", "Coupons chosen for you"]
    assert purposes[1]["thirdPartyName"] == "Poste & Co"
    assert verified(document["evidence"]) == SIZE


def test_a_refusal_has_no_kantara_receipt() -> None:
    with pytest.raises(NoSuchForm, match="no form for refusals"):
        kantara(a_receipt(choices={"recommendations": "denied"}))


@pytest.mark.parametrize(("language", "words"), [("en", "You agreed"), ("fr", "Vous avez accepté")])
def test_a_text_receipt_speaks_the_language_that_was_shown(language: str, words: str) -> None:
    text = plain_text(a_receipt(language=language))

    assert words in text
    assert a_notice().purposes[next(iter(a_notice().purposes))].name[language] in text
    assert verified(json.loads(text.partition(EVIDENCE_MARK)[2])) == SIZE


@pytest.mark.parametrize(
    ("language", "lasting", "day"), [("en", "24 months", "May 21, 2027"), ("fr", "24 mois", "21 mai 2027")]
)
def test_a_receipt_writes_dates_and_durations_as_its_language_does(
    language: str, lasting: str, day: str
) -> None:
    receipt = a_receipt(language=language)

    text, page = plain_text(receipt).partition(EVIDENCE_MARK)[0], html_page(receipt).partition("<script")[0]
    for words in (text, page):
        assert lasting in words
        assert day in words
        assert not re.search(r"P\d+M|\d{4}-\d\d-\d\dT", words)


@pytest.mark.parametrize(
    ("language", "method", "source", "said"),
    [
        ("en", "save", "banner", "How: Save choices (in the banner)"),
        ("fr", "withdraw_all", "page", "Comment: Tout refuser (sur la page des choix)"),
        ("en", "gpc", "checkout", "How: Global Privacy Control (checkout)"),
    ],
)
def test_a_receipt_says_in_words_how_and_where_she_decided(
    language: str, method: str, source: str, said: str
) -> None:
    receipt = a_receipt(language=language)
    decision = replace(receipt.record.decision, method=method, source=source)

    text = plain_text(replace(receipt, record=replace(receipt.record, decision=decision)))

    assert said in text


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_an_html_receipt_is_one_page_that_fetches_nothing() -> None:
    page = html_page(a_receipt(language="fr"))

    tags = _Page(page).tags
    assert ("html", {"lang": "fr", "dir": "ltr"}) in tags
    assert [attributes for tag, attributes in tags if tag == "script"] == [
        {"type": "application/json", "id": "consent-evidence"}
    ]
    assert not [tag for tag, attributes in tags if "src" in attributes or tag == "link"]
    evidence = page.partition('id="consent-evidence">')[2].partition("</script>")[0]
    assert verified(json.loads(evidence)) == SIZE


def test_the_code_on_a_receipt_leads_to_where_choices_are_changed() -> None:
    url, other = "https://shop.example/choices?from=receipt", "https://shop.example/elsewhere"
    receipt = a_receipt(preferences_url=url)
    page = html_page(receipt)
    reader = pypdf.PdfReader(BytesIO(write_receipt(receipt, PDF_MEDIA_TYPE, Settings())))
    (drawn,) = [image for part in reader.pages for image in part.images]
    dark = [[bool(module) for module in row] for row in segno.make_qr(url, error="m").matrix]

    assert (qr_svg(url) in page, qr_svg(other) in page) == (True, False)
    assert _modules(drawn.image) == _modules(Image.open(BytesIO(qr_png(url)))) == dark
    assert _modules(Image.open(BytesIO(qr_png(other)))) != dark


def _modules(image: Any) -> list[list[bool]]:
    """Which modules of a code are dark, from a picture with six pixels for each and four for the margin."""
    grey, scale, margin = image.convert("L"), 6, 4
    count = grey.width // scale - 2 * margin
    at = [scale * (margin + number) + scale // 2 for number in range(count)]
    return [[grey.getpixel((x, y)) < 128 for x in at] for y in at]


def test_hostile_words_of_a_notice_stay_words() -> None:
    notice = a_notice({"controller/name": "Shop <img src=x onerror=alert(1)> & Co"})
    hostile = replace(notice, title={"en": HOSTILE, "fr": HOSTILE})

    page, text = html_page(a_receipt(hostile)), plain_text(a_receipt(hostile))

    assert [tag for tag, _ in _Page(page).tags if tag in {"img", "script"}] == ["script"]
    body, _, evidence = text.partition(EVIDENCE_MARK)
    assert body.replace("\n", "").isprintable()
    assert json.loads(evidence)["index"] == 5
    assert "\x1b" not in text


def _in(language: str) -> Notice:
    return parse_notice(json.loads(json.dumps(a_notice().document()).replace('"en"', f'"{language}"')))


def test_a_notice_in_a_language_we_do_not_speak_gets_marked_english_labels() -> None:
    page = html_page(a_receipt(_in("fa"), language="fa"))

    assert '<html lang="fa" dir="rtl">' in page
    assert '<h1 lang="en" dir="ltr">Receipt of your choices</h1>' in page


@pytest.mark.parametrize(
    ("language", "beginning"),
    [
        ("ar", '<html lang="ar" dir="rtl">'),
        ("he-IL", '<html lang="he-IL" dir="rtl">'),
        ("nb", '<html lang="nb" dir="ltr">'),
        ("ja", '<html lang="ja" dir="ltr">'),
    ],
)
def test_a_receipt_speaks_the_language_of_its_notice(language: str, beginning: str) -> None:
    page = html_page(a_receipt(_in(language), language=language))

    assert beginning in page
    assert f"<h1>{words_of(spoken(language))['receipt']['receipt']}</h1>" in page


def test_a_pdf_receipt_says_the_words_and_carries_the_evidence() -> None:
    body = write_receipt(a_receipt(language="fr"), PDF_MEDIA_TYPE, Settings())

    reader = pypdf.PdfReader(BytesIO(body))
    text = "".join(page.extract_text() for page in reader.pages)
    attached = reader.attachments["consent-evidence.json"][0]
    assert "Vous avez accepté" in text
    assert "https://shop.example/choices" in text
    assert verified(json.loads(attached)) == SIZE


def test_hostile_words_in_a_pdf_are_words_and_no_actions() -> None:
    hostile = "<script>app.alert(1)</script> (/JavaScript) Tj ET /OpenAction"
    notice = replace(a_notice(), title={"en": hostile, "fr": hostile})

    body = write_receipt(a_receipt(notice), PDF_MEDIA_TYPE, Settings())

    reader = pypdf.PdfReader(BytesIO(body))
    text = "".join(page.extract_text() for page in reader.pages).replace("\n", " ")
    assert "<script>app.alert(1)</script> (/JavaScript) Tj ET" in text
    assert "/OpenAction" not in reader.root_object or "/JS" not in str(reader.root_object["/OpenAction"])
    assert not any(key in reader.root_object.get("/Names", {}) for key in ("/JavaScript",))
    assert all("/AA" not in page for page in reader.pages)


def test_a_pdf_whose_font_lacks_letters_is_refused() -> None:
    notice = replace(a_notice(), title={"en": "你的选择", "fr": "你的选择"})

    with pytest.raises(NoSuchForm, match="lacks characters"):
        write_receipt(a_receipt(notice), PDF_MEDIA_TYPE, Settings())


def test_every_language_of_ours_has_all_labels_of_its_own() -> None:
    assert set(spoken_languages()) == set(languages())
    labels = {language: words_of(language) for language in spoken_languages()}

    for language, sections in labels.items():
        assert {name: each.keys() for name, each in sections.items()} == {
            name: each.keys() for name, each in labels["en"].items()
        }
        for texts in sections.values():
            assert all(text == text.strip() != "" for text in texts.values())
            assert len(set(texts.values())) == len(texts), language
        wording_for(language)
