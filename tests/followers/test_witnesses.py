"""Checkpoints go to the witnesses after the commit; what verifies is kept and served, and nothing else."""

import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.errors import ConfigurationError, LedgerCorrupt, UnknownEntry
from consent_service.followers.witnesses import Witnesses
from consent_service.ledger.cosignature import CosignatureVerifier, Cosigner
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.witnessing import AddCheckpoint
from consent_service.operations.deployment import Deployment
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.read_cosigned import read_cosigned_checkpoint, witness_statuses
from consent_service.operations.read_ledger import read_checkpoint
from consent_service.operations.read_receipt import read_receipt
from consent_service.settings import Settings
from consent_service.storage.cosignature_store import StoredCosignature, stream_cosignatures
from consent_service.verifier.verify import Fault, Policy, verify_pack
from tests.audit.packs import export_to
from tests.followers.witness_servers import NOW, Answer, WitnessServer, have_witnessed
from tests.installation import Installation, Tampering, check_ledger
from tests.servers import ConsentServer, ServerProcess, unused_port, wait_until

_CONSENT = str(Path(sys.executable).with_name("consent"))


@pytest.fixture
def quick(unchecked_installation: Installation) -> Installation:
    """A service with a notice, whose checkpoints go out many times a second."""
    installation = unchecked_installation
    object.__setattr__(installation.settings, "cosign_seconds", 0.02)
    installation.publish()
    return installation


@pytest.fixture
def server(quick: Installation, tmp_path: Path) -> Iterator[WitnessServer]:
    with WitnessServer(tmp_path, "w1", [quick.tenant.signer.vkey]) as server:
        yield server


def stored(installation: Installation) -> list[StoredCosignature]:
    with (
        installation.service.deployment.reading(installation.tenant) as scope,
        closing(stream_cosignatures(scope)) as rows,
    ):
        return list(rows)


def wait_for_cosigned(installation: Installation, size: int, *, witnesses: int = 1) -> None:
    wait_until(
        lambda: sum(row.size == size for row in stored(installation)) == witnesses,
        what=f"{witnesses} cosignatures on {size} entries",
    )


def counted(witness: str, outcome: str) -> float:
    labels = {"witness": witness, "outcome": outcome}
    return REGISTRY.get_sample_value("consent_cosign_requests_total", labels) or 0.0


def test_checkpoints_are_cosigned_served_exported_and_on_receipts(
    quick: Installation, server: WitnessServer, tmp_path: Path
) -> None:
    deployment, tenant = quick.service.deployment, quick.tenant
    policy = have_witnessed(quick, server)
    quick.decide("ana", {"coupons": "granted"})

    with closing(Witnesses(deployment)):
        wait_for_cosigned(quick, 2)
        quick.decide("ben", {"coupons": "denied"})
        wait_for_cosigned(quick, 3)
    quick.decide("cho", {"coupons": "granted"})

    verifier = CosignatureVerifier.parse(server.witness.cosigner.vkey)
    cosigned = read_cosigned_checkpoint(deployment, tenant)
    assert verifier.seen_at(cosigned) == NOW
    assert read_checkpoint(deployment, tenant).split(b"\n")[1] == b"4"
    receipt = read_receipt(deployment, tenant, 1).evidence
    assert receipt.verify(NoteVerifier.parse(receipt.vkey)).size == 3
    assert policy.seen(TlogProof.parse(receipt.proof).checkpoint.decode()) == {"w1": NOW}
    assert read_receipt(deployment, tenant, 3).evidence.verify(NoteVerifier.parse(receipt.vkey)).size == 4
    ledger = check_ledger(quick.service)[0]
    assert (ledger.cosigned_size, ledger.cosignatures) == (3, len(stored(quick)))
    pack = export_to(tmp_path / "pack.zip", quick, AuditRequest())
    result = verify_pack(pack, vkey=tenant.signer.vkey, policy=policy)
    assert result["cosigned"] == {"size": 3, "witnesses": {"w1": NOW}}
    assert [remark for remark in result["remarks"] if "Witnesses cosigned 3 entries" in remark]
    hers = export_to(tmp_path / "hers.zip", quick, AuditRequest(subject=tenant.subject("ana")))
    assert verify_pack(hers, vkey=tenant.signer.vkey, policy=policy)["cosigned"]["size"] == 3
    his = export_to(tmp_path / "his.zip", quick, AuditRequest(subject=tenant.subject("cho")))
    with pytest.raises(Fault, match="no checkpoint has the cosignatures"):
        verify_pack(his, vkey=tenant.signer.vkey, policy=policy)
    [status] = witness_statuses(deployment, tenant)
    assert (status.name, status.size, status.lag, status.cosigned_at) == ("w1", 3, 1, NOW)


