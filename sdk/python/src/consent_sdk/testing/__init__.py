"""Test your shop without a consent service: `FakeConsent` is the real client over a service in memory."""

from __future__ import annotations

from consent_sdk.client import ConsentClient
from consent_sdk.testing._clock import SettableClock
from consent_sdk.testing._service import ServiceInMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FakeConsent", "SettableClock"]


class FakeConsent(ConsentClient):
    """A `ConsentClient` whose service is a dictionary: same code, same verdicts, no network.

    `grants` is subject to granted purposes; everybody else was never asked. With `purposes`, every other
    one is unknown, which raises `UnknownPurpose` here and denies in production; without, any purpose exists.
    Grants last 180 days of `clock`.
    """

    def __init__(
        self,
        grants: Mapping[str, Iterable[str]] | None = None,
        *,
        purposes: Iterable[str] | None = None,
        clock: SettableClock | None = None,
    ) -> None:
        super().__init__("http://consent.invalid", api_key="ck_fake", strict=True)
        self.clock = clock or SettableClock()
        self._service = ServiceInMemory(self.clock, purposes)
        self._http = self._service  # type: ignore[assignment]  # the other implementation of send and close
        for subject, granted in (grants or {}).items():
            self.grant(subject, *granted)

    def grant(self, subject: str, *purposes: str) -> None:
        """Let the subject grant these purposes now."""
        self._service.record(subject, dict.fromkeys(purposes, "granted"))

    def withdraw(self, subject: str, *purposes: str) -> None:
        """Let the subject deny these purposes now: withdrawn where they were granted, refused otherwise."""
        self._service.record(subject, dict.fromkeys(purposes, "denied"))

    def go_down(self) -> None:
        """Stop answering, as a dead service does."""
        self._service.down = True

    def come_back(self) -> None:
        """Answer again."""
        self._service.down = False
