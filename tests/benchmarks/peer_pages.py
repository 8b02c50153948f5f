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
    """A banner to measure: what a page carries for it, and what of it is seen and pressed.

    `before` and `after` are the page's own scripts around the banner's; `first` stands first in its body, and
    `first_signalled` in its place where the request carries a privacy signal.
    """

    name: str
    head: str
    banner: str
    accept: str
    refuse: str = ""
    choose: str = ""
    before: str = ""
    after: str = ""
    first: str = ""
    first_signalled: str = ""


def _script(path: str, kind: str = "defer") -> str:
    return f'<script src="/peers/{path}" {kind}></script>'


def _style(path: str) -> str:
    return f'<link rel="stylesheet" href="/peers/{path}">'


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
    tarteaucitron = {"privacyUrl": "/privacy", "orientation": "bottom", "highPrivacy": True}
    services = [
        {"key": key, "type": "other", "name": name, "needConsent": True, "cookies": [key]}
        for key, name in _NAMES.items()
    ]
    porsche = [{"key": key, "label": name, "description": _TEXT} for key, name in _NAMES.items()]
    return [
        Peer(
            name="vanilla-cookieconsent 3.1.0",
            head=_style("vanilla-cookieconsent/dist/cookieconsent.css")
            + _script("vanilla-cookieconsent/dist/cookieconsent.umd.js"),
            after=f"CookieConsent.run({json.dumps(vanilla)})",
            banner="#cc-main .cm",
            accept="#cc-main .cm [data-role=all]",
            refuse="#cc-main .cm [data-role=necessary]",
            choose="#cc-main .cm [data-role=show]",
        ),
        Peer(
            name="orejime 3.2.1",
            before=f"window.orejimeConfig = {json.dumps(orejime)}",
            head=_style("orejime/dist/orejime-standard.css") + _script("orejime/dist/orejime-standard-en.js"),
            banner=".orejime-Banner",
            accept=".orejime-Banner-saveButton",
            refuse=".orejime-Banner-declineButton",
            choose=".orejime-Banner-learnMoreButton",
        ),
        Peer(
            name="klaro 0.7.22",
            before=f"window.klaroConfig = {json.dumps(klaro)}",
            head=_script("klaro/dist/klaro.js"),
            banner=".klaro .cookie-notice",
            accept=".klaro .cm-btn-success",
            refuse=".klaro .cn-decline",
            choose=".klaro .cn-learn-more",
        ),
        Peer(
            name="tarteaucitron 1.34.0",
            head=_script("tarteaucitronjs/tarteaucitron.min.js"),
            after=f"tarteaucitron.init({json.dumps(tarteaucitron)});"
            f"for (const service of {json.dumps(services)}) {{"
            "tarteaucitron.services[service.key] = { ...service, js() {}, fallback() {} };"
            "(tarteaucitron.job ||= []).push(service.key); }",
            banner="#tarteaucitronAlertBig",
            accept="#tarteaucitronPersonalize2",
            refuse="#tarteaucitronAllDenied2",
            choose="#tarteaucitronCloseAlert",
        ),
        Peer(
            name="Osano cookieconsent 3.1.1 (no dialog)",
            head=_style("cookieconsent/build/cookieconsent.min.css")
            + _script("cookieconsent/build/cookieconsent.min.js"),
            after=f"cookieconsent.initialise({json.dumps(osano)})",
            banner=".cc-window",
            accept=".cc-allow",
            refuse=".cc-deny",
        ),
        Peer(
            name="porsche cookie-consent-banner 4.1.0",
            head=_script(
                "@porscheofficial/cookie-consent-banner/dist/cookie-consent-banner/cookie-consent-banner.esm.js",
                'type="module"',
            ),
            after="document.querySelector('cookie-consent-banner').availableCategories"
            f" = {json.dumps(porsche)}",
            first=f"<cookie-consent-banner headline='Your choices'>{_TEXT}</cookie-consent-banner>",
            banner="[part=body]",
            accept="[part=button-accept-all]",
            refuse="[part=button-essential-only]",
            choose="",
        ),
        Peer(
            name="c15t react 2.2.1 (with React)",
            head=_style(".built/c15t-react.css") + _script(".built/c15t-react.js"),
            banner="[data-testid=consent-banner-card]",
            accept="[data-testid=consent-banner-accept-button]",
            refuse="[data-testid=consent-banner-reject-button]",
            choose="[data-testid=consent-banner-customize-button]",
        ),
        Peer(
            name="c15t headless 2.2.1 (no dialog)",
            head=_script(".built/c15t-headless.js"),
            banner="#c15t-headless",
            accept="#c15t-all",
            refuse="#c15t-necessary",
        ),
    ]
