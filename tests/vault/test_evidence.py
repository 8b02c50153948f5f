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
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.errors import ConfigurationError, InvalidInput, SealBroken, UnknownEntry
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.record import format_time
from consent_service.operations.keep_evidence import evidence_policy, read_proof, set_evidence_policy
from consent_service.operations.manage_tenants import create_tenant
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


def test_a_tenant_has_an_auditor_of_its_own_or_none(shop: Shop) -> None:
    deployment, theirs = shop.service.deployment, X25519PrivateKey.generate()
    for name in ("ana", "ben", "cleo"):
        shop.grant(name, "coupons")

    set_evidence_policy(deployment, shop.tenant, (evidence_key_text(theirs.public_key()), 3))
    own = shop.erase("ana")
    set_evidence_policy(deployment, shop.tenant, ("", 3))
    none = shop.erase("ben")
    set_evidence_policy(deployment, shop.tenant, None)
    default = shop.erase("cleo")

    assert f'"evidence_until":"{format_time(shop.now + timedelta(days=3))}"' in own.certificate
    assert read_proof(deployment, shop.tenant, own.index, theirs)["external_id"] == "ana"
    assert '"evidence_until":null' in none.certificate
    assert read_proof(deployment, shop.tenant, default.index, AUDITOR)["external_id"] == "cleo"
    with pytest.raises(SealBroken):
        read_proof(deployment, shop.tenant, own.index, AUDITOR)
    with pytest.raises(UnknownEntry):
        read_proof(deployment, shop.tenant, none.index, AUDITOR)


def test_the_word_of_one_tenant_is_not_that_of_another(shop: Shop) -> None:
    deployment = shop.service.deployment
    other = create_tenant(deployment, "other")

    set_evidence_policy(deployment, other, ("", 1))

    assert evidence_policy(deployment, other) is None
    assert evidence_policy(deployment, shop.tenant) is not None


@pytest.mark.parametrize(
    ("key", "days", "error"),
    [("x", 3, ConfigurationError), (evidence_key_text(AUDITOR.public_key()), 36_501, InvalidInput)],
    ids=["no key", "too long"],
)
def test_a_choice_that_is_none_changes_nothing(
    shop: Shop, key: str, days: int, error: type[Exception]
) -> None:
    before = evidence_policy(shop.service.deployment, shop.tenant)

    with pytest.raises(error):
        set_evidence_policy(shop.service.deployment, shop.tenant, (key, days))

    after = evidence_policy(shop.service.deployment, shop.tenant)
    assert before is not None
    assert after is not None
    assert (after.keep, evidence_key_text(after.key)) == (before.keep, evidence_key_text(before.key))


def test_the_command_line_sets_a_tenants_auditor(shop: Shop) -> None:
    url = shop.settings.resolved_database_url.get_secret_value()
    key = evidence_key_text(AUDITOR.public_key())
    environment = {"CONSENT_HOME": str(shop.settings.home), "CONSENT_DATABASE_URL": url}

    def run(*words: str) -> object:
        words = ("tenant", "evidence", "default", *words, "--json")
        return json.loads(CliRunner().invoke(cli, words, env=environment, catch_exceptions=False).stdout)

    assert run("--key", key, "--days", "7") == {
        "tenant": "default",
        "evidence_key": key,
        "evidence_days": 7,
    }
    assert run("--keep-nothing") == {"tenant": "default", "evidence_key": None, "evidence_days": None}
    assert run() == {"tenant": "default", "evidence_key": None, "evidence_days": None}
    wrong = CliRunner().invoke(cli, ["tenant", "evidence", "default", "--key", "x"], env=environment)
    assert wrong.exit_code == 2


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
