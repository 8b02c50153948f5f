"""Whoever follows a log notices when it is rewritten, goes back, stands still, or signs two pasts."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.errors import LogMisbehaved
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import verify_misbehaviour
from consent_service.operations.follow_log import LogMonitor
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.operations.read_ledger import prove_consistency, read_checkpoint, read_handoffs
from consent_service.operations.rotate_keys import rotate_signing_key
from tests.installation import Installation
from tests.servers import ConsentServer
from tests.witness.logs import Log


def test_a_log_that_grows_is_consistent(tmp_path: Path) -> None:
    log = Log(3)
    monitor = LogMonitor(log.fetch, log.signer.vkey, state=tmp_path / "seen")

    sizes = [monitor.look(1.0).checkpoint.size]
    for log.size in (3, 8, 21):
        sizes.append(monitor.look(2.0).checkpoint.size)

    assert sizes == [3, 3, 8, 21]


@pytest.mark.parametrize(
    ("past", "size", "words"), [("b", 9, "rewritten"), ("a", 2, "went back"), ("b", 3, "two roots")]
)
def test_another_past_is_noticed_also_after_a_restart(
    tmp_path: Path, past: str, size: int, words: str
) -> None:
    log, state = Log(3), tmp_path / "seen"
    LogMonitor(log.fetch, log.signer.vkey, state=state).look(1.0)
    log.past, log.size = past, size

    with pytest.raises(LogMisbehaved, match=words) as caught:
        LogMonitor(log.fetch, log.signer.vkey, state=state).look(2.0)

    if size == 3:
        assert caught.value.proof is not None
        assert verify_misbehaviour(caught.value.proof, NoteVerifier.parse(log.signer.vkey))


def test_a_log_that_stands_still_for_too_long_is_noticed() -> None:
    log = Log(3)
    monitor = LogMonitor(log.fetch, log.signer.vkey)
    monitor.look(100.0, max_age=60)

    assert monitor.look(160.0, max_age=60).checkpoint.size == 3
    with pytest.raises(LogMisbehaved, match="has not moved for 61 seconds"):
        monitor.look(161.0, max_age=60)


def test_a_foreign_checkpoint_is_noticed() -> None:
    log = Log(3)

    with pytest.raises(LogMisbehaved, match="not one of this log"):
        LogMonitor(Log(3).fetch, log.signer.vkey).look(1.0)


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"proof": 1}', b'{"proof": ["!"]}', b"\xff", b"[]"])
def test_a_log_that_answers_garbage_is_noticed(answer: bytes) -> None:
    log = Log(3)
    monitor = LogMonitor(
        lambda path: log.fetch(path) if path.endswith("checkpoint") else answer, log.signer.vkey
    )
    monitor.look(1.0)
    log.size = 9

    with pytest.raises(LogMisbehaved):
        monitor.look(2.0)


def test_the_command_follows_a_real_service(tmp_path: Path) -> None:
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'consent.db'}"
    with Installation(home=home, database_url=url) as installation:
        installation.publish()
        vkey = installation.tenant.signer.vkey
        key = create_api_key(installation.service.deployment, installation.tenant, Role.AUDITOR).key
        runner = CliRunner(env={"CONSENT_API_KEY": key})
        with ConsentServer(home=home, database_url=url) as server:
            question = ["ledger", "follow", server.url, "--key", vkey, "--looks", "1", "--json"]
            state = ["--state", str(tmp_path / "seen")]

            first = runner.invoke(cli, [*question, *state])
            installation.decide("ana", {"coupons": "granted"})
            second = runner.invoke(cli, [*question, *state])
            other = [*question]
            other[4] = Log(1).signer.vkey
            foreign = runner.invoke(cli, other)
        down = runner.invoke(cli, question)

    assert [first.exit_code, second.exit_code, foreign.exit_code, down.exit_code] == [0, 0, 1, 0]
    assert json.loads(second.stdout)["new"] == 1
    assert "not one of this log" in json.loads(foreign.stdout)["fault"]
    assert down.stdout == ""


def test_a_log_is_followed_to_its_new_key_also_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "seen"
    url = f"sqlite:///{tmp_path / 'consent.db'}"
    with Installation(home=tmp_path / "home", database_url=url) as installation:
        service, first = installation.service, installation.tenant.signer.vkey
        answers: dict[str, Callable[[], bytes]] = {
            "/v1/ledger/checkpoint": lambda: read_checkpoint(service.deployment, installation.tenant),
            "/v1/ledger/handoffs": lambda: canonical_json(
                {
                    "handoffs": [
                        each.document() for each in read_handoffs(service.deployment, installation.tenant)
                    ]
                }
            ),
        }

        def fetch(address: str) -> bytes:
            path, _, query = address.partition("?")
            if path in answers:
                return answers[path]()
            old, new = (int(value) for _, value in parse_qsl(query))
            proof = prove_consistency(service.deployment, installation.tenant, old_size=old, new_size=new)
            return json.dumps({"proof": [base64.b64encode(step).decode() for step in proof.proof]}).encode()

        monitor = LogMonitor(fetch, first, state=state)
        installation.publish()
        sizes = [monitor.look(1.0).checkpoint.size]
        for name in ("ana", "ben"):
            rotate_signing_key(service.deployment, service.committer, installation.tenant)
            installation.decide(name, {"coupons": "granted"})
            sizes.append(monitor.look(1.0).checkpoint.size)
        sizes.append(LogMonitor(fetch, first, state=state).look(1.0).checkpoint.size)

        assert sizes == [1, 3, 5, 5]
        answers["/v1/ledger/handoffs"] = lambda: b'{"handoffs":[]}'
        with pytest.raises(LogMisbehaved, match="not one of this log"):
            LogMonitor(fetch, first, state=state).look(1.0)
