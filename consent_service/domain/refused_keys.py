"""Keys that a notice must not have, and why: nobody chooses for the subject, no purpose hangs on another."""

import re
from collections.abc import Sequence

from consent_service.domain.findings import did_you_mean, shown

_PRESELECTED = frozenset(
    """
    allowed assumed checked choice consent consented default defaultchecked defaulton defaultstate
    defaultvalue enabled given granted implicit implied initial initialstate initially on optin optout
    preapproved prechecked preenabled pregranted preselect preselected preset preticked selected softoptin
    state status ticked toggled value
    """.split()
)
_BUNDLED = frozenset(
    """
    acceptall allornothing bundle bundled bundledwith bundles children condition conditional conditions
    dependencies dependency dependson extends group grouped groups implies includes needs onlyif parent
    prerequisite prerequisites requires requiresconsent together unlocks with
    """.split()
)
_COMPULSORY = frozenset(
    """
    alwayson alwaysactive compulsory essential exempt legalbasis legitimateinterest locked mandatory necessary
    readonly required strictlynecessary unavoidable
    """.split()
)


def refusal(key: object, known: Sequence[str]) -> str:
    """Return what to tell the author about a key that is not among the `known` ones of its place."""
    folded = re.sub(r"[^a-z]", "", key.casefold()[:64]) if isinstance(key, str) else ""
    if folded in _PRESELECTED:
        return "would choose for the subject; remove it: every purpose starts undecided (GDPR Recital 32)."
    if folded in _BUNDLED:
        return "would tie choices together; remove it: each purpose is chosen by itself (GDPR Recital 43)."
    if folded in _COMPULSORY:
        return (
            "would take the choice away; remove it, or the purpose: what needs no consent does not belong in "
            "a notice that asks for it (GDPR Art. 7(4))."
        )
    return f"{shown(key)} is not a key of this place; remove it.{did_you_mean(key, known) or _list(known)}"


def _list(known: Sequence[str]) -> str:
    return f" Known here: {', '.join(known)}."
