"""The terms of the W3C Data Privacy Vocabulary that we ship."""

from pathlib import Path

import pytest

from consent_service.domain.dpv_terms import DATA_TERMS, DPV_VERSION, PURPOSE_TERMS, SPECIAL_TERMS, term_iri
from tools import dpv_terms as tool

RELEASE = Path(__file__).parents[3] / "shared" / "data" / f"dpv-{DPV_VERSION}"


def test_purposes_and_data_are_told_apart() -> None:
    assert "dpv:CustomerCare" in PURPOSE_TERMS
    assert "pd:Purchase" in DATA_TERMS
    assert PURPOSE_TERMS.isdisjoint(DATA_TERMS)
    assert {"dpv:Purpose", "dpv:PersonalData", "dpv:Consent"}.isdisjoint(PURPOSE_TERMS | DATA_TERMS)


def test_special_categories_of_data_are_data() -> None:
    assert {"pd:Health", "pd:Religion", "pd:TradeUnionMembership", "pd:Genetic"} <= SPECIAL_TERMS
    assert SPECIAL_TERMS <= DATA_TERMS
    assert "pd:Purchase" not in SPECIAL_TERMS


def test_a_term_stands_for_an_iri() -> None:
    assert term_iri("dpv:CustomerCare") == "https://w3id.org/dpv#CustomerCare"
    assert term_iri("pd:Purchase") == "https://w3id.org/dpv/pd#Purchase"


def test_a_term_of_another_vocabulary_has_no_iri_here() -> None:
    with pytest.raises(KeyError):
        term_iri("schema:Person")


def test_the_tool_takes_every_class_that_leads_to_a_root_and_nothing_else(tmp_path: Path) -> None:
    header = "term,type,iri,dpvtype,subclassof,hasbroader"
    rows = [
        f"Purpose,class,{tool.DPV}Purpose,,,",
        f"Marketing,class,{tool.DPV}Marketing,{tool.DPV}Purpose,,",
        f"Advertising,class,{tool.DPV}Advertising,,,{tool.DPV}Law;{tool.DPV}Marketing",
        f"hasPurpose,property,{tool.DPV}hasPurpose,,,{tool.DPV}Purpose",
        f"Law,class,{tool.DPV}Law,,,",
    ]
    file = tmp_path / "dpv.csv"
    file.write_text("\n".join([header, *rows]), encoding="utf-8")

    found = tool.narrower_than(tool.DPV + "Purpose", tool.broader_terms([file]))

    assert found == {tool.DPV + "Marketing", tool.DPV + "Advertising"}


if RELEASE.is_dir():  # the release of W3C lies beside the checkout in CI, not in a copy of the source

    def test_what_we_ship_is_what_the_release_says() -> None:
        assert tool.TARGET.read_text(encoding="utf-8") == tool.module_text(RELEASE)
