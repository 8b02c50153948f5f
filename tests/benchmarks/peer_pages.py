"""Pages with other people's banners, each set up as its documentation says for four purposes in English."""

import json
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "peers" / "node_modules"

_NAMES = {
    "recommendations": "Recommendations",
    "coupons": "Coupons chosen for you",
    "support_context": "Support that knows your history",
    "ai_assistance": "An AI assistant may answer first",
}
_TEXT = "We use what you bought here and the pages you looked at. You can change your mind at any time."


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A banner to measure: what goes into the page's head, what is visible of it, what accepts."""

    name: str
    head: str
    banner: str
    accept: str


def _script(path: str) -> str:
    return f'<script src="/peers/{path}" defer></script>'


def _style(path: str) -> str:
    return f'<link rel="stylesheet" href="/peers/{path}">'


def _when_loaded(code: str) -> str:
    return f"<script>addEventListener('DOMContentLoaded', () => {{ {code} }})</script>"


def peers() -> list[Peer]:
    """Return the peers whose packages are installed."""
    categories: dict[str, dict[str, bool]] = {key: {} for key in _NAMES}
    sections = [{"title": name, "description": _TEXT, "linkedCategory": key} for key, name in _NAMES.items()]
    buttons = {
        "acceptAllBtn": "Accept all",
        "acceptNecessaryBtn": "Refuse all",
        "showPreferencesBtn": "Choose",
    }
    vanilla = {
        "hideFromBots": False,
        "categories": categories,
        "language": {
            "default": "en",
            "translations": {
                "en": {
                    "consentModal": {"title": "Your choices", "description": _TEXT, **buttons},
                    "preferencesModal": {
                        "title": "Your choices",
                        "savePreferencesBtn": "Save",
                        "closeIconLabel": "Close",
                        **buttons,
                        "sections": sections,
                    },
                }
            },
        },
    }
    orejime = {
        "privacyPolicyUrl": "/privacy",
        "purposes": [
            {"id": key, "title": name, "description": _TEXT, "cookies": [key]} for key, name in _NAMES.items()
        ],
    }
    klaro = {
        "version": 1,
        "acceptAll": True,
        "translations": {"en": {"privacyPolicyUrl": "/privacy", "consentNotice": {"description": _TEXT}}},
        "services": [{"name": key, "title": name, "purposes": [key]} for key, name in _NAMES.items()],
    }
    osano = {"type": "opt-in", "content": {"message": _TEXT}}
    return [
        Peer(
            name="vanilla-cookieconsent 3.1.0",
            head=_style("vanilla-cookieconsent/dist/cookieconsent.css")
            + _script("vanilla-cookieconsent/dist/cookieconsent.umd.js")
            + _when_loaded(f"CookieConsent.run({json.dumps(vanilla)})"),
            banner="#cc-main .cm",
            accept="#cc-main .cm [data-role=all]",
        ),
        Peer(
            name="orejime 3.2.1",
            head=f"<script>window.orejimeConfig = {json.dumps(orejime)}</script>"
            + _style("orejime/dist/orejime-standard.css")
            + _script("orejime/dist/orejime-standard-en.js"),
            banner=".orejime-Banner",
            accept=".orejime-Banner-saveButton",
        ),
        Peer(
            name="klaro 0.7.22",
            head=f"<script>window.klaroConfig = {json.dumps(klaro)}</script>"
            + _script("klaro/dist/klaro.js"),
            banner=".klaro .cookie-notice",
            accept=".klaro .cm-btn-success",
        ),
        Peer(
            name="Osano cookieconsent 3.1.1 (no dialog)",
            head=_style("cookieconsent/build/cookieconsent.min.css")
            + _script("cookieconsent/build/cookieconsent.min.js")
            + _when_loaded(f"cookieconsent.initialise({json.dumps(osano)})"),
            banner=".cc-window",
            accept=".cc-allow",
        ),
    ]
