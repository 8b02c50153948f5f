"""A client bound to the subject of one request: what the web frameworks' integrations hand to views."""

from __future__ import annotations

from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from consent_sdk.client import ConsentClient


class RequestConsent:
    """Asks about the subject of one request; without one, everything is denied as `never_asked`.

    Nobody (None, an empty string) is a visitor; anything else that is no `str` is a mistake, which the client
    denies and logs once, or in strict mode raises.
    """

    __slots__ = ("_client", "subject")

    def __init__(self, client: ConsentClient, subject: str | None) -> None:
        self._client = client
        self.subject = None if subject == "" else subject

    def check(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose."""
        if self.subject is None:
            return Verdict.of(Reason.NEVER_ASKED)
        return self._client.check(self.subject, purpose)

    def check_at_once(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose without waiting: who is not known yet is denied."""
        if self.subject is None:
            return Verdict.of(Reason.NEVER_ASKED)
        return self._client.check_at_once(self.subject, purpose)

    async def check_async(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose, without holding up the event loop."""
        if self.subject is None:
            return Verdict.of(Reason.NEVER_ASKED)
        return await self._client.check_async(self.subject, purpose)

    def allows(self, purpose: str) -> bool:
        """Return whether the subject's data may be used for a purpose, now."""
        return self.subject is not None and self._client.allows(self.subject, purpose)

    def report_use(self, purpose: str, *, feature: str) -> None:
        """Report that a feature used the subject's data."""
        if self.subject is not None:
            self._client.report_use(self.subject, purpose, feature=feature)

    def __repr__(self) -> str:
        return "<RequestConsent>"
