"""Who may export a pack, and that what is exported verifies, over HTTP and by the command line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient
from typer.testing import CliRunner

from consent_service.api.app import create_app
from consent_service.cli.main import app as cli
from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from consent_service.verifier.verify import verify_pack
from tests.builders import a_notice


@dataclass
class Audited:
    """A running service with decisions of two subjects, and a key of every role."""

    client: TestClient
    keys: dict[str, str]
    vkey: str
    environment: dict[str, str]

    def consent(self, *arguments: str) -> tuple[int, str]:
        """Run the command line; return exit code and standard output."""
        run = CliRunner(env=self.environment).invoke(cli, list(arguments))
        return run.exit_code, run.stdout


@pytest.fixture
def audited(migrated_url: str, tmp_path: Path) -> Iterator[Audited]:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(migrated_url))
    app = create_app(settings)
    with TestClient(app) as client:
        service: ConsentService = app.state.service
        tenant = require_tenant(service.deployment, "default")
        service.committer.submit_blocking(tenant, PublishNotice(notice=a_notice()))
        keys = {
            role.value: create_api_key(service.deployment, tenant, role).key
            for role in (Role.BACKEND, Role.AUDITOR, Role.ADMIN)
        }
        keys["subject"] = service.credentials.issue_subject_token(tenant, tenant.subject("ana")).token
        body = {
            "notice": client.get("/v1/notice").json()["digest"],
            "choices": {"recommendations": "granted"},
            "method": "save",
            "source": "banner",
            "language": "en",
        }
        for name in ("ana", "ben", "ana"):
            headers = {"Authorization": f"Bearer {keys['backend']}", "Consent-Subject": name}
            assert client.post("/v1/decisions", json=body, headers=headers).status_code == 201
        yield Audited(
            client=client,
            keys=keys,
            vkey=tenant.signer.vkey,
            environment={"CONSENT_HOME": str(settings.home), "CONSENT_DATABASE_URL": migrated_url},
        )


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_an_auditor_exports_a_pack_that_verifies(audited: Audited, role: str, tmp_path: Path) -> None:
    answer = audited.client.get("/v1/audit/export", headers={"Authorization": f"Bearer {audited.keys[role]}"})

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "private, no-store"
    pack = tmp_path / "pack.zip"
    pack.write_bytes(answer.content)
    assert verify_pack(pack, vkey=audited.vkey)["size"] == 4


@pytest.mark.parametrize("role", ["backend", "subject"])
def test_nobody_else_exports_a_pack(audited: Audited, role: str) -> None:
    answer = audited.client.get("/v1/audit/export", headers={"Authorization": f"Bearer {audited.keys[role]}"})

    assert answer.status_code == 403


def test_one_subject_is_named_in_a_header(audited: Audited, tmp_path: Path) -> None:
    answer = audited.client.get(
        "/v1/audit/export",
        headers={"Authorization": f"Bearer {audited.keys['auditor']}", "Consent-Subject": "ana"},
    )

    pack = tmp_path / "pack.zip"
    pack.write_bytes(answer.content)
    assert verify_pack(pack, vkey=audited.vkey)["checked"]["entries"] == 2


@pytest.mark.parametrize(
    "query", ["from=yesterday", "since=99", "from=2030-01-01T00:00:00Z&until=2020-01-01T00:00:00Z"]
)
def test_a_question_without_an_answer_is_a_problem_not_half_a_file(audited: Audited, query: str) -> None:
    answer = audited.client.get(
        f"/v1/audit/export?{query}", headers={"Authorization": f"Bearer {audited.keys['auditor']}"}
    )

    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-input")


def test_the_command_line_exports_and_verifies(audited: Audited, tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"

    exported = audited.consent("audit", "export", "--out", str(first), "--json")
    again = audited.consent("audit", "export", "--out", str(second), "--since", str(first))
    verified = audited.consent(
        "audit", "verify", str(second), "--key", audited.vkey, "--previous", str(first), "--json"
    )

    assert exported[0] == again[0] == verified[0] == 0
    assert json.loads(exported[1])["bytes"] == first.stat().st_size
    assert json.loads(verified[1])["verified"]
    assert first.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_a_spoilt_pack_is_named_and_exits_with_1(audited: Audited, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    audited.consent("audit", "export", "--out", str(pack))
    data = bytearray(pack.read_bytes())
    data[data.index(b"entries/000000.ndjson") + 40] ^= 1
    pack.write_bytes(data)

    code, printed = audited.consent("audit", "verify", str(pack), "--json")
    told = audited.consent("audit", "verify", str(pack))[1]

    fault = json.loads(printed)
    assert code == 1
    assert (fault["verified"], fault["check"], fault["where"]) == (
        False,
        "container",
        "entries/000000.ndjson",
    )
    assert "NOT VERIFIED: container: entries/000000.ndjson" in told.replace("\n", " ")


def test_a_file_that_is_not_there_exits_with_2(audited: Audited, tmp_path: Path) -> None:
    assert audited.consent("audit", "verify", str(tmp_path / "none.zip"))[0] == 2
