"""The page at /verify: a browser checks an audit pack or a receipt, and sends nothing anywhere."""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

from consent_service.api.routers.browser import Languages, static_hash
from consent_service.web.verifying import verify_page

router = APIRouter(include_in_schema=False)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "Vary": "Accept-Language"}


@router.get("/verify")
def verify(request: Request, language: Languages = "") -> Response:
    """Return the page, in one of its languages."""
    wanted = f"{language},{request.headers.get('accept-language', '')}"
    taken, text = verify_page(wanted, script=_hashed("verify"), worker=_hashed("verify-worker"))
    return Response(text, media_type="text/html", headers={**_HEADERS, "Content-Language": taken})


@router.get("/verify/verify.py")
def program() -> Response:
    """Return the same verifier as a program in one file."""
    source = files("consent_service.verifier").joinpath("verify.py").read_bytes()
    return Response(source, media_type="text/x-python", headers={"Cache-Control": "no-cache"})


def _hashed(name: str) -> str:
    return f"/static/{name}.{static_hash(f'{name}.js')}.js"
