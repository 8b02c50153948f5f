"""The banner inside a page that a server renders: seen at the page's first paint, before any script.

`banner.js` takes over the element that it finds there. No answer of the service: no element, and the script
fetches the layout itself as on any other page.
"""

from __future__ import annotations

import re
import time
from threading import Thread

from consent_sdk._transport import Endpoint, HttpTransport, Unreachable
from consent_sdk.protocol import Malformed, Request, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import httpx2

_DAY_S = 86_400
_AGAIN_S = 5.0
_MOST_LANGUAGES = 64
_TAG = (
    r"</?(?:a|b|button|dd|dialog|div|dl|dt|fieldset|form|h2|header|i|input|label|li|option|p|section|select"
    r"|small|ul)"
)
_NAME = (
    r"aria-hidden|aria-label|aria-labelledby|autofocus|class|data-[a-z]+|dir|hidden|id|lang|method|name|popover"
    r"|popovertarget|popovertargetaction|role|selected|tabindex|type|value"
)
_PLAIN = re.compile(
    rf'(?:[^<]|{_TAG}(?: (?:(?:{_NAME})(?:=(?:"[^"<]*"|[\w-]+))?|href="(?:https?:|mailto:|tel:)[^"<]*"))*>)*+'
)
"""Every `<` begins one of these elements with these attributes: nothing that loads, runs or styles."""


class Markup(str):
    """HTML that Jinja and Django put into a page as it is."""

    __slots__ = ()

    def __html__(self) -> Self:
        """Return itself: it is markup already."""
        return self


class PageBanner:
    """The banner of a publishable key as markup for the begin of `<body>`. No call waits, and none raises.

    The service is asked in the background, per language, and again after `refresh` seconds. The style is
    inline unless `stylesheet` is an address of your own where you serve `style()`, for a content security
    policy without inline styles. `transport` (httpx2) replaces the network. Raises `ConfigurationError`
    for what can be no address or key.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        stylesheet: str | None = None,
        refresh: float = 300.0,
        timeout: float = 2.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._endpoint = Endpoint(url, key)
        self._key = key
        self._stylesheet = stylesheet
        self._refresh = refresh
        self._timeout = timeout
        self._transport = transport
        self._held: dict[tuple[str, bool], _Layout] = {}
        self._next: dict[tuple[str, bool], float] = {}
        self._asking: dict[tuple[str, bool], Thread] = {}

    def markup(self, *, language: str, said: str | None = None, gpc: bool = False) -> Markup:
        """Return the element, or nothing while the service has not answered.

        `said` is the value of the visitor's cookie `eu-consent`, "" where she has none: purposes that it
        answers are not asked again. Leave it out for a page that a cache gives to everybody: then the script
        shows the banner. `gpc` is whether the request said `Sec-GPC: 1`.
        """
        layout = self._layout((language, gpc))
        if layout is None:
            return Markup()
        style = (
            f'<link rel="stylesheet" href="{_attribute(self._stylesheet)}">'
            if self._stylesheet
            else f"<style>{layout.style}</style>"
        )
        # Hidden until its style is there, which stands last: what arrives in pieces is shown whole.
        return Markup(
            f'<consent-banner hidden lang="{_attribute(layout.language)}" dir="{layout.direction}">'
            f'<template shadowrootmode="open">{layout.asking(said)}{style}</template></consent-banner>'
        )

    def style(self, *, language: str = "") -> str:
        """Return the style sheet to serve under `stylesheet`; empty while the service has not answered."""
        held = next(iter(self._held.values()), None) or self._layout((language, False))
        return "" if held is None else held.style

    def style_source(self) -> str:
        """Return what a content security policy's `style-src` must list for the inline style."""
        import base64  # noqa: PLC0415  # too slow to import with the package
        import hashlib  # noqa: PLC0415  # too slow to import with the package

        return f"'sha256-{base64.b64encode(hashlib.sha256(self.style().encode()).digest()).decode()}'"

    def wait_until_ready(self, timeout: float, *, language: str = "", gpc: bool = False) -> bool:
        """Return whether the markup of a language is there once the service answered, within `timeout`."""
        wanted = (language, gpc)
        if self._layout(wanted) is None and wanted in self._asking:
            self._asking[wanted].join(timeout)
        return wanted in self._held

    def _layout(self, wanted: tuple[str, bool]) -> _Layout | None:
        now = time.monotonic()
        if now >= self._next.get(wanted, 0.0) and (wanted in self._next or len(self._next) < _MOST_LANGUAGES):
            self._next[wanted] = now + _AGAIN_S
            self._asking[wanted] = Thread(
                target=self._fetch, args=(wanted,), name="consent-banner", daemon=True
            )
            self._asking[wanted].start()
        return self._held.get(wanted)

    def _fetch(self, wanted: tuple[str, bool]) -> None:
        from urllib.parse import urlencode  # noqa: PLC0415  # too slow to import with the package

        language, gpc = wanted
        query = urlencode({"key": self._key, "language": language, **({"gpc": 1} if gpc else {})})
        http = HttpTransport(self._endpoint, self._transport)
        try:
            answer = http.send(Request("GET", f"/v1/banner/markup?{query}"), timeout=self._timeout)
            self._held[wanted] = _Layout(read_object(answer))
            self._next[wanted] = time.monotonic() + self._refresh
        except (Unreachable, Malformed):
            return  # Asked again soon; until then the page has what it had.
        finally:
            http.close()


class _Layout:
    """One answer of the service; raises `Malformed` for anything that could bring code into a page."""

    __slots__ = ("_content", "_purposes", "direction", "language", "style")

    def __init__(self, body: Mapping[str, object]) -> None:
        content, style, language = (body.get(name) for name in ("content", "style", "language"))
        if (
            not isinstance(content, str)
            or not content.startswith("<section ")
            or not _PLAIN.fullmatch(content)
        ):
            raise Malformed("not a banner")
        if not isinstance(style, str) or "<" in style or not isinstance(language, str):
            raise Malformed("not a banner's style")
        self._content = content
        self.style = style
        self.language = language
        self.direction = "rtl" if body.get("direction") == "rtl" else "ltr"
        self._purposes = _purposes(body.get("purposes"))

    def asking(self, said: str | None) -> str:
        """Return the content with what need not be asked hidden: everything where that is not known."""
        answered = set(self._purposes) if said is None else self._answered(said)
        content = self._content
        for purpose in answered:
            content = content.replace(f'<li data-for="{purpose}"', f'<li hidden data-for="{purpose}"', 1)
        if answered >= set(self._purposes):
            content = content.replace("<section ", "<section hidden ", 1)
        return content

    def _answered(self, said: str) -> set[str]:
        today = int(time.time() // _DAY_S)
        answered = set()
        for entry in said.split("~"):
            purpose, _, numbers = entry.partition(":")
            found = re.fullmatch(r"(\d{1,9}):[012]:(\d{1,9})", numbers)
            version, days = self._purposes.get(purpose, (0, 0))
            if found and int(found[1]) == version and today - int(found[2]) < days:
                answered.add(purpose)
        return answered


def _purposes(found: object) -> dict[str, tuple[int, int]]:
    if not isinstance(found, dict):
        raise Malformed("no purposes")
    purposes = {}
    for key, facts in found.items():
        version, days = (
            (facts.get(name) for name in ("version", "days")) if isinstance(facts, dict) else (None, None)
        )
        if not isinstance(version, int) or not isinstance(days, int):
            raise Malformed("no purposes")
        purposes[str(key)] = (version, days)
    return purposes


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
