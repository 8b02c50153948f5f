"""The page at /docs: the OpenAPI document for people, without script and without anybody else's server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent_service.web.layout import pages

Document = Mapping[str, Any]
"""An OpenAPI document or a part of it."""


Prose = Sequence[tuple[str, bool]]
"""A text in pieces, each with whether it is code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One body in one form, as it could be sent or answered."""

    title: str
    media_type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """One method of one address."""

    anchor: str
    method: str
    path: str
    summary: str
    description: Prose
    callers: str
    parameters: Sequence[tuple[str, str, Prose]]
    examples: Sequence[Example]


def api_page(document: Document) -> str:
    """Return the page of an OpenAPI document: operations by tag, in the document's order."""
    groups: dict[str, list[OperationView]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = str(operation.get("tags", ["other"])[0])
            groups.setdefault(tag, []).append(_view(document, method, path, operation))
    template = pages().get_template("api_reference.html")
    return template.render(
        title=document["info"]["title"], summary=document["info"].get("summary", ""), groups=groups
    )


def _view(document: Document, method: str, path: str, operation: Document) -> OperationView:
    return OperationView(
        anchor=str(operation["operationId"]),
        method=method.upper(),
        path=path,
        summary=str(operation.get("summary", "")),
        description=_prose(operation.get("description", "")),
        callers=_callers(operation.get("security", [])),
        parameters=[
            (str(parameter["name"]), str(parameter["in"]), _prose(parameter.get("description", "")))
            for parameter in operation.get("parameters", [])
        ],
        examples=list(_examples(document, operation)),
    )


def _prose(text: str) -> Prose:
    """Return a text by its backticks: every second piece is code."""
    return [(piece, bool(place % 2)) for place, piece in enumerate(text.split("`")) if piece]


def _callers(security: Sequence[Mapping[str, Sequence[str]]]) -> str:
    if not security or {} in security:
        return "everybody" if not security else "everybody, where the settings or the address allow it"
    return ", ".join(role for requirement in security for roles in requirement.values() for role in roles)


def _examples(document: Document, operation: Document) -> Iterator[Example]:
    body = operation.get("requestBody")
    if body is not None:
        yield from _content(document, "Request", body.get("content", {}))
    for status, answer in operation["responses"].items():
        yield from _content(document, f"Answer {status}", answer.get("content", {}))


def _content(document: Document, title: str, content: Mapping[str, Document]) -> Iterator[Example]:
    for media_type, form in content.items():
        shown = form.get("example")
        if shown is None:
            shown = next(iter(_resolved(document, form.get("schema", {})).get("examples", [])), None)
        if shown is not None:
            text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
            yield Example(title=title, media_type=media_type, text=text)


def _resolved(document: Document, schema: Document) -> Document:
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Document = document["components"]["schemas"].get(reference, schema)
    return found
