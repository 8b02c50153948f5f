"""A witness cosigns one history of each log it knows, over HTTP, and keeps the proof of a second one."""

import base64
import resource
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.testclient import TestClient
from typer.testing import CliRunner

from consent_service.api.witness_app import create_witness_app
from consent_service.cli.main import app as cli
from consent_service.errors import ConfigurationError, InvalidInput, InvalidNote, WitnessConflict, WrongKey
from consent_service.ledger.cosignature import CosignatureVerifier, Cosigner
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note
from consent_service.ledger.witnessing import AddCheckpoint, proof_of_misbehaviour, verify_misbehaviour
from consent_service.operations.witness import Witness
from consent_service.settings import WitnessSettings
from tests.witness.logs import ORIGIN, Log

NOW = 1_795_000_000
NAME = "witness.example/w1"


@pytest.fixture
def log() -> Log:
    return Log(10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def witness(home: Path, log: Log) -> TestClient:
    settings = WitnessSettings(home=home, name=NAME, logs=log.signer.vkey)
    return TestClient(create_witness_app(settings, clock=lambda: NOW))


def sent(witness: TestClient, request: AddCheckpoint) -> tuple[int, str]:
    answer = witness.post("/add-checkpoint", content=request.encode())
    return answer.status_code, answer.text


def test_a_first_checkpoint_and_what_continues_it_are_cosigned(witness: TestClient, log: Log) -> None:
    verifier = CosignatureVerifier.parse(witness.get("/key").text.strip())
    for old, new in ((0, 3), (3, 3), (3, 10)):
        status, line = sent(witness, log.request(old, new))

        cosigned = log.checkpoint(new) + line.encode()
        assert status == 200
        assert verifier.seen_at(cosigned) == NOW
        assert open_note(cosigned, NoteVerifier.parse(log.signer.vkey))


def test_an_old_size_that_the_witness_did_not_see_is_answered_with_the_one_it_saw(
    witness: TestClient, log: Log
) -> None:
    sent(witness, log.request(0, 4))

    answer = witness.post("/add-checkpoint", content=log.request(0, 10).encode())

    assert (answer.status_code, answer.text) == (409, "4\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"


def test_a_rewritten_log_is_not_cosigned(witness: TestClient, log: Log) -> None:
    sent(witness, log.request(0, 4))
    other = Log(10, past="b", signer=log.signer)

    assert sent(witness, other.request(4, 10))[0] == 422


def test_two_roots_of_one_size_are_refused_and_kept_as_a_proof(
    witness: TestClient, log: Log, home: Path
) -> None:
    sent(witness, log.request(0, 4))
    other = Log(10, past="b", signer=log.signer)

    assert sent(witness, other.request(4, 4)) == (409, "4\n")

    kept = list(home.glob("misbehaviour-*.txt"))
    assert len(kept) == 1
    assert verify_misbehaviour(kept[0].read_bytes(), NoteVerifier.parse(log.signer.vkey)) == ORIGIN


def test_an_unknown_log_and_a_foreign_key_are_refused(witness: TestClient, log: Log) -> None:
    stranger = NoteSigner.from_private("consent.example/other", Ed25519PrivateKey.generate())
    impostor = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.generate())

    statuses = [sent(witness, Log(3, signer=signer).request(0))[0] for signer in (stranger, impostor)]

    assert statuses == [404, 403]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"old 0",
        b"old 00\n\nnote",
        b"old -1\n\nnote",
        b"new 0\n\nnote",
        b"old 0\nAA==\n\nnote",
        b"old 0\n!!\n\nnote",
        b"old 0\n"
        + base64.b64encode(bytes(32)) * 1
        + b"\n"
        + (base64.b64encode(bytes(32)) + b"\n") * 64
        + b"\nnote",
    ],
)
def test_garbage_is_a_bad_request(witness: TestClient, body: bytes) -> None:
    assert witness.post("/add-checkpoint", content=body).status_code == 400


def test_an_old_size_beyond_the_checkpoint_is_a_bad_request(witness: TestClient, log: Log) -> None:
    request = AddCheckpoint(old_size=5, proof=(), checkpoint=log.checkpoint(4))

    assert sent(witness, request)[0] == 400


def test_a_body_without_end_is_cut_off(witness: TestClient) -> None:
    assert witness.post("/add-checkpoint", content=b"x" * 70_000).status_code == 413


def test_a_witness_remembers_across_restarts(home: Path, log: Log) -> None:
    first = Witness(home, name="w", vkeys=[log.signer.vkey])
    first.add_checkpoint(log.request(0, 4).encode(), NOW)

    again = Witness(home, name="w", vkeys=[log.signer.vkey])

    assert again.cosigner.vkey == first.cosigner.vkey
    with pytest.raises(WitnessConflict, match="size 4"):
        again.add_checkpoint(log.request(0, 10).encode(), NOW)


