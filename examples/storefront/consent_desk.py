"""What the shop asks the consent service. No answer means no: then it shows what everybody sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import httpx2
from consent_sdk import ConsentClient


@dataclass(slots=True, kw_only=True)
class ConsentDesk:
    """The shop's side of the service: `url` inside the shop's network, `public_url` for browsers.

    Its connections are kept until the end of a `with` block.
    """

    url: str
    public_url: str
    backend_key: str
    browser_key: str
    _http: httpx2.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the client that every call of the shop goes through."""
        headers = {"Authorization": f"Bearer {self.backend_key}"}
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=5)

    def __enter__(self) -> Self:
        """Return the desk."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._http.close()

    def allows(self, subject: str, purpose: str) -> bool:
        """Whether a purpose may be used for this subject now."""
        with ConsentClient(self.url, api_key=self.backend_key, stream="off") as consent:
            return consent.allows(subject, purpose)

    def remember(self, subject: str, attributes: Mapping[str, Mapping[str, Any]]) -> bool:
        """Store attributes in the sealed profile; `False` where nobody granted what they are for."""
        return self._call("PATCH", "/v1/profile", subject, json=attributes) is not None

    def profile(self, subject: str, purpose: str) -> Mapping[str, Any]:
        """Open the profile for one purpose, which leaves a trace for her; empty when it stays closed."""
        answer = self._call("GET", f"/v1/profile?purpose={purpose}", subject) or {}
        attributes: Mapping[str, Any] = answer.get("attributes", {})
        return attributes

    def uses(self, subject: str, purpose: str, language: str) -> Sequence[str]:
        """Return in plain words what the customer's data was used for under one purpose."""
        answer = self._call("GET", f"/v1/uses?language={language}&purpose={purpose}", subject) or {}
        sentences: Sequence[str] = answer.get("sentences", [])
        return sentences

    def languages(self) -> Sequence[str]:
        """Return the languages of the notice."""
        answer = self._call("GET", "/v1/notice") or {}
        languages: Sequence[str] = answer.get("notice", {}).get("languages", [])
        return languages

    def link(self, subject: str, anonymous: str) -> bool:
        """Link the subject of a browser to the customer who signed in there: the most protective choice wins.

        `False` where the browser chose nothing, is linked already, or sent no token of ours.
        """
        return self._call("POST", "/v1/subject/link", subject, json={"anonymous": anonymous}) is not None

    def token(self, subject: str) -> str:
        """Return a short-lived subject token for a page of this customer; empty where there is none."""
        answer = self._call("POST", "/v1/subject/token", subject) or {}
        token: str = answer.get("token", "")
        return token

    def _call(self, method: str, path: str, subject: str = "", **options: Any) -> Mapping[str, Any] | None:
        """Return what the service answers to a call that it carried out; nothing where it did not."""
        headers = {"Consent-Subject": quote(subject)} if subject else {}
        try:
            answer = self._http.request(method, path, headers=headers, **options)
            found = answer.json() if answer.is_success else None
        except (httpx2.TransportError, ValueError):
            return None  # Away, too slow, or garbage.
        return found if isinstance(found, dict) else None