def test_a_quorum_counts_only_where_all_of_it_signed(
    quick: Installation, server: WitnessServer, tmp_path: Path
) -> None:
    deployment, tenant = quick.service.deployment, quick.tenant
    with WitnessServer(tmp_path, "w2", [tenant.signer.vkey]) as second:
        both = have_witnessed(quick, server, second, quorum="all")
        with closing(Witnesses(deployment)):
            wait_for_cosigned(quick, 1, witnesses=2)
            second.answer = lambda _body: (500, b"")
            quick.decide("ana", {"coupons": "granted"})
            wait_for_cosigned(quick, 2)
    pack = export_to(tmp_path / "pack.zip", quick, AuditRequest())

    assert verify_pack(pack, policy=both)["cosigned"]["size"] == 1
    assert verify_pack(pack, policy=Policy.all_of([server.witness.cosigner.vkey]))["cosigned"]["size"] == 2
    assert read_cosigned_checkpoint(deployment, tenant).split(b"\n")[1] == b"1"
    assert any("cosignatures were not checked" in remark for remark in verify_pack(pack)["remarks"])
    stranger = Cosigner("witness.example/x", Ed25519PrivateKey.generate()).vkey
    with pytest.raises(Fault) as caught:
        verify_pack(pack, policy=Policy.all_of([stranger]))
    assert caught.value.check == "cosignatures"


def test_a_witness_that_saw_more_or_less_than_we_know_is_met_where_it_stands(
    quick: Installation, server: WitnessServer
) -> None:
    """It cosigned for another replica whose answer was lost."""
    deployment = quick.service.deployment
    have_witnessed(quick, server)
    note = read_checkpoint(deployment, quick.tenant)
    server.witness.add_checkpoint(AddCheckpoint(old_size=0, proof=(), checkpoint=note).encode(), NOW)
    quick.decide("ana", {"coupons": "granted"})

    with closing(Witnesses(deployment)):
        wait_for_cosigned(quick, 2)

    assert server.asked == 2


def liar(server: WitnessServer) -> Callable[[bytes], Answer]:
    other = Cosigner(server.witness.cosigner.name, Ed25519PrivateKey.generate())
    return lambda body: (200, other.cosign(AddCheckpoint.parse(body).checkpoint, NOW).encode())


def forger(server: WitnessServer) -> Callable[[bytes], Answer]:
    def answer(body: bytes) -> Answer:
        line = server.witness.cosigner.cosign(AddCheckpoint.parse(body).checkpoint, NOW)
        signed = line.rstrip("\n")
        return 200, (
            signed[:-6] + ("AAAA" if signed[-6:-2] != "AAAA" else "BBBB") + signed[-2:] + "\n"
        ).encode()

    return answer


def replayer(server: WitnessServer) -> Callable[[bytes], Answer]:
    old = AddCheckpoint(old_size=0, proof=(), checkpoint=b"consent.local/default\n1\nAAAA\n\n").checkpoint
    line = server.witness.cosigner.cosign(old, NOW).encode()
    return lambda _body: (200, line)


def dreamer(server: WitnessServer) -> Callable[[bytes], Answer]:
    return lambda body: (
        200,
        server.witness.cosigner.cosign(AddCheckpoint.parse(body).checkpoint, NOW + 10**9).encode(),
    )


