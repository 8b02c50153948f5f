"""Flask: an extension that asks about the subject of the request. Needs the extra `consent-sdk[flask]`.

consent = Consent(app, client, subject=lambda: session.get("customer"))

@app.get("/")
def home(): return "for you" if consent.allows("recommendations") else "best sellers"
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from flask import current_app

from consent_sdk._bound import RequestConsent
from consent_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from consent_sdk.client import ConsentClient
    from consent_sdk.verdict import Verdict

    View = TypeVar("View", bound=Callable[..., object])

__all__ = ["Consent"]

_NAME = "consent"


class Consent:
    """The extension. `subject` gives the subject of the request at hand, None for a visitor nobody knows.

    Raises `ConfigurationError` where some of the three are given and not all.

    Templates get `consent`: `{% if consent.allows("coupons") %}`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        client: ConsentClient | None = None,
        *,
        subject: Callable[[], str | None] | None = None,
    ) -> None:
        if app is not None and client is not None and subject is not None:
            self.init_app(app, client, subject=subject)
        elif (app, client, subject) != (None, None, None):
            raise ConfigurationError("Consent takes an app, a client and a subject, or none before init_app.")

    def init_app(self, app: Flask, client: ConsentClient, *, subject: Callable[[], str | None]) -> None:
        """Make the extension ask `client` in this application."""
        app.extensions[_NAME] = (client, subject)
        app.context_processor(lambda: {_NAME: self})

    def check(self, purpose: str) -> Verdict:
        """Return the verdict on a purpose for the subject of this request."""
        return self._bound().check(purpose)

    def allows(self, purpose: str) -> bool:
        """Return whether the data of the subject of this request may be used for a purpose, now."""
        return self._bound().allows(purpose)

    def report_use(self, purpose: str, *, feature: str) -> None:
        """Report that a feature used the data of the subject of this request."""
        self._bound().report_use(purpose, feature=feature)

    def personalized(self, purpose: str, *, fallback: Callable[..., object]) -> Callable[[View], View]:
        """Decorate a view: it runs where the purpose is allowed, `fallback` does for everybody else.

        Either may be a coroutine function, which Flask runs on an event loop of its own.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: object, **kwargs: object) -> object:
                if not self.allows(purpose):
                    return current_app.ensure_sync(fallback)(*args, **kwargs)
                self.report_use(purpose, feature=view.__name__)
                return current_app.ensure_sync(view)(*args, **kwargs)

            return wrapper  # type: ignore[return-value]  # it takes and gives what the view does

        return decorate

    def _bound(self) -> RequestConsent:
        client, subject = current_app.extensions[_NAME]
        return RequestConsent(client, subject())
