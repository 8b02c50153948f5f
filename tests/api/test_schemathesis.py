"""Schemathesis asks every route whatever the OpenAPI document allows, and a lot that it does not.

No answer may be a 5xx, have a status that its operation does not list, or a form that it does not describe;
members that are not described are none. Where the document links one operation to the next, the answers are
followed. `make soak` asks more.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from consent_service.operations.manage_tenants import Role, create_api_key
from tests.followers.following import Place
from tests.installation import check_ledger
from tests.servers import ConsentServer
from tests.size import size

EXAMPLES, SEQUENCES = size(2, 400), size(10, 400)
MANY = 10
"""Entries that a run leaves behind at least: what it sent was not only refused."""
NOTICE = Path(__file__).parents[2] / "examples" / "notice.yaml"
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
ENDLESS = ("/v1/stream", "/ofrep/v1/stream")
"""What does not end by itself; tests/followers and tests/api/test_access.py ask these."""

OF_NO_SUBJECT = {("get", "/v1/audit/export"), ("get", "/v1/receipts/{index}"), ("post", "/v1/uses")}
"""What needs no subject of the request: it is about all, about one entry, or each use names its own."""

Document = dict[str, Any]


@pytest.fixture
def place(migrated_url: str, tmp_path: Path) -> Iterator[Place]:
    """A shop."""
    place = Place(migrated_url, tmp_path)
    yield place
    place.close()


def tailored(document: Document, notice: str, purposes: list[str]) -> Document:
    """The document as of this shop: its notice and purposes by name, a batch line by line.

    Where a subject is needed, the header is. No answer may have members that are not described.
    """
    schemas = document["components"]["schemas"]
    asked = {name for name in schemas if name.endswith(("Body", "Line"))}
    for name in schemas.keys() - asked:
        if schemas[name].get("type") == "object" and "properties" in schemas[name]:
            schemas[name]["additionalProperties"] = False
    for decision in (schemas["DecisionBody"], schemas["BatchLine"]):
        decision["properties"]["notice"] |= {"enum": [notice]}
        decision["properties"]["choices"]["propertyNames"] = {"enum": purposes}
        decision["examples"][0] |= {"notice": notice, "decided_at": None}
    paths = document["paths"]
    batch = paths["/v1/decisions/batch"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    del batch["example"]
    line = {"$ref": "#/components/schemas/BatchLine"}
    batch["schema"] = {"type": "array", "minItems": 1, "maxItems": 5, "items": line}
    publication = paths["/v1/notice"]["put"]["requestBody"]["content"]
    publication["application/yaml"]["example"] = NOTICE.read_text()
    tile = paths["/v1/ledger/tile/{path}"]["get"]["parameters"][0]
    tile["schema"]["examples"] = ["entries/000.p/1", "0/000.p/1"]
    for method, path in ((method, path) for path, methods in paths.items() for method in methods):
        for parameter in paths[path][method].get("parameters", ()):
            needed = parameter["name"] == "Consent-Subject" and (method, path) not in OF_NO_SUBJECT
            parameter["required"] |= needed
    return document


def configuration(place: Place, browser: str) -> str:
    """Which credential each operation gets, and what a request of the documented form is refused with.

    A body that has the documented form is never 422. A bad line of a batch is a line of its answer.
    """
    admin = place.new_key(Role.ADMIN)
    lines = [
        f'hooks = "{HOOKS}"',
        f'headers = {{ Authorization = "Bearer {admin}" }}',
        f'parameters = {{ "query.key" = "{browser}" }}',
        "[checks.positive_data_acceptance]",
        'expected-statuses = ["2xx", 304, 400, 401, 403, 404, 406, 409]',
        "[phases.stateful.generation]",
        f"max-examples = {SEQUENCES}",
        "[[operations]]",
        'include-path = "/v1/subject/anonymous"',
        f'headers = {{ Authorization = "Bearer {browser}" }}',
        "[[operations]]",
        'include-path = "/v1/decisions/batch"',
        "[operations.checks.negative_data_rejection]",
        "expected-statuses = [200, 400, 413, 422]",
    ]
    return "\n".join(lines)


def test_no_answer_leaves_the_openapi_document(place: Place, tmp_path: Path) -> None:
    browser = create_api_key(
        place.service.deployment, place.tenant, Role.BROWSER, origins=("https://shop.example",)
    ).key
    with place.serve() as server:
        document = httpx2.get(f"{server.url}/openapi.json").json()
        notice = httpx2.get(f"{server.url}/v1/notice").json()
        (tmp_path / "shop.json").write_text(
            json.dumps(tailored(document, notice["digest"], list(notice["notice"]["purposes"])))
        )
        (tmp_path / "schemathesis.toml").write_text(configuration(place, browser))
        ran = asked(server, tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr + server.output()
    assert all(f"✅ {phase}" in ran.stdout for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"))
    assert check_ledger(place.service)[0].size > MANY


def asked(server: ConsentServer, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Schemathesis in this folder."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", "shop.json", "--url", server.url),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", str(EXAMPLES), "--seed", "7", "--no-color", "--workers", "2"),
        *("--continue-on-failure",),
        *(argument for path in ENDLESS for argument in ("--exclude-path", path)),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600, check=False)