def test_a_witness_whose_memory_was_spoilt_cosigns_nothing_and_blames_nobody(home: Path, log: Log) -> None:
    app = create_witness_app(WitnessSettings(home=home, name=NAME, logs=log.signer.vkey))
    witness = TestClient(app, raise_server_exceptions=False)
    sent(witness, log.request(0))
    next(home.glob("*.checkpoint")).write_bytes(b"")

    answers = [sent(witness, log.request(old)) for old in (0, 10)]

    assert answers == [(500, "Internal Server Error")] * 2


def test_a_witness_without_room_for_what_it_sees_cosigns_nothing_and_remembers_what_it_saw(
    home: Path, log: Log
) -> None:
    app = create_witness_app(WitnessSettings(home=home, name=NAME, logs=log.signer.vkey))
    witness = TestClient(app, raise_server_exceptions=False)
    sent(witness, log.request(0, 4))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        full = sent(witness, log.request(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    later = sent(witness, log.request(4))

    assert full == (500, "Internal Server Error")
    assert later[0] == 200


def test_of_two_futures_sent_at_once_one_is_cosigned(home: Path, log: Log) -> None:
    witness = Witness(home, name="w", vkeys=[log.signer.vkey])
    futures = [Log(10, past=past, signer=log.signer).request(0, 10).encode() for past in "ab" * 8]
    cosigned: list[bytes] = []

    def send(body: bytes) -> None:
        try:
            witness.add_checkpoint(body, NOW)
        except WitnessConflict:
            return
        cosigned.append(body)

    threads = [threading.Thread(target=send, args=(body,)) for body in futures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(cosigned) == 1


def test_the_command_names_the_key_that_the_witness_will_sign_with(home: Path, log: Log) -> None:
    command = ["witness", "key", "--home", str(home), "--name", "w"]

    named = CliRunner().invoke(cli, command).stdout.strip()

    assert named == Witness(home, name="w", vkeys=[log.signer.vkey]).cosigner.vkey


def test_a_key_file_that_others_can_read_is_refused(home: Path, log: Log) -> None:
    Witness(home, name="w", vkeys=[log.signer.vkey])
    (home / "witness.key").chmod(0o644)

    with pytest.raises(WrongKey):
        Witness(home, name="w", vkeys=[log.signer.vkey])


def test_a_witness_without_a_log_is_refused(home: Path) -> None:
    with pytest.raises(ConfigurationError):
        Witness(home, name="w", vkeys=[])


def test_a_request_reads_back_as_it_was_written(log: Log) -> None:
    request = log.request(3, 10)

    assert AddCheckpoint.parse(request.encode()) == request
    with pytest.raises(InvalidInput):
        AddCheckpoint.parse(request.encode().replace(b"old ", b"Old "))


def test_a_cosignature_over_other_words_does_not_verify(log: Log) -> None:
    cosigner = Cosigner("witness.example/w1", Ed25519PrivateKey.generate())
    verifier = CosignatureVerifier.parse(cosigner.vkey)
    line = cosigner.cosign(log.checkpoint(4), NOW).encode()

    assert verifier.seen_at(log.checkpoint(4) + line) == NOW
    for note in (log.checkpoint(5) + line, log.checkpoint(4)):
        with pytest.raises(InvalidNote):
            verifier.seen_at(note)


@pytest.mark.parametrize("vkey", ["", "w", "w+00000000+AA==", "a b+00000000+BAAA"])
def test_what_is_no_witness_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        CosignatureVerifier.parse(vkey)


def test_a_logs_key_is_no_witness_key(log: Log) -> None:
    with pytest.raises(InvalidNote):
        CosignatureVerifier.parse(log.signer.vkey)


def test_checkpoints_that_agree_prove_nothing(log: Log) -> None:
    other = Log(10, past="b", signer=log.signer)

    for first, second in ((4, 4), (4, 5)):
        with pytest.raises(InvalidNote, match="do not contradict"):
            proof_of_misbehaviour(log.checkpoint(first), log.checkpoint(second), log.signer.vkey)
    with pytest.raises(InvalidNote):
        proof_of_misbehaviour(log.checkpoint(4), Log(4, past="c").checkpoint(), log.signer.vkey)
    with pytest.raises(InvalidNote):
        verify_misbehaviour(b"\xff", NoteVerifier.parse(log.signer.vkey))
    assert proof_of_misbehaviour(log.checkpoint(4), other.checkpoint(4), log.signer.vkey)