def says(status: int, body: bytes) -> Callable[[WitnessServer], Callable[[bytes], Answer]]:
    return lambda _server: lambda _body: (status, body)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (liar, "invalid"),
        (forger, "invalid"),
        (replayer, "invalid"),
        (dreamer, "invalid"),
        (says(200, b""), "invalid"),
        (says(200, secrets.token_bytes(300)), "invalid"),
        (says(200, "\N{EM DASH} witness.example/w1 AAAA\n".encode()), "invalid"),
        (says(200, b"x" * 10_000_000), "invalid"),
        (says(409, b"-1\n"), "invalid"),
        (says(409, b"99999999999999999999\n"), "invalid"),
        (says(409, b"4000\n"), "conflict"),
        (says(409, b"0\n"), "conflict"),
        (says(422, b""), "conflict"),
        (says(403, b""), "refused"),
        (says(302, b""), "refused"),
        (says(503, b""), "refused"),
    ],
)
def test_of_a_witness_that_lies_replays_or_talks_nonsense_nothing_is_kept(
    sqlite_installation: Installation,
    tmp_path: Path,
    behaviour: Callable[[WitnessServer], Callable[[bytes], Answer]],
    outcome: str,
) -> None:
    installation = sqlite_installation
    logs = [installation.tenant.signer.vkey]
    before = counted("bad", outcome)
    with WitnessServer(tmp_path, "bad", logs) as bad, WitnessServer(tmp_path, "good", logs) as good:
        bad.answer = behaviour(bad)
        have_witnessed(installation, bad, good)
        with closing(Witnesses(installation.service.deployment)):
            wait_for_cosigned(installation, 1)
            wait_until(lambda: counted("bad", outcome) > before, what=f"the outcome {outcome}")

    assert {row.vkey for row in stored(installation)} == {good.witness.cosigner.vkey}
    check_ledger(installation.service)


@pytest.fixture
def sqlite_installation(sqlite_template: Path, tmp_path: Path) -> Iterator[Installation]:
    """On SQLite only: what an answer is worth does not depend on the database."""
    copy = tmp_path / "consent.db"
    copy.write_bytes(sqlite_template.read_bytes())
    copy.chmod(0o600)
    settings = {"cosign_seconds": 0.02}
    with Installation(
        home=tmp_path / "home", database_url=f"sqlite:///{copy}", settings=settings
    ) as installation:
        installation.publish()
        yield installation


def test_a_witness_that_never_answers_holds_up_neither_decisions_nor_the_end(
    sqlite_installation: Installation, tmp_path: Path
) -> None:
    installation = sqlite_installation
    reached, answered = threading.Event(), threading.Event()

    def hang(_body: bytes) -> Answer:
        reached.set()
        answered.wait()
        return 200, b""

    with WitnessServer(tmp_path, "slow", [installation.tenant.signer.vkey]) as slow:
        slow.answer = hang
        have_witnessed(installation, slow)
        witnesses = Witnesses(installation.service.deployment)
        assert reached.wait(30)
        for number in range(50):
            installation.decide(f"customer-{number}", {"coupons": "granted"})
        witnesses.close()  # returns although the request is still open
        assert not answered.is_set()
        answered.set()

    assert installation.size == 51


def test_a_witness_that_is_down_is_left_alone_for_longer_and_longer_and_met_again(
    sqlite_installation: Installation, tmp_path: Path
) -> None:
    installation = sqlite_installation
    with WitnessServer(tmp_path, "w1", [installation.tenant.signer.vkey]) as gone:
        line = gone.line
    policy = Policy(f"{line}\nquorum w1")
    installation.service.deployment.policy = policy
    before = counted("w1", "unreachable")
    witnesses = Witnesses(installation.service.deployment)

    wait_until(lambda: counted("w1", "unreachable") > before, what="a failure")

    [watcher] = witnesses._watchers
    first = watcher.not_before
    watcher.rest(first)
    second = watcher.not_before - first
    watcher.rest(first)
    assert second >= 1.0
    assert watcher.not_before - first >= 2.0
    for _ in range(100):
        watcher.rest(0.0)
    assert watcher.not_before <= 300.0
    with WitnessServer(tmp_path, "w1", [installation.tenant.signer.vkey]) as back:
        watcher.address, watcher.not_before = back.line.split()[3], 0.0
        wait_for_cosigned(installation, 1)
        wait_until(lambda: watcher.failures == 0, what="the failures to be forgotten")
    witnesses.close()


