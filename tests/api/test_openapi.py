"""The OpenAPI document is valid, complete and true."""

from typing import Any

import pytest

from consent_service.api.hot_routes import ENDPOINTS
from tests.service_api import ServiceApi

Document = dict[str, Any]
PROBLEM: Document = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
}


@pytest.fixture
def document(api: ServiceApi) -> Document:
    described: Document = api.client.get("/openapi.json").json()
    return described


def test_the_document_is_openapi_3_1(document: Document) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415  # two seconds, for one test

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
        described = PROBLEM if answer == {"$ref": "#/components/responses/Problem"} else answer
        form = next(iter(described["content"].values()))["schema"]["$ref"].rpartition("/")[2]
        assert schemas[form]["examples"], status


def test_every_example_has_the_form_that_it_stands_for(document: Document) -> None:
    import jsonschema  # noqa: PLC0415  # three seconds, for one test

    schemas = document["components"]["schemas"]
    shown = {name: schema["examples"] for name, schema in schemas.items() if "examples" in schema}

    assert {
        "PublishedAnswer",
        "HistoryAnswer",
        "ConsentsAnswer",
        "TokenAnswer",
        "AnonymousAnswer",
        "LinkAnswer",
        "InclusionAnswer",
        "ConsistencyAnswer",
    } <= shown.keys()
    for name, examples in shown.items():
        form = {"components": document["components"], "$ref": f"#/components/schemas/{name}"}
        for example in examples:
            jsonschema.validate(example, form, jsonschema.Draft202012Validator)
            if name.endswith("Answer"):  # What a route writes is all that its form knows, or optional.
                assert example.keys() <= schemas[name]["properties"].keys()


def test_every_operation_has_a_name_of_its_own_and_says_what_it_is(document: Document) -> None:
    operations = [each for methods in document["paths"].values() for each in methods.values()]

    names = [operation["operationId"] for operation in operations]

    assert len(names) == len(set(names))
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_every_operation_lists_its_statuses_and_a_refusal_is_a_problem(document: Document) -> None:
    assert document["components"]["responses"]["Problem"]["content"] == PROBLEM["content"]
    for methods in document["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            assert "default" not in responses
            assert "500" not in responses  # a bug of ours is nothing to rely on
            assert {"401", "403"} <= responses.keys() or operation["security"] == [{}]
            own = operation["tags"] == ["ofrep"]  # OFREP has failures of its own
            refusals = {answer.get("$ref") for status, answer in responses.items() if status >= "400"}
            assert own or refusals <= {"#/components/responses/Problem"}


def test_every_answer_in_json_has_a_form(document: Document) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for answer in operation["responses"].values():
                schema = answer.get("content", {}).get("application/json", {"schema": True})["schema"]
                assert schema, path


def test_every_link_leads_to_an_operation_and_fills_parameters_of_it(document: Document) -> None:
    operations = {
        each["operationId"]: each for methods in document["paths"].values() for each in methods.values()
    }
    links = [
        link
        for operation in operations.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]

    assert len(links) > 5
    for link in links:
        names = {parameter["name"] for parameter in operations[link["operationId"]]["parameters"]}
        assert {name.rpartition(".")[2] for name in link["parameters"]} <= names


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


def test_the_page_shows_names_in_its_texts_as_code(api: ServiceApi) -> None:
    page = api.client.get("/docs").text

    assert "in the one that fits <code>language</code>." in page
    assert "`" not in page


def test_what_the_page_needs_is_served_here(api: ServiceApi) -> None:
    assert 'href="/static/page.css"' in api.client.get("/docs").text
    assert api.client.get("/static/page.css").status_code == 200
