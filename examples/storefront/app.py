"""The shop's pages: each personal block asks its gate, says why it is there, and has an impersonal twin."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from consent_sdk.banner import PageBanner
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader

from examples.storefront.catalogue import Catalogue, Customer
from examples.storefront.consent_desk import ConsentDesk
from examples.storefront.support import HISTORY, Conversation, hand_over, say
from examples.storefront.words import RIGHT_TO_LEFT, WORDS, best, spoken

_FOLDER = Path(__file__).parent
_SESSION = "shop-session"
_PAGES = ("/", "/coupons", "/support")


@dataclass(slots=True)
class Visit:
    """One browser session of the shop, in memory."""

    customer: Customer | None = None
    language: str = ""
    talk: Conversation = field(default_factory=Conversation)


def create_storefront(desk: ConsentDesk, catalogue: Catalogue) -> FastAPI:
    """Return the shop as an application."""
    app = FastAPI(title="Storefront", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    banner = PageBanner(desk.url, key=desk.browser_key, stylesheet="/banner.css")
    pages = Pages(desk=desk, catalogue=catalogue, banner=banner, languages=spoken(desk.languages()))
    app.add_api_route("/", pages.home, methods=["GET"])
    app.add_api_route("/banner.css", pages.banner_style, methods=["GET"])
    app.add_api_route("/coupons", pages.coupons, methods=["GET"])
    app.add_api_route("/support", pages.support, methods=["GET"])
    app.add_api_route("/support", pages.say, methods=["POST"])
    app.add_api_route("/sign-in", pages.sign_in, methods=["POST"])
    app.add_api_route("/language", pages.speak, methods=["POST"])
    return app


@dataclass(slots=True, kw_only=True)
class Pages:
    """Every page of the shop."""

    desk: ConsentDesk
    catalogue: Catalogue
    banner: PageBanner
    languages: Sequence[str]
    visits: dict[str, Visit] = field(default_factory=dict)
    templates: Environment = field(
        default_factory=lambda: Environment(loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True)
    )

    def home(self, request: Request) -> Response:
        """Show recommendations where they are allowed, best sellers where they are not."""
        visit = self._visit(request)
        profile = self._open(visit.customer, "recommendations")
        favourites = profile.get("purchases", {}).get("favourites", [])
        bought = visit.customer.bought if visit.customer else frozenset()
        shelf = self.catalogue.recommended(favourites, bought) if favourites else []
        return self._page(
            request,
            "home.html",
            personal=bool(shelf),
            shelf=shelf or self.catalogue.best_sellers(),
            reasons=self._reasons(request, "recommendations") if shelf else [],
        )

    def coupons(self, request: Request) -> Response:
        """Show coupons chosen for her where that is allowed, everybody's where it is not."""
        visit = self._visit(request)
        profile = self._open(visit.customer, "coupons")
        chosen = self.catalogue.coupons_for(profile.get("purchases", {}).get("favourites", []))
        return self._page(
            request,
            "coupons.html",
            personal=bool(chosen),
            shelf=chosen or self.catalogue.coupons_for_everybody(),
            reasons=self._reasons(request, "coupons") if chosen else [],
        )

    def banner_style(self) -> Response:
        """Serve the banner's style from the shop's own address: no page waits for somebody else's server."""
        return Response(self.banner.style(), media_type="text/css", headers={"Cache-Control": "max-age=300"})

    def support(self, request: Request) -> Response:
        """Show the conversation, and beside it what the human at the other end sees."""
        visit = self._visit(request)
        reasons = self._reasons(request, HISTORY) if visit.talk.agent_sees else []
        return self._page(request, "support.html", talk=visit.talk, reasons=reasons)

    async def say(self, request: Request) -> Response:
        """Take a message, or bring a human in."""
        visit = self._visit(request)
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        subject = visit.customer.subject if visit.customer else None
        if "human" in form:
            hand_over(self.desk, subject, visit.talk, WORDS[self._language(request)])
        elif text := form.get("text", [""])[0].strip()[:500]:
            say(self.desk, subject, visit.talk, text, WORDS[self._language(request)])
        return self._kept(request, visit, "/support")

    async def sign_in(self, request: Request) -> Response:
        """Sign in as one of the households, or out; a new customer starts a new conversation."""
        visit = self._visit(request)
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        wanted = form.get("household", [""])[0]
        visit.customer = next((c for c in self.catalogue.customers if str(c.household) == wanted), None)
        visit.talk = Conversation()
        if visit.customer and (anonymous := form.get("anonymous", [""])[0]):
            self.desk.link(visit.customer.subject, anonymous)
        return self._kept(request, visit, "/")

    async def speak(self, request: Request) -> Response:
        """Go on in another language, on the page she was on."""
        visit = self._visit(request)
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        visit.language = form.get("language", [""])[0]
        page = form.get("page", [""])[0]
        return self._kept(request, visit, page if page in _PAGES else "/")

    def _open(self, customer: Customer | None, purpose: str) -> Mapping[str, Any]:
        """Keep her purchases up to date in the sealed profile and open it for one purpose, if it may be."""
        if customer is None or not self.desk.allows(customer.subject, purpose):
            return {}
        own: dict[str, dict[str, Any]] = {"purchases": {"favourites": list(customer.favourites)}}
        if purpose == "coupons":
            own["household"] = customer.told
        self.desk.remember(customer.subject, own)
        return self.desk.profile(customer.subject, purpose)

    def _reasons(self, request: Request, purpose: str) -> list[str]:
        customer = self._visit(request).customer
        return (
            []
            if customer is None
            else list(self.desk.uses(customer.subject, purpose, self._language(request)))
        )

    def _language(self, request: Request) -> str:
        """Return the language she took, else the browser's, of those that the shop and the notice share."""
        wanted = [self._visit(request).language, *request.headers.get("accept-language", "").split(",")]
        return best(wanted, self.languages)

    def _visit(self, request: Request) -> Visit:
        """Return the visit of this browser; a new one is kept only once she signs in or writes."""
        return self.visits.get(request.cookies.get(_SESSION, "")) or Visit()

    def _kept(self, request: Request, visit: Visit, address: str) -> Response:
        session = request.cookies.get(_SESSION, "")
        if session not in self.visits:
            session = secrets.token_urlsafe(16)
        self.visits[session] = visit
        response = RedirectResponse(address, status_code=303)
        response.set_cookie(_SESSION, session, httponly=True, samesite="lax")
        return response

    def _page(self, request: Request, template: str, **values: Any) -> Response:
        visit = self._visit(request)
        language = self._language(request)
        text = self.templates.get_template(template).render(
            customer=visit.customer,
            customers=self.catalogue.customers,
            # What a signed-in customer chose is not in her browser's cookie: the script asks the ledger.
            banner=self.banner.markup(
                language=language,
                said=None if visit.customer else request.cookies.get("eu-consent", ""),
                gpc=request.headers.get("sec-gpc") == "1",
            ),
            token=self.desk.token(visit.customer.subject) if visit.customer else "",
            service=self.desk.public_url,
            key=self.desk.browser_key,
            path=request.url.path,
            language=language,
            direction="rtl" if language in RIGHT_TO_LEFT else "ltr",
            words=WORDS[language],
            others={tag: WORDS[tag]["own_name"] for tag in self.languages if tag != language},
            **values,
        )
        policy = (
            f"default-src 'none'; script-src 'self' {self.desk.public_url}; style-src 'self'; "
            f"connect-src {self.desk.public_url}; form-action 'self' {self.desk.public_url}; "
            "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        )
        return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})
