"""A pack says what the ledger says, and verifies without us, on both databases."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidInput, UnknownSubject
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.certificate import ErasureCertificate, open_certificate
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.record import ErasureRecord, decode_record
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.manage_tenants import create_tenant
from consent_service.operations.parquet_views import verify_parquet
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.verifier import verify
from consent_service.verifier.verify import PARQUET_UNREAD, Fault, verify_pack
from tests.audit.conftest import ERASED, KNOWN, VISITOR
from tests.audit.packs import a_foreign_signer, entries_of, export_to, members_of, packed
from tests.installation import Installation

both = pytest.mark.parametrize("installation", ["sqlite", "postgresql"], indirect=True)


@both
def test_a_pack_of_everything_verifies_and_agrees_with_the_ledger(
    installation: Installation, pack: Path
) -> None:
    ledger = verify_ledger(installation.service.deployment, installation.tenant)

    result = verify_pack(pack, vkey=installation.tenant.signer.vkey)

    assert (result["size"], result["checked"]["erased"]) == (ledger.size, ledger.erased)
    assert result["checked"]["subjects"] == ledger.subjects
    assert result["checked"]["entries"] == ledger.size
    assert result["key_pinned"]
    assert result["remarks"] == [PARQUET_UNREAD]


@both
def test_an_erased_subject_is_in_no_byte_of_the_pack(installation: Installation, pack: Path) -> None:
    entries = entries_of(members_of(pack))

    erased = [entry for entry in entries if "erased" in entry]
    assert len(erased) == 2
    assert all(set(entry) == {"index", "leaf", "erased"} for entry in erased)


@both
def test_a_period_begins_and_ends_at_signed_checkpoints(installation: Installation, tmp_path: Path) -> None:
    start = installation.clock.now - timedelta(hours=30)

    period = export_to(
        tmp_path / "period.zip",
        installation,
        AuditRequest(start=start, until=installation.clock.now - timedelta(hours=1), since=10),
    )
    result = verify_pack(period, vkey=installation.tenant.signer.vkey)

    indexes = [entry["index"] for entry in entries_of(members_of(period))]
    assert indexes == list(range(41, 47))
    assert (result["from"], result["size"]) == (41, 47)
    assert "begins at entry 41" in result["remarks"][0]


@both
def test_a_period_without_entries_has_none(installation: Installation, tmp_path: Path) -> None:
    long_ago, now = installation.clock.now - timedelta(days=900), installation.clock.now

    for number, (start, until) in enumerate(
        [
            (long_ago, long_ago + timedelta(days=1)),
            (None, long_ago),
            (now - timedelta(hours=30), now - timedelta(hours=29)),
            (now + timedelta(days=1), now + timedelta(days=2)),
        ]
    ):
        empty = export_to(tmp_path / f"{number}.zip", installation, AuditRequest(start=start, until=until))
        result = verify_pack(empty, vkey=installation.tenant.signer.vkey)
        assert (result["checked"]["entries"], result["from"]) == (0, result["size"])


@both
def test_one_subjects_pack_has_her_entries_with_a_proof_each(
    installation: Installation, tmp_path: Path
) -> None:
    subject = installation.tenant.subject(KNOWN)

    mine = export_to(tmp_path / "subject.zip", installation, AuditRequest(subject=subject))
    result = verify_pack(mine, vkey=installation.tenant.signer.vkey)

    entries = entries_of(members_of(mine))
    refs = {entry["record"]["subject"] for entry in entries}
    assert refs == {installation.tenant.ref(installation.tenant.subject(name)) for name in (KNOWN, VISITOR)}
    assert result["checked"]["entries"] == len(entries) == 5
    assert "that these words were published, is the log's word" in result["remarks"][0]
    assert all(entry["proof"] for entry in entries)


def test_a_pack_of_an_empty_ledger_verifies(installation: Installation, tmp_path: Path) -> None:
    tenant = create_tenant(installation.service.deployment, "empty")

    empty = export_to(tmp_path / "empty.zip", installation, AuditRequest(), tenant)

    assert verify_pack(empty, vkey=tenant.signer.vkey)["size"] == 0


def test_a_later_pack_continues_an_older_one(installation: Installation, pack: Path, tmp_path: Path) -> None:
    older = export_to(
        tmp_path / "older.zip",
        installation,
        AuditRequest(until=installation.clock.now - timedelta(hours=30)),
    )
    since = export_to(tmp_path / "since.zip", installation, AuditRequest(since=41))

    assert verify_pack(pack, previous=older)["verified"]
    assert verify_pack(since, previous=older)["verified"]
    assert verify_pack(older)["remarks"][1].startswith("2 records are missing")


def test_an_older_pack_cannot_pass_for_the_newer_one(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    older = export_to(
        tmp_path / "older.zip",
        installation,
        AuditRequest(until=installation.clock.now - timedelta(hours=30)),
    )

    with pytest.raises(Fault, match="is the newer one"):
        verify_pack(older, previous=pack)


def test_a_large_pack_is_read_in_several_passes(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify_pack(pack)["checked"]
    monkeypatch.setattr(verify, "SUBJECTS_AT_ONCE", 4)

    parts = verify_pack(pack)["checked"]

    assert parts == whole


def test_a_certificate_is_of_an_erasure_in_the_pack_or_refused(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    signer, tenant = installation.tenant.signer, installation.tenant
    index, entry = next(
        (entry["index"], entry)
        for entry in entries_of(members_of(pack))
        if entry["leaf"]["kind"] == "erasure"
    )
    record = decode_record(canonical_json(entry["record"]))
    assert isinstance(record, ErasureRecord)
    good = ErasureCertificate(
        origin=tenant.origin,
        index=index,
        subject=SubjectRef("s_erased"),
        opening=bytes.fromhex(entry["opening"]),
        record=record,
    )
    more = replace(record, destroyed={**record.destroyed, "records": 99})
    stranger = a_foreign_signer(signer.name)

    assert verify_pack(pack, certificates=[good.sign(signer)])["checked"]["certificates"] == 1
    for certificate, words in (
        (replace(good, record=more).sign(signer), "another entry there"),
        (replace(good, index=1).sign(signer), "another entry there"),
        (replace(good, index=10_000).sign(signer), "not in this pack"),
        (replace(good, origin="consent.local/other").sign(signer), "none that a key of this log"),
        (good.sign(stranger), "none that a key of this log"),
        ("", "none that a key of this log"),
    ):
        with pytest.raises(Fault, match=words):
            verify_pack(pack, certificates=[certificate])


def test_a_pack_has_a_certificate_of_each_erasure_that_names_nobody(
    installation: Installation, pack: Path
) -> None:
    signer, members = installation.tenant.signer, members_of(pack)
    erasure = next(entry for entry in entries_of(members) if entry["leaf"]["kind"] == "erasure")

    (line,) = members["erasures.ndjson"].splitlines()
    note = json.loads(line)["note"]
    held = open_certificate(note, NoteVerifier.parse(signer.vkey))

    assert (held.index, held.subject) == (erasure["index"], None)
    assert canonical_json(erasure["record"]) == held.record.encode()
    assert held.leaf() == canonical_json(erasure["leaf"])
    assert held.record.destroyed["records"] == 2
    checked = verify_pack(pack, vkey=signer.vkey, certificates=[note])["checked"]
    assert (checked["erasures"], checked["erased"], checked["certificates"]) == (1, 2, 1)


def test_two_processes_find_what_one_finds(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify_pack(pack)
    monkeypatch.setattr(verify, "READ_BESIDE", 0)

    assert verify_pack(pack) == whole


def test_where_there_can_be_no_second_process_one_does_it_all(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verify_pack(pack)
    monkeypatch.setattr(verify, "READ_BESIDE", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")

    assert verify_pack(pack) == whole


def test_the_table_has_a_row_for_each_choice(pack: Path) -> None:
    members = members_of(pack)

    rows = list(csv.DictReader(io.StringIO(members["table/000000.csv"].decode(), newline="")))

    entries = entries_of(members)
    records = [entry["record"] for entry in entries if "consents" in entry.get("record", {})]
    stated = {
        (
            row["subject"].removeprefix("'"),
            row["recorded_at"],
            row["purpose"],
            row["status"],
            row["valid_until"],
        )
        for row in rows
        if row["purpose"]
    }
    assert stated == {
        (record["subject"], record["recorded_at"], purpose, outcome["status"], outcome["valid_until"])
        for record in records
        for purpose, outcome in record["consents"].items()
    }
    assert {row["choices"] for row in rows if row["kind"] == "decision"} > {
        "coupons=denied recommendations=granted",
        "coupons=granted",
    }
    assert {row["kind"] for row in rows} == {"notice", "decision", "link", "erasure"}


def test_a_link_that_changed_nothing_is_a_whole_row_of_every_table(tmp_path: Path) -> None:
    with Installation(
        home=tmp_path / "home", database_url=f"sqlite:///{tmp_path / 'consent.db'}"
    ) as installation:
        installation.publish()
        installation.decide(VISITOR, {"recommendations": "granted"})
        link = installation.link(VISITOR, KNOWN).index  # who never chose anything
        pack = export_to(tmp_path / "pack.zip", installation, AuditRequest())
        result = verify_pack(pack, vkey=installation.tenant.signer.vkey)

    checked = verify_parquet(pack, result)["checked"]
    rows = list(csv.reader(members_of(pack)["table/000000.csv"].decode().splitlines()))
    assert {len(row) for row in rows} == {15}
    assert [row[1] for row in rows[1:] if row[0] == str(link)] == ["link"]
    assert checked["parquet"] == 2


def test_the_page_speaks_the_languages_of_the_notice(pack: Path) -> None:
    page = members_of(pack)["index.html"].decode()

    assert '<section lang="en" dir="ltr">' in page
    assert '<section lang="fr" dir="ltr">' in page
    assert "Coupons choisis pour vous" in page


def test_the_verifier_in_the_pack_verifies_it_alone(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    program = tmp_path / "verify.py"
    program.write_bytes(members_of(pack)["verify.py"])
    command = [sys.executable, "-I", str(program), str(pack), "--key", installation.tenant.signer.vkey]

    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("Verified: consent.local/default, entries 0 to 58")


def test_a_verifier_in_the_pack_that_always_agrees_is_pointed_out(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    signer, agreeable = installation.tenant.signer, tmp_path / "agreeable.zip"
    agreeable.write_bytes(packed({**members_of(pack), "verify.py": b"print('Verified')\n"}, signer))
    honest, other = (
        CliRunner().invoke(cli, ["audit", "verify", str(each), "--key", signer.vkey, "--json"])
        for each in (pack, agreeable)
    )

    assert (honest.exit_code, other.exit_code) == (0, 0)
    assert "verify.py" not in honest.stdout
    assert "The verify.py in the pack is not this program" in json.loads(other.stdout)["remarks"][-1]


def test_the_verifier_needs_cryptography_and_nothing_else() -> None:
    source = Path(verify.__file__).read_text()

    imported = {
        line.split()[1].partition(".")[0]
        for line in source.splitlines()
        if line.startswith(("import ", "from "))
    }

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        (lambda at: AuditRequest(start=at.clock.now, until=at.clock.now - timedelta(days=9)), InvalidInput),
        (
            lambda at: AuditRequest(
                start=at.clock.now + timedelta(days=9), until=at.clock.now + timedelta(1)
            ),
            InvalidInput,
        ),
        (lambda _at: AuditRequest(since=10_000), InvalidInput),
        (lambda at: AuditRequest(subject=at.tenant.subject("nobody")), UnknownSubject),
        (lambda at: AuditRequest(subject=at.tenant.subject(KNOWN), start=at.clock.now), InvalidInput),
    ],
)
def test_a_pack_that_cannot_be_made_is_refused_before_the_first_byte(
    installation: Installation, tmp_path: Path, request_of: object, error: type[Exception]
) -> None:
    assert callable(request_of)
    with pytest.raises(error):
        export_to(tmp_path / "none.zip", installation, request_of(installation))

    assert not (tmp_path / "none.zip").exists()


@pytest.mark.parametrize(
    "options",
    [["--subject", "nobody"], ["--since", "10000"], ["--from", "2030-01-02", "--until", "2030-01-01"]],
)
def test_a_refused_export_leaves_no_file(
    installation: Installation, tmp_path: Path, options: list[str]
) -> None:
    environment = {"CONSENT_HOME": str(installation.home), "CONSENT_DATABASE_URL": installation.database_url}

    run = CliRunner(env=environment).invoke(
        cli, ["audit", "export", "--out", str(tmp_path / "none.zip"), *options]
    )

    assert run.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_whose_pack_it_is_to_be_is_read_from_standard_input(
    installation: Installation, tmp_path: Path
) -> None:
    environment = {"CONSENT_HOME": str(installation.home), "CONSENT_DATABASE_URL": installation.database_url}
    out = tmp_path / "hers.zip"

    run = CliRunner(env=environment).invoke(
        cli, ["audit", "export", "--subject", "-", "--out", str(out)], input=f"{KNOWN}\n"
    )

    request = AuditRequest(subject=installation.tenant.subject(KNOWN))
    expected = members_of(export_to(tmp_path / "expected.zip", installation, request))
    assert run.exit_code == 0
    assert members_of(out)["entries/000000.ndjson"] == expected["entries/000000.ndjson"]


def test_a_subject_who_came_back_after_her_erasure_begins_anew(
    installation: Installation, tmp_path: Path
) -> None:
    subject = installation.tenant.subject(ERASED)

    mine = export_to(tmp_path / "again.zip", installation, AuditRequest(subject=subject))

    assert entries_of(members_of(mine))[0]["record"]["prev"] is None
