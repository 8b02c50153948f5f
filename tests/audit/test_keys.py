"""A pack verifies under the log's newest key, and under an older one that the log's entries lead on from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.checkpoint import open_checkpoint, sign_checkpoint
from consent_service.ledger.note import NoteSigner, NoteVerifier
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.read_receipt import read_receipt
from consent_service.operations.rotate_keys import rotate_signing_key
from consent_service.operations.tenant import Tenant
from consent_service.verifier.verify import Fault, verify_pack
from tests.audit.packs import export_to, members_of, packed
from tests.installation import Installation

SIZE = 6


@dataclass
class Rotated:
    """A ledger whose signing key was replaced twice: every key, and the first signer."""

    installation: Installation
    tenant: Tenant
    keys: list[str]
    stolen: NoteSigner

    def pack(self, path: Path, request: AuditRequest | None = None) -> Path:
        return export_to(path, self.installation, request or AuditRequest(), self.tenant)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    home = tmp_path_factory.mktemp("rotated")
    with Installation(home=home, database_url=f"sqlite:///{home / 'consent.db'}") as installation:
        service = installation.service
        first = installation.tenant.signer
        keys = [first.vkey]
        installation.publish()
        for name in ("ana", "ben"):
            installation.decide(name, {"coupons": "granted"})
            installation.clock.advance(days=1)
            tenant = service.deployment.tenant(installation.tenant.id)
            keys.append(rotate_signing_key(service.deployment, service.committer, tenant))
        installation.decide("cho", {"coupons": "granted"})
        yield Rotated(installation, service.deployment.tenant(installation.tenant.id), keys, first)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_key_of_the_log_leads_to_the_newest(rotated: Rotated, tmp_path: Path, number: int) -> None:
    pack = rotated.pack(tmp_path / "pack.zip")

    result = verify_pack(pack, vkey=rotated.keys[number])

    assert (result["vkey"], result["key_pinned"]) == (rotated.keys[-1], True)


def test_a_pack_that_begins_after_the_change_needs_the_newest_key(rotated: Rotated, tmp_path: Path) -> None:
    start = rotated.installation.clock.now - timedelta(hours=1)
    pack = rotated.pack(tmp_path / "late.zip", AuditRequest(start=start))

    assert verify_pack(pack, vkey=rotated.keys[2])["verified"]
    with pytest.raises(Fault, match="does not show how a key was replaced"):
        verify_pack(pack, vkey=rotated.keys[0])


@pytest.mark.parametrize("days", [2, 1, 0])
def test_a_pack_that_ends_before_a_change_verifies_under_the_newest_key(
    rotated: Rotated, tmp_path: Path, days: int
) -> None:
    until = rotated.installation.clock.now - timedelta(days=days, hours=-1)
    pack = rotated.pack(tmp_path / "early.zip", AuditRequest(until=until))

    assert verify_pack(pack, vkey=rotated.keys[2])["size"] < SIZE or days == 0
    if days:
        with pytest.raises(Fault, match="does not show how a key was replaced"):
            verify_pack(pack, vkey=rotated.keys[0])


def test_an_old_key_alone_signs_no_later_checkpoint(rotated: Rotated, tmp_path: Path) -> None:
    members, newest = members_of(rotated.pack(tmp_path / "pack.zip")), rotated.tenant.signer
    last = json.loads(members["checkpoints.ndjson"].splitlines()[-1])["note"].encode()
    opened = open_checkpoint(last, NoteVerifier.parse(newest.vkey), origin=newest.name)
    old = canonical_json({"note": sign_checkpoint(opened, rotated.stolen).decode()}) + b"\n"
    lines = members["checkpoints.ndjson"].splitlines(keepends=True)
    forged = tmp_path / "forged.zip"
    forged.write_bytes(packed({**members, "checkpoints.ndjson": b"".join([*lines[:-1], old])}, newest))

    with pytest.raises(Fault, match="signed by an old key only") as caught:
        verify_pack(forged, vkey=newest.vkey)

    assert (caught.value.check, caught.value.where) == ("checkpoints", f"size {SIZE}")


def test_a_stolen_old_key_signs_no_pack(rotated: Rotated, tmp_path: Path) -> None:
    members = members_of(rotated.pack(tmp_path / "pack.zip"))
    forged = tmp_path / "forged.zip"
    forged.write_bytes(packed(members, rotated.stolen, vkey=rotated.stolen.vkey, keys=[rotated.stolen.vkey]))

    with pytest.raises(Fault) as caught:
        verify_pack(forged, vkey=rotated.keys[0])

    assert caught.value.check in {"manifest", "checkpoints"}


@pytest.mark.parametrize("index", [1, 3, 5])
def test_receipts_from_before_and_after_a_change_verify_under_the_key_they_name(
    rotated: Rotated, index: int
) -> None:
    receipt = read_receipt(rotated.installation.service.deployment, rotated.tenant, index)

    assert receipt.evidence.vkey == rotated.keys[-1]
    assert receipt.evidence.verify(NoteVerifier.parse(receipt.evidence.vkey)).size == SIZE


def test_a_file_of_keys_as_the_service_answers_them_names_the_newest(
    rotated: Rotated, tmp_path: Path
) -> None:
    pack, held = rotated.pack(tmp_path / "pack.zip"), tmp_path / "keys"
    held.write_text("\n".join(reversed(rotated.keys)) + "\n")

    run = CliRunner().invoke(cli, ["audit", "verify", str(pack), "--key", str(held)])

    assert run.exit_code == 0, run.stdout
