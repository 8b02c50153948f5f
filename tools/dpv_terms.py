"""Write `consent_service/domain/dpv_terms.py` from the CSV files of the W3C Data Privacy Vocabulary.

Usage: python tools/dpv_terms.py FOLDER   where FOLDER holds dpv.csv and pd.csv of one DPV release.
"""

import csv
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

TARGET = Path(__file__).parent.parent / "consent_service" / "domain" / "dpv_terms.py"
VERSION = "2.3"
DPV = "https://w3id.org/dpv#"
PD = "https://w3id.org/dpv/pd#"
_BROADER = ("dpvtype", "subclassof", "hasbroader")

_MODULE = '''"""Terms of the W3C Data Privacy Vocabulary (DPV) that a notice may use.

Written by `tools/dpv_terms.py` from dpv.csv and pd.csv of DPV {version}; do not edit by hand.
Source: https://w3id.org/dpv and https://w3id.org/dpv/pd, by the W3C Data Privacy Vocabularies and Controls
Community Group, under the W3C Software and Document License
(https://www.w3.org/copyright/software-license-2023/). Only names of terms are taken.
"""

DPV_VERSION = "{version}"
"""The release of DPV that the lists below are taken from."""

NAMESPACES = {{
    "dpv": "{dpv}",
    "pd": "{pd}",
}}
"""What the prefix of a term stands for."""

# What a term is: every term whose type or chain of broader terms leads to dpv:Purpose.
PURPOSE_TERMS = frozenset(
    """
{purposes}
    """.split(),
)
"""Terms that say what data is used for; dpv:Purpose itself says nothing and is not among them."""

# Every term whose type or chain of broader terms leads to dpv:PersonalData.
DATA_TERMS = frozenset(
    """
{data}
    """.split(),
)
"""Terms that say what personal data is; dpv:PersonalData itself says nothing and is not among them."""

# Every term whose type or chain of broader terms leads to dpv:SpecialCategoryPersonalData.
SPECIAL_TERMS = frozenset(
    """
{special}
    """.split(),
)
"""Terms for data of GDPR Art. 9(1): a category of this kind is marked `special: true` in a notice."""


def term_iri(term: str) -> str:
    """Return the IRI of a `prefix:Name` term; raise `KeyError` for a prefix that is not in `NAMESPACES`."""
    prefix, _, name = term.partition(":")
    return NAMESPACES[prefix] + name
'''


def broader_terms(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return, for every class in the CSV files, the IRIs of its types and broader classes."""
    broader: dict[str, list[str]] = {}
    for file in files:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row["type"] == "class":
                    broader[row["iri"]] = [
                        iri for column in _BROADER for iri in row[column].split(";") if iri
                    ]
    return broader


def narrower_than(root: str, broader: Mapping[str, list[str]]) -> set[str]:
    """Return every term that leads to `root`, without `root` itself."""
    found = {root}
    while grown := {iri for iri, above in broader.items() if iri not in found and found.intersection(above)}:
        found |= grown
    return found - {root}


def module_text(folder: Path) -> str:
    """Return the text of the module for the DPV release in `folder`."""
    broader = broader_terms([folder / "dpv.csv", folder / "pd.csv"])
    special = DPV + "SpecialCategoryPersonalData"
    return _MODULE.format(
        version=VERSION,
        dpv=DPV,
        pd=PD,
        purposes=_lines(narrower_than(DPV + "Purpose", broader)),
        data=_lines(narrower_than(DPV + "PersonalData", broader)),
        special=_lines(narrower_than(special, broader) | {special}),
    )


def _lines(iris: Iterable[str]) -> str:
    """Return the terms in short form, sorted, as many to a line as fit."""
    lines: list[str] = []
    for term in sorted(iri.replace(PD, "pd:").replace(DPV, "dpv:") for iri in iris):
        if lines and len(lines[-1]) + len(term) < 100:  # noqa: PLR2004  # the width of a line of source
            lines[-1] += " " + term
        else:
            lines.append("    " + term)
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(module_text(Path(sys.argv[1])), encoding="utf-8")