def test_of_several_processes_one_sends_at_a_time(quick: Installation, server: WitnessServer) -> None:
    deployment = quick.service.deployment
    have_witnessed(quick, server)

    with closing(Witnesses(deployment)), closing(Witnesses(deployment)), closing(Witnesses(deployment)):
        for number in range(6):
            quick.decide(f"customer-{number}", {"coupons": "granted"})
            wait_for_cosigned(quick, number + 2)

    sizes = [row.size for row in stored(quick)]
    assert len(sizes) == len(set(sizes)) == server.asked


def test_a_cosignature_that_somebody_changed_is_found(
    quick: Installation, server: WitnessServer, tampering: Tampering
) -> None:
    have_witnessed(quick, server)
    with closing(Witnesses(quick.service.deployment)):
        wait_for_cosigned(quick, 1)

    tampering.run("UPDATE cosignature SET cosigned_at = cosigned_at + 1")

    with pytest.raises(LedgerCorrupt, match="A cosignature does not verify"):
        check_ledger(quick.service)


def test_nothing_is_cosigned_where_nobody_was_asked(quick: Installation) -> None:
    with closing(Witnesses(quick.service.deployment)):
        quick.decide("ana", {"coupons": "granted"})

    with pytest.raises(UnknownEntry):
        read_cosigned_checkpoint(quick.service.deployment, quick.tenant)
    assert witness_statuses(quick.service.deployment, quick.tenant) == []


@pytest.mark.parametrize("text", [None, "", "witness w1 nonsense http://x\nquorum w1", "quorum w1"])
def test_a_file_that_names_no_witnesses_stops_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "witnesses"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ConfigurationError, match="CONSENT_WITNESSES"):
        Deployment.open(Settings(home=tmp_path / "home", witnesses=file))


def test_a_service_and_a_witness_on_two_machines(tmp_path: Path) -> None:
    home, url = tmp_path / "home", f"sqlite:///{tmp_path / 'consent.db'}"
    with Installation(home=home, database_url=url) as installation:
        installation.publish()
        vkey = installation.tenant.signer.vkey
    runner, port = CliRunner(), unused_port()
    own = ["--home", str(tmp_path / "w"), "--name", "witness.example/w1"]
    witness_key = runner.invoke(cli, ["witness", "key", *own]).stdout.strip()
    policy = tmp_path / "witnesses"
    policy.write_text(
        f"# a works council\nwitness council {witness_key} http://127.0.0.1:{port}/\nquorum council\n"
    )
    environment = {
        "CONSENT_WITNESSES": str(policy),
        "CONSENT_COSIGN_SECONDS": "0.05",
        "CONSENT_HOME": str(home),
    }
    serve = [_CONSENT, "witness", "serve", *own, "--log", vkey, "--port", str(port)]
    status = ["ledger", "witnesses", "--json", "--database-url", url]
    with ServerProcess(serve, folder=tmp_path, log=tmp_path / "witness.log", forked=True) as witness:
        witness.wait_until(lambda: "running on" in witness.output(), what="the witness", timeout=60)
        with ConsentServer(home=home, database_url=url, environment=environment):
            runner = CliRunner(env=environment)
            wait_until(lambda: runner.invoke(cli, status).exit_code == 0, what="a quorum")
            shown = json.loads(runner.invoke(cli, status).stdout)
    out = str(tmp_path / "pack.zip")
    exported = runner.invoke(cli, ["audit", "export", "--out", out, "--database-url", url])
    verified = runner.invoke(cli, ["audit", "verify", out, "--policy", str(policy), "--json"])

    assert (shown["cosigned_size"], shown["witnesses"][0]["lag"]) == (1, 0)
    assert exported.exit_code == 0
    assert json.loads(verified.stdout)["cosigned"]["size"] == 1
