"""Our own words on a receipt, in the languages we speak; the notice's words are the shop's.

A notice in another language gets English labels around its own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from consent_service.domain.consent import Status
from consent_service.domain.decision import GPC_METHOD, Decision
from consent_service.ledger.words import spoken, words_of

_SAME: Final = {"withdraw_all": "refuse_all"}
"""Methods that are another one's button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The labels of a receipt in one language."""

    receipt: str
    given: str
    renewed: str
    refused: str
    withdrawn: str
    benefit: str
    description: str
    categories: str
    recipients: str
    nobody_else: str
    never: str
    until: str
    kept: str
    decided: str
    how: str
    subject: str
    controller: str
    contact: str
    notice: str
    entry: str
    change: str
    proof: str

    def status(self, status: Status) -> str:
        """Return what a status means, in words."""
        words: Mapping[Status, str] = {
            Status.GIVEN: self.given,
            Status.RENEWED: self.renewed,
            Status.WITHDRAWN: self.withdrawn,
        }
        return words.get(status, self.refused)


@cache
def _wording(language: str) -> Wording:
    return Wording(**words_of(language)["receipt"])


def wording_for(language: str) -> tuple[str, Wording]:
    """Return the labels for a language tag and the language they are in."""
    ours = spoken(language)
    return ours, _wording(ours)


def way_of(decision: Decision, language: str) -> str:
    """Return the control and the place of a decision in one of our languages; a shop's own codes as they are.

    A control is called what stands on the button.
    """
    words = {**words_of(language)["ways"], GPC_METHOD: "Global Privacy Control"}
    method, source = _SAME.get(decision.method, decision.method), decision.source
    return f"{words.get(method, method)} ({words.get(source, source)})"
