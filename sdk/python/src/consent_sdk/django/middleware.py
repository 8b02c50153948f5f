"""Middleware that hands views a client bound to the subject of the request."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from consent_sdk.client import ConsentClient
from consent_sdk.django.request import DjangoConsent, SubjectOf


class ConsentMiddleware:
    """Sets `request.consent`, a `DjangoConsent`; who the subject is, is found when it is first asked.

    Works in WSGI and in ASGI. Raises `ImproperlyConfigured` for settings that name nothing of use.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], object]) -> None:
        self._get_response = get_response
        self._client = _client()
        self._subject_of = _subject_of()
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Bind the client, and go on."""
        request.consent = DjangoConsent(self._client, request, self._subject_of)  # type: ignore[attr-defined]  # ours
        return self._get_response(request)  # type: ignore[return-value]  # one or the other, as Django made it


def _client() -> ConsentClient:
    named = _named("CONSENT_CLIENT")
    client = named() if callable(named) else named
    if not isinstance(client, ConsentClient):
        raise ImproperlyConfigured("CONSENT_CLIENT must name a ConsentClient or a function that gives one.")
    return client


def _subject_of() -> SubjectOf:
    named = _named("CONSENT_SUBJECT")
    if not callable(named):
        raise ImproperlyConfigured("CONSENT_SUBJECT must name a function of the request.")
    return named


def _named(setting: str) -> object:
    path = getattr(settings, setting, None)
    if not isinstance(path, str):
        raise ImproperlyConfigured(f"{setting} must be the dotted path of what it names.")
    named: object = import_string(path)
    return named
