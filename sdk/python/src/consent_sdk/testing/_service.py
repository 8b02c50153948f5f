"""A consent service in memory: it takes the SDK's requests and gives the documented answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from consent_sdk._transport import Unreachable
from consent_sdk.protocol import Answer, Request, encode_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from consent_sdk.testing._clock import SettableClock

_VALIDITY_S = 180 * 86_400
_GIVEN = frozenset({"given", "renewed"})
_JSON = {"content-type": "application/json"}


class ServiceInMemory:
    """Holds decisions and answers about them; `down` makes it unreachable."""

    def __init__(self, clock: SettableClock, purposes: Iterable[str] | None) -> None:
        self.down = False
        self._clock = clock
        self._purposes = None if purposes is None else frozenset(purposes)
        self.entries: list[tuple[int, str]] = []
        self._decisions: dict[str, list[dict[str, object]]] = {}
        self._consents: dict[str, dict[str, dict[str, object]]] = {}
        self._answered: dict[str, Answer] = {}
        self._head = 0
        self._lock = Lock()
        self._attributes: dict[str, dict[str, dict[str, object]]] = {}
        self._derived: dict[tuple[str, str, str], str] = {}
        self.uses: list[dict[str, object]] = []
        self.on_entry: Callable[[int, str], None] = lambda _index, _subject: None

    def send(self, request: Request, *, timeout: float) -> Answer:  # noqa: ARG002  # memory needs no time
        """Answer as the service documents, or raise `Unreachable` while it is down."""
        if self.down:
            raise Unreachable("down")
        headers = {name.lower(): value for name, value in request.headers}
        subject = headers.get("consent-subject", "")
        route = (request.method, request.path.partition("?")[0])
        if route[1] in ("/v1/profile", "/v1/profiles/query", "/v1/uses", "/v1/subject/token"):
            derived_for = dict(parse_qsl(request.path.partition("?")[2])).get("derived_for")
            return self._data(route, subject, request.content, derived_for)
        if route == ("POST", "/v1/gate"):
            return self._gate(subject, json.loads(request.content)["purposes"])
        if route == ("POST", "/v1/decisions"):
            return self._decide(subject, json.loads(request.content), headers.get("idempotency-key", ""))
        known: dict[tuple[str, str], dict[str, object]] = {
            ("GET", "/v1/consents"): {"consents": self._standing(subject), "head": self._head},
            ("GET", "/v1/decisions"): {"decisions": self._decisions.get(subject, [])},
        }
        if route in known:
            return _answer(200, known[route])
        return _problem(404, "not-found", "The fake service has no such route.")

    def close(self) -> None:
        """There is nothing to close."""

    def after_fork(self) -> None:
        """There is nothing to leave to a parent."""

    def record(self, subject: str, choices: Mapping[str, str]) -> int:
        """Store a decision made now and return its index."""
        body = {
            "notice": "0" * 64,
            "choices": dict(choices),
            "method": "save",
            "source": "fake",
            "language": "en",
        }
        return self._record(encode_subject(subject), {**body, "decided_at": self._now()})

    def _decide(self, subject: str, body: dict[str, object], key: str) -> Answer:
        if key in self._answered:
            return self._answered[key]
        choices = body["choices"]
        if not isinstance(choices, dict) or not set(choices.values()) <= {"granted", "denied"}:
            return _problem(422, "invalid-request", "A choice is granted or denied.")
        if unknown := [purpose for purpose in choices if not self._knows(purpose)]:
            return _problem(400, "unknown-purpose", f"The notice has no purpose {unknown[0]}.")
        index = self._record(subject, body)
        standing = self._standing(subject)
        answer = _answer(
            201,
            {
                "index": index,
                "recorded_at": self._now(),
                "consents": {purpose: standing[purpose] for purpose in choices},
                "links": {"receipt": f"/v1/receipts/{index}"},
            },
        )
        if key:
            self._answered[key] = answer
        return answer

    def _record(self, subject: str, body: Mapping[str, object]) -> int:
        choices = body["choices"]
        assert isinstance(choices, dict)  # noqa: S101  # both callers made it
        with self._lock:
            index, self._head = self._head, self._head + 1
            standing = self._consents.setdefault(subject, {})
            for purpose, choice in choices.items():
                before = standing.get(purpose, {}).get("status") in _GIVEN
                granted = choice == "granted"
                status = (
                    ("renewed" if before else "given") if granted else "withdrawn" if before else "refused"
                )
                standing[purpose] = {
                    "status": status,
                    "purpose_version": 1,
                    "since": self._now(),
                    "valid_until": _moment(self._clock.time() + _VALIDITY_S),
                    "index": index,
                }
            self._forget(subject, lambda purpose: choices.get(purpose) == "denied")
            decided = {purpose: standing[purpose] for purpose in choices}
            entry = {"index": index, "recorded_at": self._now(), **body, "consents": decided}
            self._decisions.setdefault(subject, []).append(entry)
            self.entries.append((index, subject))
        self.on_entry(index, subject)
        return index

    @property
    def head(self) -> int:
        """How many entries there are."""
        return self._head

    def states(self, subject: str) -> dict[str, list[object]]:
        """Return where a subject stands as the stream says it: purpose to [reason, valid_until]."""
        return {
            purpose: ["granted" if consent["status"] in _GIVEN else consent["status"], _epoch(consent)]
            for purpose, consent in self._consents.get(subject, {}).items()
        }

    def set_profile(self, subject: str, attributes: Mapping[str, object]) -> None:
        """Hold these attributes of a subject, category to field to value, and no others."""
        self._forget(subject, lambda _purpose: True)
        self._attributes[subject] = json.loads(json.dumps(attributes))  # As the service would give them back.

    def _data(self, route: tuple[str, str], subject: str, content: bytes, derived_for: str | None) -> Answer:
        if route[0] == "GET":
            return _answer(200, {"attributes": self._held(subject), "index": None})
        if route == ("POST", "/v1/profiles/query"):
            subjects = json.loads(content)["subjects"]
            kept = [self._held(encode_subject(subject)) for subject in subjects]
            return _answer(200, {"profiles": [{"attributes": held, "index": None} for held in kept]})
        if route == ("POST", "/v1/uses"):
            self.uses.extend(json.loads(content)["uses"])
            return _answer(202, {})
        if route[0] == "POST":
            expires_at = _moment(self._clock.time() + 900)
            return _answer(201, {"token": f"fake.{subject}", "expires_at": expires_at})
        if derived_for is not None and not self._verdict(subject, derived_for)["allowed"]:
            return _problem(403, "purpose-closed", f"The gate of purpose {derived_for} is closed.")
        return _answer(200, {"stored": self._merge(subject, json.loads(content), derived_for)})

    def _merge(
        self, subject: str, changes: dict[str, dict[str, object] | None], derived_for: str | None
    ) -> list[str]:
        held = self._attributes.setdefault(subject, {})
        stored = []
        for category, fields in changes.items():
            for name in held.pop(category, {}) if fields is None else ():
                self._derived.pop((subject, category, name), None)
            for name, value in (fields or {}).items():
                held.setdefault(category, {}).pop(name, None)
                self._derived.pop((subject, category, name), None)
                if value is not None:
                    held[category][name] = value
                    stored.append(f"{category}.{name}")
                    if derived_for is not None:
                        self._derived[subject, category, name] = derived_for
        return stored

    def _held(self, subject: str) -> dict[str, dict[str, object]]:
        """Return what any purpose may read: nothing that was derived for one that is closed."""
        opened = {
            category: {
                name: value
                for name, value in fields.items()
                if (purpose := self._derived.get((subject, category, name))) is None
                or self._verdict(subject, purpose)["allowed"]
            }
            for category, fields in self._attributes.get(subject, {}).items()
        }
        return {category: fields for category, fields in opened.items() if fields}

    def _forget(self, subject: str, denied: Callable[[str], bool]) -> None:
        """Forget what was derived for purposes that were denied."""
        for place, purpose in list(self._derived.items()):
            if place[0] == subject and denied(purpose):
                del self._derived[place]
                self._attributes[subject][place[1]].pop(place[2], None)

    def _gate(self, subject: str, purposes: list[str]) -> Answer:
        verdicts = {purpose: self._verdict(subject, purpose) for purpose in purposes}
        return _answer(200, {"subject": f"s_{subject}", "verdicts": verdicts, "head": self._head})

    def _verdict(self, subject: str, purpose: str) -> dict[str, object]:
        consent = self._standing(subject).get(purpose)
        if not self._knows(purpose):
            reason = "purpose_unknown"
        elif consent is None:
            reason = "never_asked"
        else:
            reason = "granted" if consent["status"] in _GIVEN else str(consent["status"])
        rest = {name: consent[name] for name in ("valid_until", "index")} if consent else {}
        return {"allowed": reason == "granted", "reason": reason, "valid_until": None, "index": None, **rest}

    def _standing(self, subject: str) -> dict[str, dict[str, object]]:
        now = self._now()
        return {
            purpose: {**consent, "status": "expired"}
            if consent["status"] in _GIVEN and str(consent["valid_until"]) <= now
            else consent
            for purpose, consent in self._consents.get(subject, {}).items()
        }

    def _knows(self, purpose: str) -> bool:
        return self._purposes is None or purpose in self._purposes

    def _now(self) -> str:
        return _moment(self._clock.time())


def _moment(epoch: float) -> str:
    return datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")


def _epoch(consent: Mapping[str, object]) -> int:
    return int(datetime.fromisoformat(str(consent["valid_until"])).timestamp())


def _answer(status: int, body: object) -> Answer:
    return Answer(status, _JSON, json.dumps(body).encode())


def _problem(status: int, slug: str, detail: str) -> Answer:
    body = {"type": f"/problems/{slug}", "title": slug, "status": status, "detail": detail}
    return Answer(status, {"content-type": "application/problem+json"}, json.dumps(body).encode())
