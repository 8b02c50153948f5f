"""The OpenAPI 3.1 document: what FastAPI knows, the hot routes, and who may call what.

An operation's `security` names the roles that may call it (OpenAPI 3.1, section 4.8.30); an empty requirement
beside it means that everybody may. An admin may call whatever a backend or an auditor may.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from consent_service.api.callers import Access, access_of, subject_of
from consent_service.api.hot_routes import ACCESS, ENDPOINTS, Endpoint
from consent_service.api.schemas import DecisionBody, GateAnswer, GateBody, ProblemBody, Recorded
from consent_service.operations.credentials import SUBJECT_ROLE
from consent_service.operations.manage_tenants import Role

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key `ck_…`, a publishable key `pk_…` or a subject token.",
}
_HEADERS = {
    "Consent-Subject": "The subject's identifier, percent-encoded UTF-8. Not with a subject token.",
    "Idempotency-Key": "A fresh value per act: a retry with the same key is recorded once.",
    "Sec-GPC": "The browser's Global Privacy Control signal, passed on.",
}
_HOT: Mapping[str, tuple[type[BaseModel], type[BaseModel], str, str, Sequence[str]]] = {
    "/v1/decisions": (
        DecisionBody,
        Recorded,
        "201",
        "Record a decision",
        ("Consent-Subject", "Idempotency-Key", "Sec-GPC"),
    ),
    "/v1/gate": (GateBody, GateAnswer, "200", "Ask the gate", ("Consent-Subject", "Sec-GPC")),
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
    schemas = components.setdefault("schemas", {})
    _add_schema(schemas, ProblemBody)
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
            operation["responses"].pop("422", None)  # FastAPI's own form, which nobody gets to see.
            operation["responses"].setdefault("default", _PROBLEM)
    return described


def _hot_operation(schemas: dict[str, Any], path: str, endpoint: Endpoint) -> dict[str, Any]:
    body, answer, status, summary, headers = _HOT[path]
    _add_schema(schemas, body)
    _add_schema(schemas, answer)
    return {
        "tags": ["decisions" if path.endswith("decisions") else "gate"],
        "summary": summary,
        "description": (endpoint.__doc__ or "").partition(": ")[2],
        "operationId": endpoint.__name__,
        "security": _security(ACCESS[path]),
        "parameters": [_header(name) for name in headers],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(body)}}},
        "responses": {
            status: {"description": "Done", "content": {"application/json": {"schema": _ref(answer)}}}
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
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _HEADERS[name],
        "schema": {"type": "string"},
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
