"""A small shop on its own origin: pages that carry the banner, and sentinels that count requests."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from consent_service.api.app import create_app
from consent_service.domain.notice import Notice
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.settings import Settings
from tests.browser.serving import served
from tests.builders import a_notice
from tests.servers import unused_port

FILLER = "".join(
    f'<p><a href="#{n}">Product {n}</a> is on this shelf, beside others of its kind.</p>' for n in range(40)
)
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A page as the shop serves it."""

    body: str
    headers: Mapping[str, str]


@dataclass(kw_only=True)
class Shop:
    """Serves the documents it was told; every test gets a tenant of its own when it changes the notice.

    Its origin is that of several tenants from the start, so that the layout is always a request of its own;
    `alone` is a shop with one tenant, whose layout comes with the script.
    """

    service: ConsentService
    service_url: str
    port: int
    alone: bool = False
    documents: dict[str, Document] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tenant: Tenant = field(init=False)
    key: str = field(init=False)
    published: PublishedNotice = field(init=False)

    def __post_init__(self) -> None:
        """Publish the example notice."""
        if not self.alone:
            self.open_tenant(a_notice())
        self.open_tenant(a_notice())
        self._standard = (self.tenant, self.key, self.published)

    @property
    def origin(self) -> str:
        """The shop's web origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def app(self) -> Starlette:
        """The shop as an ASGI application."""
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    def reset(self) -> None:
        """Forget the last test."""
        self.documents.clear()
        self.asked.clear()
        self.tenant, self.key, self.published = self._standard

    def open_tenant(self, notice: Notice, *, origins: tuple[str, ...] = ()) -> None:
        """Take a fresh tenant with this notice for the pages from now on."""
        self.tenant = create_tenant(self.service.deployment, f"shop-{next(_NUMBERS)}")
        key = create_api_key(
            self.service.deployment, self.tenant, Role.BROWSER, origins=[self.origin, *origins]
        )
        self.key = key.key
        self.publish(notice)

    def publish(self, notice: Notice) -> None:
        """Publish a notice for the current tenant."""
        published = self.service.committer.submit_blocking(self.tenant, PublishNotice(notice=notice))
        assert isinstance(published, PublishedNotice)
        self.published = published

    def script(self, name: str = "banner.js", *, defer: bool = True, **attributes: str) -> str:
        """Return a script element of the service."""
        path = name if name == "banner.js" else f"static/{name}"
        said = "".join(
            f' data-{key.replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
        )
        own = f' data-key="{self.key}"' if name == "banner.js" else ""
        return f'<script src="{self.service_url}/{path}"{own}{said}{" defer" if defer else ""}></script>'

    def page(
        self,
        path: str = "/",
        *,
        head: str | None = None,
        body: str = FILLER,
        first: str = "",
        lang: str = "en",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Serve a document with the banner and return its address."""
        direction = "rtl" if lang in {"ar", "he"} else "ltr"
        text = (
            f'<!doctype html><html lang="{lang}" dir="{direction}"><head><title>Shop</title>'
            '<meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"{self.script() if head is None else head}</head>"
            f"<body>{first}<main><h1>Shop</h1>{body}</main></body></html>"
        )
        self.documents[path] = Document(body=text, headers=dict(headers or {}))
        return f"{self.origin}{path}"

    def sentinel(self, name: str) -> str:
        """Return the address of a tracker; `asked` says whether it was requested."""
        return f"{self.origin}/sentinel/{name}"

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        if path.startswith("/sentinel/"):
            text = f"document.documentElement.dataset.ran = '{path.rpartition('/')[2]}';"
            return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-store"})
        document = self.documents.get(path)
        if document is None:
            return Response(status_code=204)
        return HTMLResponse(document.body, headers={"Cache-Control": "no-store", **document.headers})


@contextmanager
def open_shop(home: Path, *, alone: bool = False) -> Iterator[Shop]:
    """Serve a service from an empty folder, and a shop whose pages carry its banner."""
    app = create_app(Settings(home=home))
    with served(app, unused_port()) as service_url:
        shop = Shop(service=app.state.service, service_url=service_url, port=unused_port(), alone=alone)
        with served(shop.app, shop.port):
            yield shop
