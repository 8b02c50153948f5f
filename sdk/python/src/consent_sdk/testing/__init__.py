"""Test your shop without a consent service: `FakeConsent` is the real client over a service in memory."""

from __future__ import annotations

import json

from consent_sdk._client import Client, some_options
from consent_sdk._clock import Clock
from consent_sdk._intake import Intake
from consent_sdk._stream import Header
from consent_sdk.client import ConsentClient
from consent_sdk.protocol import encode_subject
from consent_sdk.testing._clock import SettableClock
from consent_sdk.testing._service import ServiceInMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

__all__ = ["FakeConsent", "SettableClock"]

_MAX_STALENESS_S = 5.0


class FakeConsent(ConsentClient):
    """A `ConsentClient` over a service in memory: same copy, lease, gates and verdicts, no network.

    `grants` is subject to granted purposes; everybody else was never asked. With `purposes`, every other
    one is unknown, which raises `UnknownPurpose` here and denies in production; without, any purpose
    exists. Grants last 180 days of `clock`, whose time passes only when a test says so.
    """

    def __init__(
        self,
        grants: Mapping[str, Iterable[str]] | None = None,
        *,
        purposes: Iterable[str] | None = None,
        clock: SettableClock | None = None,
    ) -> None:
        self.clock = clock or SettableClock()
        known = None if purposes is None else frozenset(purposes)
        self._service = ServiceInMemory(self.clock, known)
        self._http = self._service  # type: ignore[assignment]  # the other implementation of send and close
        options = some_options(
            "sse",
            Clock(self.clock.monotonic, self.clock.time),
            max_staleness=_MAX_STALENESS_S,
            preload=True,
            cache_size=100_000,
            timeout=1.0,
            miss_timeout=0.0,
        )
        Client.__init__(self, self._http, options, strict=True)
        # Its stream is fed below, by hand.
        self._keeper.follower.stop()
        copy = self._keeper.copy
        copy.load(
            Header(head=0, purposes=known, ref_key=b""), (), lambda subject: f"s_{encode_subject(subject)}"
        )
        self._intake = Intake(copy, self._keeper.notify, opened=self.clock.monotonic())
        self._service.on_entry = self._send_change
        self.clock.when_moved(self._send_head)
        self._send_head()
        for subject, granted in (grants or {}).items():
            self.grant(subject, *granted)

    @classmethod
    def from_env(cls) -> Self:
        """Return a fake in which nobody was asked yet: it needs no environment."""
        return cls()

    def grant(self, subject: str, *purposes: str) -> None:
        """Let the subject grant these purposes now."""
        self._service.record(subject, dict.fromkeys(purposes, "granted"))

    def withdraw(self, subject: str, *purposes: str) -> None:
        """Let the subject deny these purposes now: withdrawn where they were granted, refused otherwise."""
        self._service.record(subject, dict.fromkeys(purposes, "denied"))

    def go_down(self) -> None:
        """End the stream and answer nothing: what is known stands for five seconds more."""
        self._service.down = True

    def go_stale(self) -> None:
        """Go down and let those five seconds pass: everything is denied."""
        self.go_down()
        self.clock.advance(_MAX_STALENESS_S)

    def come_back(self) -> None:
        """Answer again, with everything that was missed."""
        self._service.down = False
        for index, subject in self._missed():
            self._send_change(index, subject)
        self._send_head()

    def set_profile(self, subject: str, attributes: Mapping[str, object]) -> None:
        """Let `profile` give these attributes, category to field to value, where its gate is open."""
        self._service.set_profile(encode_subject(subject), attributes)

    @property
    def uses(self) -> list[dict[str, object]]:
        """The uses that were reported: subject, purpose, feature, times."""
        self._uses.flush()
        return list(self._service.uses)

    def _missed(self) -> list[tuple[int, str]]:
        seen = self._keeper.copy.cursor
        return [entry for entry in self._service.entries if seen is None or entry[0] > seen]

    def _send_change(self, index: int, subject: str) -> None:
        body = {"subject": f"s_{subject}", "consents": self._service.states(subject)}
        self._send(f"id: {index}\nevent: change\ndata: {json.dumps(body)}\n\n")

    def _send_head(self) -> None:
        self._send(f'event: head\ndata: {{"index": {self._service.head - 1}}}\n\n')

    def _send(self, event: str) -> None:
        if not self._service.down:
            self._intake.take(event.encode(), received=self.clock.monotonic())
