"""The OpenAPI 3.1 document: what FastAPI knows, the hot routes, and who may call what.

An operation's `security` names the roles that may call it (OpenAPI 3.1, section 4.8.30); an empty requirement
beside it means that everybody may. An admin may call whatever a backend or an auditor may.

An operation lists every status that it answers with: its route names those of its own (`answers`), and what
all of a kind have in common is added here: who may call, what can be wrong with parameters and bodies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from consent_service.api.answers import PROBLEM, link
from consent_service.api.callers import Access, access_of, subject_of
from consent_service.api.hot_routes import ACCESS, ENDPOINTS, Endpoint
from consent_service.api.schemas import BatchLine, DecisionBody, GateAnswer, GateBody, ProblemBody, Recorded
from consent_service.operations.credentials import SUBJECT_ROLE
from consent_service.operations.manage_tenants import Role

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key `ck_…`, a publishable key `pk_…` or a subject token.",
}
_HEADERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Consent-Subject": (
        "The subject's identifier, percent-encoded UTF-8. Not with a subject token.",
        {"maxLength": 4096, "pattern": "^([ -$&-~]|%[0-9A-Fa-f]{2})+$", "examples": ["customer-42"]},
    ),
    "Idempotency-Key": (
        "A fresh value per act: a retry with the same key is recorded once.",
        {"maxLength": 255, "pattern": "^[ -~]+$"},
    ),
    "Sec-GPC": ("The browser's Global Privacy Control signal, passed on.", {"examples": ["1"]}),
}
_SAME_SUBJECT = {"header.Consent-Subject": "$request.header.Consent-Subject"}
_NEXT = {
    "receipt": link("get_receipt", index="$response.body#/index", **_SAME_SUBJECT),
    "consents": link("get_consents", **_SAME_SUBJECT),
    "history": link("get_decisions", **_SAME_SUBJECT),
    "personal data": link("get_personal_data", **_SAME_SUBJECT),
    "gate": link("post_gate", **_SAME_SUBJECT),
    "inclusion": link("get_inclusion", index="$response.body#/index"),
    "erasure": link("delete_subject", **_SAME_SUBJECT),
}
"""Where a recorded decision leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _HotRoute:
    """What the document says about a route that FastAPI does not know."""

    body: type[BaseModel]
    answer: type[BaseModel]
    status: str
    summary: str
    headers: Sequence[str]
    problems: Sequence[str] = ()
    links: Mapping[str, Any] = field(default_factory=dict)


_HOT: Mapping[str, _HotRoute] = {
    "/v1/decisions": _HotRoute(
        body=DecisionBody,
        answer=Recorded,
        status="201",
        summary="Record a decision",
        headers=("Consent-Subject", "Idempotency-Key", "Sec-GPC"),
        problems=("404", "409"),
        links=_NEXT,
    ),
    "/v1/gate": _HotRoute(
        body=GateBody,
        answer=GateAnswer,
        status="200",
        summary="Ask the gate",
        headers=("Consent-Subject", "Sec-GPC"),
    ),
}
_PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
}


def document(app: FastAPI, routers: Iterable[APIRouter], *, ledger_public: bool) -> dict[str, Any]:
    """Return the document of an application made of these routers and the hot routes."""
    described = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    components = described.setdefault("components", {})
    components["securitySchemes"] = {"bearer": _BEARER}
    components["responses"] = {"Problem": _PROBLEM}
    schemas = components.setdefault("schemas", {})
    _add_schema(schemas, ProblemBody)
    _add_schema(schemas, BatchLine)
    for (method, path), endpoint in ENDPOINTS.items():
        described["paths"].setdefault(path, {})[method.lower()] = _hot_operation(schemas, path, endpoint)
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                access = access_of(route)
                for method in route.methods or ():
                    operation = described["paths"][route.path_format][method.lower()]
                    operation["security"] = _security(access, ledger_public=ledger_public)
                    if subject_of.__name__ in route.endpoint.__code__.co_names:
                        operation.setdefault("parameters", []).append(_header("Consent-Subject"))
    for operations in described["paths"].values():
        for operation in operations.values():
            _add_problems(operation)
    for left_out in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which nobody gets to see.
        schemas.pop(left_out, None)
    return described


def _add_problems(operation: dict[str, Any]) -> None:
    """Add the problems that every operation of its kind may answer with."""
    responses = operation["responses"]
    if "422" in responses and "$ref" not in responses["422"]:
        del responses["422"]  # FastAPI's own form, which nobody gets to see.
    statuses = {"503"} if operation["operationId"] != "health" else set()
    if any(operation["security"]):
        statuses |= {"401", "403"}
    if operation.get("parameters"):
        statuses |= {"400", "422"}
    if "requestBody" in operation:
        statuses |= {"400", "413", "415", "422"}
    for status in sorted(statuses):
        responses.setdefault(status, PROBLEM)


def _hot_operation(schemas: dict[str, Any], path: str, endpoint: Endpoint) -> dict[str, Any]:
    route = _HOT[path]
    _add_schema(schemas, route.body)
    _add_schema(schemas, route.answer)
    done = {"description": "Done", "content": {"application/json": {"schema": _ref(route.answer)}}}
    return {
        "tags": ["decisions" if path.endswith("decisions") else "gate"],
        "summary": route.summary,
        "description": (endpoint.__doc__ or "").partition(": ")[2],
        "operationId": endpoint.__name__,
        "security": _security(ACCESS[path]),
        "parameters": [_header(name) for name in route.headers],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(route.body)}}},
        "responses": {
            route.status: {**done, "links": dict(route.links)} if route.links else done,
            **dict.fromkeys(route.problems, PROBLEM),
        },
    }


def _security(access: Access, *, ledger_public: bool = False) -> list[dict[str, list[str]]]:
    may = set(access.roles)
    if may & {Role.BACKEND, Role.AUDITOR}:
        may.add(Role.ADMIN)
    roles = [role for role in (*map(str, Role), SUBJECT_ROLE) if role in may]
    requirements: list[dict[str, list[str]]] = [{"bearer": roles}] if roles else []
    public = access.everybody or (access.by_setting and ledger_public)
    return [*requirements, {}] if public else requirements


def _add_schema(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema


def _header(name: str) -> dict[str, Any]:
    description, schema = _HEADERS[name]
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
