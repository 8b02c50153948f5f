"""The OpenAPI document is valid, complete and true."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from consent_service.api.hot_routes import ENDPOINTS
from tests.service_api import ServiceApi

Document = dict[str, Any]


@pytest.fixture
def document(api: ServiceApi) -> Document:
    described: Document = api.client.get("/openapi.json").json()
    return described


def test_the_document_is_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_the_hot_routes_are_described_with_examples(document: Document, method: str, path: str) -> None:
    operation = document["paths"][path][method.lower()]
    schemas = document["components"]["schemas"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]

    assert operation["security"]
    assert {"name": "Consent-Subject", "in": "header"}.items() <= operation["parameters"][0].items()
    assert schemas[body]["examples"]
    for status, answer in operation["responses"].items():
        form = next(iter(answer["content"].values()))["schema"]["$ref"].rpartition("/")[2]
        assert schemas[form]["examples"], status


def test_every_operation_has_a_name_of_its_own_and_says_what_a_problem_looks_like(document: Document) -> None:
    operations = [each for methods in document["paths"].values() for each in methods.values()]

    names = [operation["operationId"] for operation in operations]

    assert len(names) == len(set(names))
    assert all("application/problem+json" in each["responses"]["default"]["content"] for each in operations)
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_the_examples_are_taken_by_the_service(api: ServiceApi, document: Document) -> None:
    schemas = document["components"]["schemas"]
    decision = {**schemas["DecisionBody"]["examples"][0], "notice": api.notice}

    recorded = api.post("/v1/decisions", decision, "customer-of-the-example")
    verdict = api.post("/v1/gate", schemas["GateBody"]["examples"][0], "customer-of-the-example")

    assert recorded.json().keys() == schemas["Recorded"]["examples"][0].keys()
    assert verdict.json().keys() == schemas["GateAnswer"]["examples"][0].keys()
    assert verdict.json()["verdicts"]["recommendations"]["allowed"] is True


def test_every_route_about_a_subject_names_the_header(document: Document) -> None:
    about = [
        ("get", "/v1/consents"),
        ("get", "/v1/decisions"),
        ("delete", "/v1/subject"),
        ("post", "/v1/subject/link"),
    ]

    for method, path in about:
        names = [parameter["name"] for parameter in document["paths"][path][method]["parameters"]]
        assert "Consent-Subject" in names


def test_the_page_shows_every_operation_without_script_and_without_foreign_requests(
    api: ServiceApi, document: Document
) -> None:
    response = api.client.get("/docs")

    page = response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page.replace("https://…", "")
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page


def test_what_the_page_needs_is_served_here(api: ServiceApi) -> None:
    assert 'href="/static/page.css"' in api.client.get("/docs").text
    assert api.client.get("/static/page.css").status_code == 200
