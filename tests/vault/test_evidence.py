"""Proof of an erased subject's consent: sealed to an auditor's offline key, until its retention ends."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from consent_service.errors import ConfigurationError, SealBroken, UnknownEntry
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.record import format_time
from consent_service.operations.keep_evidence import read_proof
from consent_service.operations.sweep_vault import sweep_vault
from consent_service.storage.ledger_store import read_leaves
from consent_service.vault.evidence import evidence_key_text, open_evidence, seal_evidence
from tests.shop import Shop

AUDITOR = X25519PrivateKey.generate()
PLACE = {"origin": "consent.local/default", "index": 3}


@pytest.fixture
def shop(migrated_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop that keeps proof for ten days."""
    shop = Shop(
        migrated_url,
        tmp_path / "home",
        evidence_key=evidence_key_text(AUDITOR.public_key()),
        evidence_days=10,
    )
    yield shop
    shop.check_ledger()
    shop.close()


def test_what_was_sealed_opens_with_the_private_key_in_its_place_only() -> None:
    sealed = seal_evidence(AUDITOR.public_key(), b"proof", origin="consent.local/default", index=3)

    assert open_evidence(AUDITOR, sealed, origin="consent.local/default", index=3) == b"proof"
    for key, origin, index, data in (
        (X25519PrivateKey.generate(), "consent.local/default", 3, sealed),
        (AUDITOR, "consent.local/other", 3, sealed),
        (AUDITOR, "consent.local/default", 4, sealed),
        (AUDITOR, "consent.local/default", 3, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (AUDITOR, "consent.local/default", 3, b"\x02" + sealed[1:]),
        (AUDITOR, "consent.local/default", 3, sealed[:20]),
        (AUDITOR, "consent.local/default", 3, b""),
    ):
        with pytest.raises(SealBroken):
            open_evidence(key, data, origin=origin, index=index)


def test_the_auditor_can_show_what_was_decided(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.deny("ana", "coupons")
    erased = shop.erase("ana")

    proof = read_proof(shop.service.deployment, shop.tenant, erased.index, AUDITOR)

    assert (proof["external_id"], proof["subject"]) == ("ana", erased.ref)
    assert [entry["record"]["choices"] for entry in proof["entries"]] == [
        {"coupons": "granted"},
        {"coupons": "denied"},
    ]
    with shop.service.deployment.reading(shop.tenant) as scope:
        for entry in proof["entries"]:
            [stored] = read_leaves(scope, entry["index"], entry["index"] + 1)
            opening = base64.b64decode(entry["opening"])
            committed = commitment(opening, canonical_json(entry["record"]))
            assert leaf(shop.tenant.origin, Kind.DECISION, committed) == stored


def test_nobody_else_can_read_it(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    erased = shop.erase("ana")

    with pytest.raises(SealBroken):
        read_proof(shop.service.deployment, shop.tenant, erased.index, X25519PrivateKey.generate())
    with pytest.raises(UnknownEntry):
        read_proof(shop.service.deployment, shop.tenant, erased.index - 1, AUDITOR)


def test_the_certificate_says_until_when_proof_is_kept(shop: Shop) -> None:
    shop.grant("ana", "coupons")

    certificate = shop.erase("ana").certificate

    assert f'"evidence_until":"{format_time(shop.now + timedelta(days=10))}"' in certificate


def test_proof_goes_when_its_retention_is_over(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.erase("ana")
    shop.pass_time(timedelta(days=9))
    assert sweep_vault(shop.service.deployment, shop.tenant).evidence == 0

    shop.pass_time(timedelta(days=2))

    assert sweep_vault(shop.service.deployment, shop.tenant).evidence == 1
    assert shop.rows("sealed_evidence") == 0


def test_without_a_key_nothing_is_kept(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path / "home")
    shop.grant("ana", "coupons")

    certificate = shop.erase("ana").certificate

    assert shop.rows("sealed_evidence") == 0
    assert '"evidence_until":null' in certificate
    shop.close()


@pytest.mark.parametrize("key", ["", "x", base64.b64encode(bytes(31)).decode()])
def test_a_key_that_is_none_is_found_at_the_start(sqlite_url: str, tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_EVIDENCE_KEY"):
        Shop(sqlite_url, tmp_path / "home", evidence_key=key)


def test_the_command_line_makes_keys_erases_and_opens_proof(sqlite_url: str, tmp_path: Path) -> None:
    environment = {"CONSENT_HOME": str(tmp_path / "home"), "CONSENT_DATABASE_URL": sqlite_url}
    key = tmp_path / "auditor.pem"

    def consent(*arguments: str, given: str = "") -> dict[str, object]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("consent")), *arguments],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        document: dict[str, object] = json.loads(done.stdout)
        return document

    environment["CONSENT_EVIDENCE_KEY"] = str(consent("evidence", "keygen", str(key), "--json")["public"])
    shop = Shop(sqlite_url, tmp_path / "home")
    shop.grant("ana@shop.example", "coupons")
    shop.close()

    erased = consent("subject", "erase", "--json", given="ana@shop.example\n")
    proof = consent("evidence", "open", str(erased["index"]), "--key", str(key))

    assert key.stat().st_mode & 0o777 == 0o600
    assert str(erased["certificate"]).startswith("consent-erasure/v1\n")
    assert proof["external_id"] == "ana@shop.example"
