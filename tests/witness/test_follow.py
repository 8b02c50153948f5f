"""Whoever follows a log notices when it is rewritten, goes back, stands still, or signs two pasts."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from consent_service.cli import follow as following
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
        self.raw: bytes | None = None
        self.pause = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(log.fetch(self.path))

            def do_POST(self) -> None:
                outer.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                if outer.raw is not None:
                    self._spell_out(outer.raw)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _spell_out(self, answer: bytes) -> None:
                """Answer with bytes that are no HTTP perhaps, with a pause before each of them."""
                with suppress(OSError):  # nobody has to wait for the rest
                    for byte in answer:
                        outer.stopped.wait(outer.pause)
                        self.wfile.write(bytes([byte]))

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def test_two_pasts_become_an_alarm_and_a_proof_that_anybody_can_check_offline(tmp_path: Path) -> None:
    log, runner = Log(5), CliRunner()
    proof = tmp_path / "proof.txt"
    options = ["--key", log.signer.vkey, "--state", str(tmp_path / "seen"), "--looks", "1", "--json"]
    with _Site(log) as site:
        alarm = ["--webhook", f"{site.url}/alarm", "--proof", str(proof)]
        first = runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])
        log.past = "b"
        second = runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])
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


def test_an_alarm_is_raised_also_where_its_proof_cannot_be_kept(tmp_path: Path) -> None:
    log, runner = Log(5), CliRunner()
    options = ["--key", log.signer.vkey, "--state", str(tmp_path / "seen"), "--looks", "1", "--json"]
    with _Site(log) as site:
        alarm = ["--webhook", f"{site.url}/alarm", "--proof", str(tmp_path / "nowhere" / "proof.txt")]
        runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])
        log.past = "b"

        run = runner.invoke(cli, ["ledger", "follow", site.url, *options, *alarm])

    assert run.exit_code == 1
    assert "The proof could not be kept" in run.stderr
    assert [(told["fault"], told["proof"]) for told in site.told] == [
        ("The log signed two roots for one size.", None)
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nconsent.example/shop\n5\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_is_no_fault_of_the_log_and_ends_nothing(answer: bytes) -> None:
    log = Log(5)
    with _Site(log) as site:
        site.raw = answer
        options = ["--key", log.signer.vkey, "--looks", "2", "--every", "0.1"]

        run = CliRunner().invoke(cli, ["ledger", "follow", site.url, *options])

    assert run.exit_code == 1
    assert run.stdout == ""
    assert run.stderr.count("The log could not be reached") == 2


def test_a_log_that_answers_byte_by_byte_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(5)
    monkeypatch.setattr(following, "_TIMEOUT_S", 0.5)
    with _Site(log) as site:
        site.raw, site.pause = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000), 0.1
        options = ["--key", log.signer.vkey, "--looks", "1"]

        run = CliRunner().invoke(cli, ["ledger", "follow", site.url, *options])

    assert run.exit_code == 1
    assert "no whole answer" in run.stderr


def test_a_log_that_was_never_reached_is_silent_since_the_first_look() -> None:
    log = Log(5)

    def nothing(_path: str) -> bytes:
        raise OSError

    monitor = LogMonitor(nothing, log.signer.vkey)
    with pytest.raises(OSError, match=r"^$"):
        monitor.look(100.0, max_age=60)

    monitor.require_fresh(160.0, 60)
    with pytest.raises(LogMisbehaved, match="has not moved for 61 seconds"):
        monitor.require_fresh(161.0, 60)


@pytest.mark.parametrize("hidden", ["/v1/ledger/proof/consistency", "/v1/ledger/handoffs"])
def test_a_log_that_hides_again_and_again_how_it_went_on_is_at_fault(hidden: str) -> None:
    log = Log(5)

    def fetch(address: str) -> bytes:
        if address.startswith(hidden):
            raise OSError("it answered 503")
        return log.fetch(address)

    monitor = LogMonitor(fetch, log.signer.vkey)
    monitor.look(1.0)
    honest, log.size = log.signer, 9
    if hidden.endswith("handoffs"):
        log.signer = Log(1).signer

    for _ in range(2):
        with pytest.raises(OSError, match="503"):
            monitor.look(2.0)
    with pytest.raises(LogMisbehaved, match=f"no {hidden}"):
        monitor.look(3.0)
    log.signer, hidden = honest, "nothing"
    assert monitor.look(4.0).checkpoint.size == 9


def test_witnesses_that_are_hidden_again_and_again_are_a_fault() -> None:
    log = Log(5)

    def fetch(address: str) -> bytes:
        if "cosigned" in address:
            raise OSError("it answered 404")
        return log.fetch(address)

    monitor = LogMonitor(fetch, log.signer.vkey)
    monitor.look(1.0)

    for _ in range(2):
        with pytest.raises(OSError, match="404"):
            monitor.look_witnessed(POLICY, 2.0)
    with pytest.raises(LogMisbehaved, match=r"no /v1/ledger/checkpoint\?cosigned=true"):
        monitor.look_witnessed(POLICY, 3.0)


@pytest.mark.parametrize("option", ["--webhook", "URL"])
def test_an_address_that_is_none_is_refused_before_it_is_needed(option: str) -> None:
    log, address = Log(5), "ftp://consent.example"
    arguments = [address] if option == "URL" else ["https://consent.example", option, address]

    run = CliRunner().invoke(cli, ["ledger", "follow", *arguments, "--key", log.signer.vkey, "--looks", "1"])

    assert run.exit_code == 2


@pytest.mark.parametrize("held", [None, b"", b"another.example/shop\n1\n"])
def test_a_monitor_that_cannot_remember_says_so(tmp_path: Path, held: bytes | None) -> None:
    log = Log(5)
    state = tmp_path / "nowhere" / "seen" if held is None else tmp_path / "seen"
    if held is not None:
        state.write_bytes(held)
    with _Site(log) as site:
        options = ["--key", log.signer.vkey, "--state", str(state), "--looks", "1"]

        run = CliRunner().invoke(cli, ["ledger", "follow", site.url, *options])

    assert run.exit_code == 2
    assert str(state) in run.stderr.replace("\n", "")


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


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b'{"proof": 1}', b'{"proof": ["!"]}', b"\xff", b"[]", b"[" * 200_000]
)
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
