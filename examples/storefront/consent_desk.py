"""What the shop asks the consent service. No answer means no: then it shows what everybody sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import httpx2
from consent_sdk import ConsentClient

_NOT_GRANTED = {403, 404, 409}
_NOT_LINKED = {400, 401, 403, 409, 422}
_OK = 200


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
        answer = self._call("PATCH", "/v1/profile", subject, json=attributes)
        if answer.status_code not in _NOT_GRANTED:
            answer.raise_for_status()
        return answer.status_code == _OK

    def profile(self, subject: str, purpose: str) -> Mapping[str, Any]:
        """Open the profile for one purpose, which leaves a trace for her; empty when it stays closed."""
        answer = self._call("GET", f"/v1/profile?purpose={purpose}", subject)
        if answer.status_code in _NOT_GRANTED:
            return {}
        answer.raise_for_status()
        attributes: Mapping[str, Any] = answer.json()["attributes"]
        return attributes

    def uses(self, subject: str, purpose: str, language: str) -> Sequence[str]:
        """Return in plain words what the customer's data was used for under one purpose."""
        answer = self._call("GET", f"/v1/uses?language={language}&purpose={purpose}", subject)
        if answer.status_code != _OK:
            return []
        sentences: Sequence[str] = answer.json()["sentences"]
        return sentences

    def languages(self) -> Sequence[str]:
        """Return the languages of the notice; none while the service does not answer."""
        try:
            answer = self._http.get("/v1/notice")
        except httpx2.TransportError:
            return []
        languages: Sequence[str] = answer.json()["notice"]["languages"] if answer.status_code == _OK else []
        return languages

    def link(self, subject: str, anonymous: str) -> bool:
        """Link the subject of a browser to the customer who signed in there: the most protective choice wins.

        `False` where the browser chose nothing, is linked already, or sent no token of ours.
        """
        answer = self._call("POST", "/v1/subject/link", subject, json={"anonymous": anonymous})
        if answer.status_code not in _NOT_LINKED:
            answer.raise_for_status()
        return answer.is_success

    def token(self, subject: str) -> str:
        """Return a short-lived subject token for a page of this customer."""
        answer = self._call("POST", "/v1/subject/token", subject)
        answer.raise_for_status()
        token: str = answer.json()["token"]
        return token

    def _call(self, method: str, path: str, subject: str, **options: Any) -> httpx2.Response:
        return self._http.request(method, path, headers={"Consent-Subject": quote(subject)}, **options)
