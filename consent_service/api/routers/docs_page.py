"""The page at /docs, for people who want to look before they write a program."""

from typing import Final

from fastapi import APIRouter, Request, Response

from consent_service.web.api_reference import api_page

router = APIRouter(include_in_schema=False)
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


@router.get("/docs")
def docs(request: Request) -> Response:
    """Return the HTTP API as a page."""
    return Response(api_page(request.app.openapi()), media_type="text/html", headers=_HEADERS)
