"""Conditional requests (RFC 9110, section 13): what the caller has already is not sent again."""

from fastapi import Request


def unchanged(request: Request, tag: str) -> bool:
    """Return whether an `If-None-Match` header of the request names this ETag (section 13.1.2)."""
    values = request.headers.getlist("if-none-match")
    named = [part.strip() for value in values for part in value.split(",")]
    return any(part == "*" or part.removeprefix("W/") == tag for part in named)
