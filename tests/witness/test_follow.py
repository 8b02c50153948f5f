"""Whoever follows a log notices when it is rewritten, goes back, stands still, or signs two pasts."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.errors import LogMisbehaved
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.witnessing import proof_of_misbehaviour, verify_misbehaviour
from consent_service.operations.follow_log import LogMonitor
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.operations.read_ledger import prove_consistency, read_checkpoint, read_handoffs
from consent_service.operations.rotate_keys import rotate_signing_key
from consent_service.verifier import verify
from consent_service.verifier.verify import Policy, misbehaviour_proved
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


def test_a_log_that_grows_faster_than_it_may_is_noticed() -> None:
    log = Log(3)
    monitor = LogMonitor(log.fetch, log.signer.vkey)
    monitor.look(100.0)
    log.size = 23

    with pytest.raises(LogMisbehaved, match="grew by 20 entries in 10 seconds"):
        monitor.look(110.0, max_rate=1.9)
    assert monitor.look(110.0, max_rate=2.0).checkpoint.size == 23


WITNESS = Cosigner("witness.example/w1", Ed25519PrivateKey.generate())
POLICY = Policy.all_of([WITNESS.vkey])


def _cosigned(log: Log, size: int, seconds: int) -> bytes:
    note = log.checkpoint(size)
    return note + WITNESS.cosign(note, seconds).encode()


def test_witnesses_that_follow_are_no_fault_and_such_that_stopped_are() -> None:
    log = Log(8)
    monitor = LogMonitor(log.fetch, log.signer.vkey)
    monitor.look(100.0)
    log.cosigned = _cosigned(log, 5, 90)

    assert monitor.look_witnessed(POLICY, 100.0, max_age=10).checkpoint.size == 5
    with pytest.raises(LogMisbehaved, match="for 11 seconds"):
        monitor.look_witnessed(POLICY, 101.0, max_age=10)
    log.cosigned = _cosigned(log, 8, 90)
    assert monitor.look_witnessed(POLICY, 500.0, max_age=10).checkpoint.size == 8


def test_witnesses_that_saw_another_history_or_none_are_a_fault() -> None:
    log = Log(8)
    other = Log(8, past="b", signer=log.signer)
    monitor = LogMonitor(log.fetch, log.signer.vkey)
    monitor.look(100.0)

    for cosigned, words in (
        (_cosigned(other, 8, 90), "two roots"),
        (_cosigned(other, 5, 90), "rewritten"),
        (log.checkpoint(5), "no quorum"),
        (log.checkpoint(5) + WITNESS.cosign(log.checkpoint(4), 90).encode(), "not one of this log"),
        (b"", "not one of this log"),
    ):
        log.cosigned = cosigned
        with pytest.raises(LogMisbehaved, match=words):
            monitor.look_witnessed(POLICY, 100.0)


class _Site:
    """A log behind HTTP, and a webhook that keeps what it was told."""

    def __init__(self, log: Log) -> None:
        self.told: list[dict[str, object]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(log.fetch(self.path))

            def do_POST(self) -> None:
                outer.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def test_two_pasts_become_an_alarm_and_a_proof_that_anybody_can_check_offline(tmp_path: Path) -> None:
    log, runner = Log(5), CliRunner()
    site, proof = _Site(log), tmp_path / "proof.txt"
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    options = ["--key", log.signer.vkey, "--state", str(tmp_path / "seen"), "--looks", "1", "--json"]
    alarm = ["--webhook", f"{site.url}/alarm", "--proof", str(proof)]
    try:
        first = runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])
        log.past = "b"
        second = runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()
    check = ["ledger", "misbehaviour", str(proof), "--json", "--key"]
    proved = runner.invoke(cli, [*check, log.signer.vkey])
    stranger = runner.invoke(cli, [*check, Log(1).signer.vkey])
    command = [sys.executable, "-I", str(verify.__file__), str(proof), "--key"]
    alone = subprocess.run([*command, log.signer.vkey], capture_output=True, text=True, check=False)

    assert (first.exit_code, second.exit_code) == (0, 1)
    assert [told["fault"] for told in site.told] == ["The log signed two roots for one size."]
    assert (proved.exit_code, stranger.exit_code, alone.returncode) == (0, 1, 0)
    assert json.loads(proved.stdout)["size"] == 5
    assert alone.stdout.startswith("Proved: the key of consent.example/shop signed two logs of 5 entries")


@pytest.mark.parametrize("spoil", [0, 1, 2, 3])
def test_a_proof_that_proves_nothing_is_refused(spoil: int) -> None:
    log = Log(5)
    other = Log(5, past="b", signer=log.signer)
    good = proof_of_misbehaviour(log.checkpoint(), other.checkpoint(), log.signer.vkey).decode()
    same = log.checkpoint().decode()
    parts = good.split("\n========\n")
    bad = [
        good.replace("misbehaviour/v1", "misbehaviour/v2"),
        "\n========\n".join([*parts[:3], same]),
        "\n========\n".join([*parts[:3], other.checkpoint(4).decode()]),
        good[:-3],
    ][spoil]

    assert misbehaviour_proved(good, log.signer.vkey)["size"] == 5
    with pytest.raises(ValueError, match=r"."):
        misbehaviour_proved(bad, log.signer.vkey)


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
        os.utime(tmp_path / "seen", (1.0, 1.0))
        silent = runner.invoke(cli, [*question, *state, "--max-age", "86400"])

    assert [first.exit_code, second.exit_code, foreign.exit_code, down.exit_code] == [0, 0, 1, 1]
    assert json.loads(second.stdout)["new"] == 1
    assert "not one of this log" in json.loads(foreign.stdout)["fault"]
    assert down.stdout == ""
    assert (silent.exit_code, "has not moved" in json.loads(silent.stdout)["fault"]) == (1, True)


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
