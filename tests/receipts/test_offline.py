"""A receipt in each of its forms is checked offline by the one-file verifier, and a spoilt one is refused."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.receipt import Receipt
from consent_service.ledger.receipt_forms.plain import EVIDENCE_MARK
from consent_service.operations.read_receipt import FORMS, PDF_MEDIA_TYPE, write_receipt
from consent_service.settings import Settings
from consent_service.verifier import verify
from consent_service.verifier.verify import Fault, Policy, receipt_text, verify_receipt
from tests.builders import a_notice
from tests.receipts.make import CHOICES, INDEX, SIGNER, SIZE, a_receipt

WITNESS = Cosigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def cosigned(receipt: Receipt) -> Receipt:
    proof = TlogProof.parse(receipt.evidence.proof)
    note = proof.checkpoint + WITNESS.cosign(proof.checkpoint, 1000).encode()
    evidence = replace(receipt.evidence, proof=replace(proof, checkpoint=note).encode())
    return replace(receipt, evidence=evidence)


@pytest.mark.parametrize("media_type", [*FORMS, PDF_MEDIA_TYPE])
def test_every_form_is_checked(media_type: str) -> None:
    body = write_receipt(cosigned(a_receipt()), media_type, Settings())

    result = verify_receipt(receipt_text(body), vkey=SIGNER.vkey, policy=Policy.all_of([WITNESS.vkey]))

    assert (result["index"], result["size"], result["choices"]) == (INDEX, SIZE, CHOICES)
    assert result["cosigned"] == {"w0": 1000}


def test_a_receipt_without_the_cosignatures_that_are_asked_for_is_refused() -> None:
    text = json.dumps(a_receipt().evidence.document())

    assert not verify_receipt(text)["key_pinned"]
    with pytest.raises(Fault) as caught:
        verify_receipt(text, vkey=SIGNER.vkey, policy=Policy.all_of([WITNESS.vkey]))
    assert caught.value.check == "cosignatures"


def _set(**changes: object) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda evidence: {**evidence, **changes}


@pytest.mark.parametrize(
    "spoil",
    [
        _set(v=2),
        _set(v=True),
        _set(opening=bytes(range(100, 132)).hex().upper()),
        lambda evidence: {**evidence, "proof": evidence["proof"].replace("\nindex", "\nextra !\nindex")},
        lambda evidence: {**evidence, "proof": evidence["proof"].replace("\nindex", "\nextra \nindex")},
        lambda evidence: {
            **evidence,
            "proof": evidence["proof"].replace("\nindex", "\nextra QQ==\nextra QQ==\nindex"),
        },
        lambda evidence: {**evidence, "proof": evidence["proof"].replace("index 5", "index 5\nextra QQ==")},
        _set(index=4),
        _set(index="5"),
        _set(index=True),
        _set(origin="consent.example/other"),
        _set(opening="00" * 32),
        _set(opening=None),
        _set(proof="c2sp.org/tlog-proof@v1\nindex 5\n\n"),
        _set(proof=5),
        lambda evidence: {**evidence, "record": evidence["record"].replace("denied", "granted")},
        lambda evidence: {**evidence, "notice": evidence["notice"] + " "},
        lambda evidence: {**evidence, "leaf": evidence["leaf"].replace("decision", "notice")},
        lambda evidence: {key: value for key, value in evidence.items() if key != "leaf"},
    ],
)
def test_evidence_with_one_thing_changed_is_a_fault_and_never_a_crash(
    spoil: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> None:
    document: dict[str, Any] = json.loads(json.dumps(a_receipt().evidence.document()))

    assert verify_receipt(json.dumps(document), vkey=SIGNER.vkey)["verified"]
    with pytest.raises(Fault):
        verify_receipt(json.dumps(spoil(document)), vkey=SIGNER.vkey)


@pytest.mark.parametrize("begins", [b'{"title":{"en":"Other words"},', b'{"A":NaN,', b"{ "])
def test_words_that_two_readers_read_differently_prove_nothing(begins: bytes) -> None:
    receipt = a_receipt(begins=begins)

    with pytest.raises(Fault, match="canonical"):
        verify_receipt(json.dumps(receipt.evidence.document()), vkey=SIGNER.vkey)


def test_a_proof_may_have_one_extra_line() -> None:
    document = a_receipt().evidence.document()
    proof = str(document["proof"]).replace("\nindex", "\nextra QQ==\nindex")

    assert verify_receipt(json.dumps({**document, "proof": proof}), vkey=SIGNER.vkey)["verified"]


def test_of_two_pieces_of_evidence_the_one_in_its_place_is_checked() -> None:
    """It is the one that `/verify` checks: two readers of one file do not see two decisions."""
    receipt, other = a_receipt(), json.dumps(a_receipt(choices={"coupons": "granted"}).evidence.document())
    page, text = (write_receipt(receipt, form, Settings()).decode() for form in ("text/html", "text/plain"))
    document = receipt.evidence.document()

    for file in (
        page.replace("<main", f'<p id="consent-evidence">{other}</script><main', 1),
        f"{EVIDENCE_MARK}\n{other}\n{text}",
        json.dumps({"evidence": document, "other": json.loads(other)}),
        json.dumps({"evidence": json.loads(other)})[:-1] + f', "evidence": {json.dumps(document)}}}',
    ):
        assert file.count('"opening"') > 1
        assert verify_receipt(file, vkey=SIGNER.vkey)["choices"] == CHOICES
    for nowhere in ([document], {"a": {"evidence": document}}, {"evidence": [document]}):
        with pytest.raises(Fault, match="no evidence"):
            verify_receipt(json.dumps(nowhere), vkey=SIGNER.vkey)


def test_words_that_look_like_the_mark_of_evidence_are_words() -> None:
    notice = a_notice({"title/en": f"Choices {EVIDENCE_MARK} of yours"})
    text = write_receipt(a_receipt(notice), "text/plain", Settings())

    assert verify_receipt(text.decode(), vkey=SIGNER.vkey)["verified"]


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, "{}", "hi\n", '<a id="consent-evidence">{</script>']
)
def test_a_file_without_evidence_is_a_fault(text: str) -> None:
    with pytest.raises(Fault, match="no evidence"):
        verify_receipt(text)


def test_a_file_that_is_no_utf_8_has_no_evidence() -> None:
    body = write_receipt(a_receipt(), "text/html", Settings())

    assert verify_receipt(receipt_text(body))["verified"]
    for spoilt in (b"\xff" + body, body.replace(b"</html>", b"\xed\xa0\x80</html>")):
        with pytest.raises(Fault, match="no evidence"):
            verify_receipt(receipt_text(spoilt))


def test_the_commands_check_a_file(tmp_path: Path) -> None:
    file, pdf, spoilt = (tmp_path / name for name in ("receipt.txt", "receipt.pdf", "spoilt.txt"))
    body = write_receipt(a_receipt(), "text/plain", Settings())
    file.write_bytes(body)
    pdf.write_bytes(write_receipt(a_receipt(), PDF_MEDIA_TYPE, Settings()))
    spoilt.write_bytes(body.replace(b"denied", b"granted"))
    runner = CliRunner()

    alone = [
        subprocess.run(
            [sys.executable, "-I", str(verify.__file__), str(each), "--key", SIGNER.vkey],
            capture_output=True,
            text=True,
            check=False,
        )
        for each in (file, pdf, spoilt)
    ]
    ours = [
        runner.invoke(cli, ["audit", "receipt", str(each), "--key", SIGNER.vkey, "--json"])
        for each in (file, pdf, spoilt)
    ]

    assert [run.returncode for run in alone] == [run.exit_code for run in ours] == [0, 0, 1]
    assert all("recommendations granted" in run.stdout for run in alone[:2])
    assert [json.loads(run.stdout)["size"] for run in ours[:2]] == [SIZE, SIZE]
    assert json.loads(ours[2].stdout)["check"] == "commitments"


def test_a_key_that_is_empty_is_no_key_and_not_the_receipts_own() -> None:
    with pytest.raises(Fault, match="a key is name"):
        verify_receipt(json.dumps(a_receipt().evidence.document()), vkey="")
