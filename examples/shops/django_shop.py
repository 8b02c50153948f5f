"""A shop on Django, in one file.

export CONSENT_URL=http://127.0.0.1:8000 CONSENT_API_KEY=ck_...
python -m examples.shops.django_shop runserver 8001
curl -H "X-Customer: ana" http://127.0.0.1:8001/

Or in ASGI, with the views that are coroutines:
uvicorn --factory examples.shops.django_shop:asgi --port 8001
curl -H "X-Customer: ana" http://127.0.0.1:8001/async
"""

import secrets
import sys

from consent_sdk import ConsentClient
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path

PAGE = """{% load consent %}\
{% consented "recommendations" %}chosen for {{ who }}{% else %}best sellers{% endconsented %}\
{% allows "coupons" as shown %}{% if shown %}, with coupons{% endif %}"""


def customer(request: HttpRequest) -> str | None:
    """Return who is asking; a real shop looks into its session."""
    return request.headers.get("X-Customer")


def home(request: HttpRequest) -> HttpResponse:
    """Show the page; the template asks."""
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"who": customer(request)}, request))


def coupons(request: HttpRequest) -> HttpResponse:
    """Say why; the view asks."""
    return HttpResponse(request.consent.check("coupons").reason)  # type: ignore[attr-defined]  # the middleware's


async def async_home(request: HttpRequest) -> TemplateResponse:
    """Show the page; Django renders it in a thread, where the template asks."""
    return TemplateResponse(request, engines["django"].from_string(PAGE), {"who": customer(request)})


async def async_coupons(request: HttpRequest) -> HttpResponse:
    """Say why; the view awaits the answer."""
    verdict = await request.consent.acheck("coupons")  # type: ignore[attr-defined]  # the middleware's
    return HttpResponse(verdict.reason)


urlpatterns = [
    path("", home),
    path("coupons", coupons),
    path("async", async_home),
    path("async/coupons", async_coupons),
]


def configure(client: str = "examples.shops.django_shop.a_client") -> None:
    """Set the settings; `client` is the dotted path of a `ConsentClient` or of what makes one."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CONSENT_CLIENT=client,
        CONSENT_SUBJECT="examples.shops.django_shop.customer",
        INSTALLED_APPS=["consent_sdk.django"],
        MIDDLEWARE=["consent_sdk.django.middleware.ConsentMiddleware"],
        ROOT_URLCONF="examples.shops.django_shop",
        SECRET_KEY=secrets.token_hex(),
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    )


def a_client() -> ConsentClient:
    """Return the client that the middleware asks."""
    return ConsentClient.from_env()


def asgi() -> ASGIHandler:
    """Return the application for an ASGI server."""
    configure()
    return get_asgi_application()


if __name__ == "__main__":
    configure()
    execute_from_command_line(sys.argv)
