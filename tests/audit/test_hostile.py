"""Packs that were spoilt, made up, or written to harm: all are noticed, and the fault is named."""

import base64
import hashlib
import itertools
import json
import os
import random
import re
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from consent_service.cli.audit import write_whole
from consent_service.cli.main import app as cli
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.cosignature import Cosigner
from consent_service.ledger.note import NoteSigner, sign_note
from consent_service.ledger.pack_page import PackSummary, pack_page
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.manage_tenants import create_tenant
from consent_service.operations.pack_file import PackFile
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.record_decision import DecisionAnswer
from consent_service.operations.repeat_export import entity_tag, new_mark
from consent_service.verifier import verify
from consent_service.verifier.verify import (
    LARGEST_LINE,
    MANIFEST,
    NOTE_HEADER,
    SIGNATURE,
    VIEW_HEADER,
    Fault,
    Member,
    Pack,
    Policy,
    cell,
    directory_end,
    member_header,
    printable,
    verify_pack,
)
from tests.audit.conftest import KNOWN
from tests.audit.forge import (
    Entries,
    forged,
    impossible_packs,
    impossible_packs_of_one,
    impossible_periods,
    spoilt_certificates,
)
from tests.audit.packs import (
    a_foreign_signer,
    entries_of,
    export_to,
    members_of,
    members_of_bytes,
    packed,
    zipped,
)
from tests.builders import ChoiceName, a_decision, a_notice
from tests.installation import Installation
from tests.size import size

EDITS = 200


@pytest.fixture(scope="module")
def members(pack: Path) -> dict[str, bytes]:
    return members_of(pack)


@pytest.fixture(scope="module")
def signer(installation: Installation) -> NoteSigner:
    return installation.tenant.signer


@pytest.fixture
def fault_of(tmp_path: Path, signer: NoteSigner) -> Callable[[bytes], Fault]:
    """Verify bytes as a pack under the log's key; return the fault that is found."""

    def verify(data: bytes) -> Fault:
        spoilt = tmp_path / "spoilt.zip"
        spoilt.write_bytes(data)
        with pytest.raises(Fault) as caught:
            verify_pack(spoilt, vkey=signer.vkey)
        return caught.value

    return verify


FaultOf = Callable[[bytes], Fault]


def test_of_two_hundred_random_edits_of_each_member_every_one_is_noticed_and_the_member_named(
    pack: Path, members: dict[str, bytes], fault_of: FaultOf
) -> None:
    whole = pack.read_bytes()
    chance = random.Random(20261128)  # noqa: S311  # the same edits every time
    with zipfile.ZipFile(pack) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    ends = [*starts[1:], whole.index(b"PK\1\2", starts[-1])]

    for name, start, end in zip(members, starts, ends, strict=True):
        for _ in range(EDITS):
            data = bytearray(whole)
            data[chance.randrange(start, end)] ^= chance.randrange(1, 256)
            fault = fault_of(bytes(data))
            signed = name in {MANIFEST, SIGNATURE}
            assert fault.check in ({"container", "manifest"} if signed else {"container"})
            assert signed or fault.where == name
            assert fault.message


def test_an_edit_of_any_byte_of_the_directory_is_noticed(pack: Path, fault_of: FaultOf) -> None:
    whole = pack.read_bytes()
    directory = whole.index(b"PK\1\2")

    for position in range(directory, len(whole)):
        data = bytearray(whole)
        data[position] ^= 0x80
        assert fault_of(bytes(data)).check in {"container", "manifest"}


@pytest.mark.parametrize("kept", [0, 1, 21, 22, 0.25, 0.5, 0.99, -1, -22])
def test_a_truncated_pack_is_noticed(pack: Path, fault_of: FaultOf, kept: float) -> None:
    whole = pack.read_bytes()
    length = int(kept * len(whole)) if 0 < kept < 1 else int(kept)

    assert fault_of(whole[:length]).check == "container"


@pytest.mark.parametrize("added", [b"\0", b"PK\5\6" + bytes(18)])
def test_bytes_before_or_behind_a_pack_are_noticed(pack: Path, fault_of: FaultOf, added: bytes) -> None:
    whole = pack.read_bytes()

    assert fault_of(added + whole).check == "container"
    assert fault_of(whole + added).check == "container"


def test_a_pack_that_another_program_wrote_is_noticed(members: dict[str, bytes], fault_of: FaultOf) -> None:
    assert fault_of(zipped(members)).check == "container"


@pytest.mark.parametrize("name", ["verify.py", "entries/000000.ndjson", "index.html", "checkpoints.ndjson"])
def test_a_member_taken_out_is_named(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, name: str
) -> None:
    file = PackFile()
    pieces = [
        piece for other, data in members.items() if other != name for piece in file.member(other, [data])
    ]
    listed = json.loads(members[MANIFEST])["members"]
    pieces.append(file.directory())

    fault = fault_of(b"".join(pieces))

    assert (fault.check, fault.where) == ("container", name)
    assert name in {member["name"] for member in listed}


def test_a_member_put_in_or_out_of_order_is_noticed(members: dict[str, bytes], fault_of: FaultOf) -> None:
    for changed in (
        {"extra.json": b"{}", **members},
        {"index.html": members["index.html"], **members},
    ):
        file = PackFile()
        pieces = [piece for name, data in changed.items() for piece in file.member(name, [data])]
        fault = fault_of(b"".join([*pieces, file.directory()]))
        assert (fault.check, fault.where) == ("container", "verify.py")


def test_a_foreign_key_is_noticed(members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf) -> None:
    foreign = a_foreign_signer(signer.name)

    fault = fault_of(packed(members, foreign, vkey=foreign.vkey, keys=[foreign.vkey]))

    assert (fault.check, fault.where) == ("manifest", SIGNATURE)


def test_a_second_signature_on_the_manifest_is_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    extra = members[SIGNATURE] + members[SIGNATURE].split(b"\n\n")[1]
    file = PackFile()
    pieces = [
        piece for name, data in {**members, SIGNATURE: extra}.items() for piece in file.member(name, [data])
    ]

    assert fault_of(b"".join([*pieces, file.directory()])).check == "manifest"


def test_entries_of_another_tenant_are_noticed(
    installation: Installation,
    members: dict[str, bytes],
    signer: NoteSigner,
    fault_of: FaultOf,
    tmp_path: Path,
) -> None:
    other = create_tenant(installation.service.deployment, "another-shop")
    installation.service.committer.submit_blocking(other, PublishNotice(notice=a_notice()))
    theirs = members_of(export_to(tmp_path / "other.zip", installation, AuditRequest(), other))

    faults = {
        name: fault_of(packed({**members, name: theirs[name]}, signer)).check
        for name in ("entries/000000.ndjson", "checkpoints.ndjson", "table/000000.csv")
    }
    unsigned = PackFile()
    pieces = [
        piece
        for name, data in {**members, MANIFEST: theirs[MANIFEST], SIGNATURE: theirs[SIGNATURE]}.items()
        for piece in unsigned.member(name, [data])
    ]

    assert faults == {
        "entries/000000.ndjson": "entries",
        "checkpoints.ndjson": "checkpoints",
        "table/000000.csv": "views",
    }
    assert fault_of(b"".join([*pieces, unsigned.directory()])).check == "manifest"


def _lines(members: dict[str, bytes], edit: Callable[[list[bytes]], list[bytes]]) -> dict[str, bytes]:
    lines = members["entries/000000.ndjson"].splitlines(keepends=True)
    return {**members, "entries/000000.ndjson": b"".join(edit(lines))}


@pytest.mark.parametrize(
    ("edit", "check", "index"),
    [
        (lambda lines: lines[:20] + lines[21:], "entries", 21),
        (lambda lines: [*lines[:20], lines[21], lines[20], *lines[22:]], "entries", 21),
        (lambda lines: [*lines[:20], lines[19], *lines[20:]], "entries", 19),
        (lambda lines: lines[:-1], "views", None),
        (lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")], "container", None),
        (lambda lines: [*lines[:9], b"\n", *lines[9:]], "entries", None),
        (lambda lines: [line.replace(b'"granted"', b'"denied"') for line in lines], "commitments", 1),
        (lambda lines: [line.replace(b'"index":12,', b'"index":012,') for line in lines], "entries", None),
        (lambda lines: [line.replace(b',"opening"', b', "opening"') for line in lines], "entries", None),
    ],
)
def test_entries_that_do_not_fit_the_signed_tree_are_named(
    members: dict[str, bytes],
    signer: NoteSigner,
    fault_of: FaultOf,
    edit: Callable[[list[bytes]], list[bytes]],
    check: str,
    index: int | None,
) -> None:
    fault = fault_of(packed(_lines(members, edit), signer))

    assert (fault.check, fault.index) == (check, index)


def _first(entries: Entries, **wanted: Any) -> dict[str, Any]:
    """The first decision with these members in its record."""
    return next(
        entry["record"]
        for entry in entries
        if entry.get("record", {}).get("kind") == "decision"
        and all(entry["record"].get(key) == value for key, value in wanted.items())
    )


def _last(entries: Entries) -> dict[str, Any]:
    record: dict[str, Any] = entries[-1]["record"]
    return record


def _flip(entries: Entries) -> None:
    outcome = _last(entries)["consents"]["coupons"]
    outcome["status"] = "given" if outcome["status"] != "given" else "refused"


def _prolong(entries: Entries) -> None:
    _first(entries)["consents"]["recommendations"]["valid_until"] = "2036-01-01T00:00:00.000Z"


def _drop_first_of_a_chain(entries: Entries) -> None:
    subject = _last(entries)["subject"]
    position = next(n for n, entry in enumerate(entries) if entry.get("record", {}).get("subject") == subject)
    for entry in entries:
        entry["keep_prev"] = True
    del entries[position]


def _backdate(entries: Entries) -> None:
    record = _last(entries)
    for field in ("recorded_at", "decided_at"):
        record[field] = "2026-01-01T00:00:00.000Z"


def _hide(entries: Entries) -> None:
    entry = entries[-1]
    del entry["record"], entry["opening"]
    entry["erased"] = True


def _hide_more_than_was_erased(entries: Entries) -> None:
    erasure = next(entry for entry in entries if entry["leaf"]["kind"] == "erasure")
    erasure["record"]["destroyed"]["records"] += 1
    _hide(entries)


def _hide_an_erasure(entries: Entries) -> None:
    erasure = next(entry for entry in entries if entry["leaf"]["kind"] == "erasure")
    del erasure["record"], erasure["opening"]
    erasure["erased"] = True


def _decide_before_publication(entries: Entries) -> None:
    entries[1]["record"]["notice"] = entries[-1]["record"]["notice"]


def _unknown_notice(entries: Entries) -> None:
    entries[1]["record"]["notice"] = "0" * 64


def _unknown_purpose(entries: Entries) -> None:
    entries[1]["record"]["choices"]["surveillance"] = "granted"


def _third_choice(entries: Entries) -> None:
    entries[1]["record"]["choices"]["coupons"] = "assumed"


def _link_to_nobody(entries: Entries) -> None:
    record = next(e["record"] for e in entries if e["leaf"]["kind"] == "link")
    record["linked"] = "s_nobody"


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (_flip, "statuses"),
        (_prolong, "statuses"),
        (_drop_first_of_a_chain, "chains"),
        (_backdate, "entries"),
        (_hide, "counts"),
        (_hide_more_than_was_erased, "erasures"),
        (_hide_an_erasure, "entries"),
        (_decide_before_publication, "statuses"),
        (_unknown_notice, "statuses"),
        (_unknown_purpose, "statuses"),
        (_third_choice, "entries"),
        (_link_to_nobody, "statuses"),
    ],
)
def test_an_operator_who_signs_an_impossible_history_is_found_out(
    members: dict[str, bytes],
    signer: NoteSigner,
    fault_of: FaultOf,
    edit: Callable[[Entries], None],
    check: str,
) -> None:
    assert fault_of(forged(members, signer, edit)).check == check


def test_what_no_log_can_have_led_to_is_a_fault_though_its_key_signed_it(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    found, expected = {}, {}

    for name, check, where, data in impossible_packs(members, signer):
        fault = fault_of(data)
        found[name], expected[name] = (fault.check, fault.where), (check, where)

    assert found == expected


def test_a_period_says_nothing_that_no_past_can_have_led_to(
    installation: Installation, signer: NoteSigner, fault_of: FaultOf, tmp_path: Path
) -> None:
    request = AuditRequest(start=installation.clock.now - timedelta(days=1))
    period = members_of(export_to(tmp_path / "period.zip", installation, request))
    unchanged = tmp_path / "unchanged.zip"
    unchanged.write_bytes(forged(period, signer, lambda _entries: None))
    found, expected = {}, {}

    for name, check, where, data in impossible_periods(period, signer):
        fault = fault_of(data)
        found[name], expected[name] = (fault.check, fault.where), (check, where)

    assert verify_pack(unchanged, vkey=signer.vkey)["from"] > 0
    assert found == expected
    assert len(found) > 30


def test_every_period_of_an_honest_log_verifies(tmp_path: Path) -> None:
    chance = random.Random(20261129)  # noqa: S311  # the same log every time
    with Installation(home=tmp_path, database_url=f"sqlite:///{tmp_path / 'consent.db'}") as honest:
        published = [honest.publish()]
        known = [f"customer-{number}" for number in range(6)]
        starts, recorded = [], list[object]()
        for step in range(size(120, 400)):
            honest.clock.advance(hours=chance.randrange(1, 20))
            starts.append(honest.clock.now)
            if step % 8 == 7:
                version = {"purposes/coupons/version": step, "purposes/coupons/validity": "PT36H"}
                published.append(honest.publish(a_notice(version)))
            if step % 25 == 24:
                visitor = f"visitor-{step}"
                honest.decide(visitor, {"coupons": chance.choice(["granted", "denied"])})
                honest.link(visitor, chance.choice(known))
            asked = chance.sample(["coupons", "recommendations", "support_context"], chance.randrange(1, 4))
            choices: dict[str, ChoiceName] = {each: chance.choice(["granted", "denied"]) for each in asked}
            late = honest.clock.now - timedelta(hours=chance.choice([0, 0, 0, 60]))
            decision = a_decision(choices, notice=chance.choice(published[-2:]).digest, decided_at=late)
            recorded += honest.decide_all([honest.request(chance.choice(known), decision=decision)])

        assert sum(isinstance(each, DecisionAnswer) for each in recorded) > len(recorded) // 2
        for start in starts[:: size(6, 3)]:
            pack = export_to(tmp_path / "period.zip", honest, AuditRequest(start=start))
            assert verify_pack(pack, vkey=honest.tenant.signer.vkey)["verified"]


def test_a_pack_of_one_subject_has_nothing_that_is_not_checked(
    installation: Installation, signer: NoteSigner, fault_of: FaultOf, tmp_path: Path
) -> None:
    request = AuditRequest(subject=installation.tenant.subject(KNOWN))
    hers = members_of(export_to(tmp_path / "hers.zip", installation, request))
    found, expected = {}, {}

    for name, check, where, data in impossible_packs_of_one(hers, signer):
        fault = fault_of(data)
        found[name], expected[name] = (fault.check, fault.where), (check, where)

    assert found == expected


def test_words_were_shown_to_a_reader_of_a_narrower_language(
    members: dict[str, bytes], signer: NoteSigner, tmp_path: Path
) -> None:
    def narrow(entries: Entries) -> None:
        _last(entries)["language"] = "EN-gb-oed"

    path = tmp_path / "narrow.zip"
    path.write_bytes(forged(members, signer, narrow))

    assert verify_pack(path, vkey=signer.vkey)["verified"]


def test_a_file_that_another_took_the_place_of_while_it_was_read_is_a_fault(
    pack: Path,
    members: dict[str, bytes],
    signer: NoteSigner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rewrite(entries: Entries) -> None:
        entries[1]["record"]["source"] = "call_centre"

    read, other = tmp_path / "read.zip", tmp_path / "other.zip"
    read.write_bytes(pack.read_bytes())
    other.write_bytes(forged(members, signer, rewrite))
    monkeypatch.setattr(verify, "READ_BESIDE", 0)

    with Pack(read) as opened:
        run = verify.Verification(opened, signer.vkey, lambda _done, _total: None)
        other.replace(read)

        with pytest.raises(Fault, match="the file changed while it was read"):
            run.run()


@pytest.mark.parametrize("edit", [_flip, _backdate, _hide, _drop_first_of_a_chain, _third_choice])
def test_two_processes_name_the_fault_that_one_names(
    members: dict[str, bytes],
    signer: NoteSigner,
    fault_of: FaultOf,
    monkeypatch: pytest.MonkeyPatch,
    edit: Callable[[Entries], None],
) -> None:
    data = forged(members, signer, edit)
    alone = fault_of(data)
    monkeypatch.setattr(verify, "READ_BESIDE", 0)

    beside = fault_of(data)

    assert (beside.check, beside.where, beside.index) == (alone.check, alone.where, alone.index)


def test_a_certificate_that_is_not_of_the_erasure_beside_it_is_a_fault(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    spoilt = list(spoilt_certificates(members, signer, a_foreign_signer(signer.name)))
    without = {name: data for name, data in members.items() if name != "erasures.ndjson"}

    for words, data in spoilt:
        fault = fault_of(data)
        assert (fault.check, fault.where) == ("erasures", "erasures.ndjson")
        assert words in fault.message
    missing = fault_of(packed(without, signer))
    assert (missing.check, missing.where, missing.message) == ("container", "erasures.ndjson", "is missing")


def test_a_possible_history_verifies_alone_and_not_beside_the_older_pack(
    pack: Path, members: dict[str, bytes], signer: NoteSigner, tmp_path: Path
) -> None:
    def rewrite(entries: Entries) -> None:
        entries[1]["record"]["source"] = "call_centre"

    other = tmp_path / "other.zip"
    other.write_bytes(forged(members, signer, rewrite))

    assert verify_pack(other, vkey=signer.vkey)["verified"]
    with pytest.raises(Fault, match="two packs disagree"):
        verify_pack(other, vkey=signer.vkey, previous=pack)


def test_two_packs_that_disagree_about_the_logs_length_or_keys_are_noticed(
    pack: Path, members: dict[str, bytes], signer: NoteSigner, tmp_path: Path
) -> None:
    older, stranger = tmp_path / "older.zip", a_foreign_signer(signer.name).vkey
    head = json.loads(members[MANIFEST])["head"]

    for changes, check, words in (
        ({"head": head + 1}, "tree", "has fewer now"),
        ({"keys": [stranger, signer.vkey]}, "manifest", "disagree about the keys"),
    ):
        older.write_bytes(packed(members, signer, **changes))
        with pytest.raises(Fault, match=words) as caught:
            verify_pack(pack, vkey=signer.vkey, previous=older)
        assert (caught.value.check, caught.value.where) == (check, "previous")


def test_a_table_that_says_something_else_is_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    table = members["table/000000.csv"].replace(b"coupons=denied", b"coupons=granted")

    fault = fault_of(packed({**members, "table/000000.csv": table}, signer))

    assert (fault.check, fault.where) == ("views", "table/000000.csv")


@pytest.mark.parametrize("name", ["table/000000.csv", "index.html", "entries/000000.ndjson"])
def test_contents_under_the_digest_of_others_are_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, name: str
) -> None:
    data = packed(members, signer)
    listed = json.loads(members_of_bytes(data)[MANIFEST])["members"]
    lying = [{**each, "sha256": "0" * 64} if each["name"] == name else each for each in listed]

    fault = fault_of(_resigned(members_of_bytes(data), signer, {"members": lying}))

    assert (fault.check, fault.where) == ("container", name)


def test_a_table_under_the_digest_of_the_right_one_is_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    data = packed({**members, "table/000000.csv": VIEW_HEADER.encode()}, signer)
    right = {each["name"]: each["sha256"] for each in json.loads(members[MANIFEST])["members"]}
    listed = json.loads(members_of_bytes(data)[MANIFEST])["members"]
    lying = [{**each, "sha256": right[each["name"]]} for each in listed]

    fault = fault_of(_resigned(members_of_bytes(data), signer, {"members": lying}))

    assert (fault.check, fault.where) == ("views", "table/000000.csv")


def test_words_that_were_not_shown_are_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    name = next(name for name in members if name.startswith("notices/"))

    fault = fault_of(packed({**members, name: members[name].replace(b"Sell", b"Lend")}, signer))

    assert (fault.check, fault.where) == ("notices", name)


def test_a_checkpoint_that_nobody_signed_is_noticed(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf
) -> None:
    lines = members["checkpoints.ndjson"].splitlines(keepends=True)
    spoilt = lines[-1].replace(b"consent.local/default\\n", b"consent.local/default\\n0", 1)

    fault = fault_of(packed({**members, "checkpoints.ndjson": b"".join([*lines[:-1], spoilt])}, signer))

    assert fault.check == "checkpoints"


JUNK: list[Any] = [-1, 10**15, "", "x", [], {}, [None], {"x": 1}, True]


@pytest.mark.parametrize(
    "member",
    ["pack", "origin", "vkey", "mode", "from", "to", "root", "start", "since", "counts", "members", "keys"],
)
def test_a_manifest_with_junk_in_it_is_a_fault_and_never_a_crash(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, member: str
) -> None:
    for junk in JUNK:
        assert fault_of(_resigned(members, signer, {member: junk})).check


def test_a_manifest_says_nothing_that_nobody_reads(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, tmp_path: Path
) -> None:
    first, *others = json.loads(members_of_bytes(packed(members, signer))[MANIFEST])["members"]
    since: dict[str, Any] = {
        "size": 0,
        "root": base64.b64encode(hashlib.sha256(b"").digest()).decode(),
        "proof": [],
    }
    good = tmp_path / "good.zip"
    good.write_bytes(_resigned(members, signer, {"since": since}))

    assert verify_pack(good, vkey=signer.vkey)["verified"]
    for changes in (
        {"members": [{**first, "note": ""}, *others]},
        {"members": [{**first, "size": str(first["size"])}, *others]},
        {"members": [{**first, "raw": None}, *others]},
        {"members": [first["name"], *others]},
        {"since": {**since, "note": ""}},
        {"since": {**since, "size": "0"}},
        {"since": {**since, "proof": [0]}},
        {"from": 1, "start": {"peaks": [0]}},
        {"from": 1, "start": {"peaks": [], "note": ""}},
    ):
        fault = fault_of(_resigned(members, signer, changes))
        assert (fault.check, fault.where) == ("manifest", MANIFEST), changes


@pytest.mark.parametrize(
    ("spelling", "where"),
    [
        (b'{"counts":{"x":1e0,', MANIFEST),
        (b'{"counts":{"x":1.0,', MANIFEST),
        (b'{"counts":{"x":9007199254740993,', MANIFEST),
        ('{"counts":{"\u00e9":1,'.encode(), MANIFEST),
        (b'{"counts":{"x":NaN,', SIGNATURE),
        (b'{"counts":{"\xed\xa0\x80":1,', SIGNATURE),
    ],
)
def test_a_manifest_that_readers_read_differently_is_refused(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, spelling: bytes, where: str
) -> None:
    data = members_of_bytes(packed(members, signer))[MANIFEST].replace(b'{"counts":{', spelling, 1)
    assert data.startswith(spelling)

    fault = fault_of(_signed_as_it_is(members, signer, data))

    assert (fault.check, fault.where) == ("manifest", where)


def _resigned(members: dict[str, bytes], signer: NoteSigner, changes: dict[str, Any]) -> bytes:
    """Return the pack with another manifest, signed."""
    manifest = json.loads(members_of_bytes(packed(members, signer))[MANIFEST])
    return _signed_as_it_is(members, signer, canonical_json({**manifest, **changes}))


def _signed_as_it_is(members: dict[str, bytes], signer: NoteSigner, manifest: bytes) -> bytes:
    """Return the pack with these bytes for its manifest, signed."""
    file = PackFile()
    outside = {name: data for name, data in members.items() if name not in {MANIFEST, SIGNATURE}}
    pieces = [piece for name, data in outside.items() for piece in file.member(name, [data])]
    digest = base64.b64encode(hashlib.sha256(manifest).digest()).decode()
    origin = json.loads(manifest.decode("utf-8", "replace"))["origin"]
    note = sign_note(f"{NOTE_HEADER}\n{origin}\n{digest}\n", signer)
    for name, contents in ((MANIFEST, manifest), (SIGNATURE, note)):
        pieces += file.member(name, [contents])
    return b"".join([*pieces, file.directory()])


def test_a_bomb_is_not_set_off(members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf) -> None:
    bomb = bytes(LARGEST_LINE * 16)

    entries = fault_of(packed({**members, "entries/000000.ndjson": bomb}, signer))
    notice = fault_of(packed({**members, f"notices/{'0' * 64}.json": bomb}, signer))
    manifest = fault_of(_with_sizes(packed(members, signer), MANIFEST, 1 << 30))

    assert "has a line of more than" in entries.message
    assert notice.check in {"container", "notices"}
    assert (manifest.check, manifest.where) == ("container", MANIFEST)


def test_a_manifest_of_a_gigabyte_is_refused_in_little_memory(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    """In full by `make soak`; the size is what the directory says, and what is really there."""
    bomb, megabytes = tmp_path / "bomb.zip", size(64, 1024)
    file = PackFile()
    with bomb.open("wb") as out:
        for name, data in members.items():
            contents = itertools.repeat(bytes(1 << 20), megabytes) if name == MANIFEST else [data]
            out.writelines(file.member(name, contents))
        out.write(file.directory())
    understated = tmp_path / "understated.zip"
    understated.write_bytes(_with_sizes(bomb.read_bytes(), MANIFEST, 100))
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20)); "
        f"sys.argv = sys.argv[1:]; runpy.run_path({verify.__file__!r}, run_name='__main__')"
    )

    runs = [
        subprocess.run(
            [sys.executable, "-I", "-c", limited, "verify.py", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        for path in (bomb, understated)
    ]

    assert [run.returncode for run in runs] == [1, 1]
    assert "manifest.json: is larger than" in runs[0].stdout
    assert "manifest.json: is stored in another way than ours" in runs[1].stdout


def _with_sizes(data: bytes, name: str, size: int) -> bytes:
    """Return the pack with another uncompressed size of one member, in its trailer and in the directory."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        info = archive.getinfo(name)
    spoilt = bytearray(data)
    trailer = info.header_offset + 30 + len(name) + info.compress_size
    spoilt[trailer + 12 : trailer + 16] = struct.pack("<L", size)
    central = data.index(name.encode(), data.index(b"PK\1\2")) - 46
    spoilt[central + 24 : central + 28] = struct.pack("<L", size)
    return bytes(spoilt)


@pytest.mark.parametrize(
    "name",
    ["../etc/passwd.py", "/etc/passwd.py", "a/../b.py", "con\x1b[2J.py", "a\\b.py", "entries//a.py", "é.py"],
)
def test_a_name_that_leads_elsewhere_is_refused_and_printed_harmlessly(
    members: dict[str, bytes], signer: NoteSigner, fault_of: FaultOf, name: str
) -> None:
    fault = fault_of(packed({name: b"", **members}, signer))

    assert fault.check == "container"
    assert str(fault).isprintable()


def test_two_members_of_one_name_are_refused(members: dict[str, bytes], fault_of: FaultOf) -> None:
    file = PackFile()
    pieces = list(file.member("verify.py", [b"1"]))
    pieces += file.member("verify.py", [b"2"])

    fault = fault_of(b"".join([*pieces, file.directory()]))

    assert (fault.check, fault.where, fault.message) == (
        "container",
        "verify.py",
        "two members have this name",
    )


@pytest.mark.parametrize("members", [1, 2])
def test_a_pack_of_gigabytes_is_read_where_its_directory_is(tmp_path: Path, members: int) -> None:
    """Beyond 2 GiB an entry has a wide offset, beyond 4 GiB the directory has a second end."""
    path, size, listed = tmp_path / "large.zip", 3 << 30, b""
    with path.open("wb") as file:
        for number in range(members):
            member = Member(f"large{number}.csv", 0, 0, (size, size), file.tell())
            file.write(member_header(member.name, 0))
            file.seek(size, os.SEEK_CUR)  # a hole takes no room
            file.write(member.trailer())
            listed += member.listed()
        file.write(listed + directory_end(members, file.tell(), len(listed)))

    with Pack(path) as pack, zipfile.ZipFile(path) as archive:
        assert [*pack.members] == archive.namelist()
        assert [each.start for each in pack.members.values()] == [
            each.header_offset for each in archive.infolist()
        ]


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda b: b + b"PK\5\6" + bytes(18)))
)
def test_any_bytes_at_all_are_a_fault_and_never_a_crash(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(data)

    with pytest.raises(Fault):
        verify_pack(path)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert cell(start + '"') == f'"\'{start}"""'


def test_no_printed_text_steers_a_terminal() -> None:
    assert printable("a\x1b[31mb\u202e\n") == "a\\x1b[31mb\\u202e\\n"


def test_the_page_of_a_pack_shows_hostile_words_as_words() -> None:
    hostile = {"en": "<script>alert(1)</script>", "fr": "'\"><img src=x>"}
    notice = a_notice()
    purposes = {
        key: replace(purpose, name=hostile, benefit=hostile) for key, purpose in notice.purposes.items()
    }
    summary = PackSummary(
        origin="<b>", vkey="<i>", root="", first=0, size=1, made_at="", counts={"entries": 1}
    )

    page = pack_page(summary, replace(notice, purposes=purposes))

    assert "<script" not in page
    assert "<img" not in page
    assert "<i>" not in page


def test_the_page_of_a_pack_has_the_words_of_every_language_and_marks_those_among_english_ones() -> None:
    arabic = "\u0642\u0633\u0627\u0626\u0645"
    words = {"en": "Coupons", "nb": "Kuponger", "ar": arabic, "eu": "Kupoiak", "fa": arabic}
    notice = a_notice()
    purposes = {key: replace(purpose, name=words, benefit=words) for key, purpose in notice.purposes.items()}
    summary = PackSummary(origin="o", vkey="k", root="", first=0, size=0, made_at="", counts={})

    page = pack_page(summary, replace(notice, languages=tuple(words), purposes=purposes))

    assert re.findall(r'<section lang="(\w+)" dir="(\w+)">', page) == [
        ("en", "ltr"),
        ("no", "ltr"),
        ("ar", "rtl"),
        ("en", "ltr"),
        ("en", "ltr"),
    ]
    assert all(f"<dt>{word}</dt>" in page for word in ("Coupons", "Kuponger", arabic))
    assert '<dt lang="eu" dir="ltr">Kupoiak</dt>' in page
    assert f'<dt lang="fa" dir="rtl">{arabic}</dt>' in page


def test_a_pack_made_while_others_write_verifies(installation: Installation, tmp_path: Path) -> None:
    stop = threading.Event()
    written: list[object] = []

    def write() -> None:
        while not stop.is_set():
            written.append(installation.decide(f"busy-{len(written)}", {"coupons": "granted"}))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        packs = [export_to(tmp_path / f"{n}.zip", installation, AuditRequest()) for n in range(5)]
    finally:
        stop.set()
        writer.join()

    sizes = [verify_pack(each, vkey=installation.tenant.signer.vkey)["size"] for each in packs]
    assert sizes == sorted(sizes)
    assert written


def test_a_stolen_old_keys_other_future_is_refused_where_witnesses_or_an_older_pack_are_asked(
    pack: Path, members: dict[str, bytes], signer: NoteSigner, tmp_path: Path
) -> None:
    """Alone it verifies: whoever has the key can sign any future. That is what witnesses are for."""

    def another_future(entries: Entries) -> None:
        entries[40]["record"]["source"] = "call_centre"

    fork = tmp_path / "fork.zip"
    fork.write_bytes(forged(members, signer, another_future))
    witness = Cosigner("witness.example/w1", Ed25519PrivateKey.generate()).vkey

    assert verify_pack(fork, vkey=signer.vkey)["verified"]
    with pytest.raises(Fault) as unseen:
        verify_pack(fork, vkey=signer.vkey, policy=Policy.all_of([witness]))
    with pytest.raises(Fault) as older:
        verify_pack(fork, vkey=signer.vkey, previous=pack)
    assert (unseen.value.check, older.value.check) == ("cosignatures", "tree")


def test_an_export_that_was_killed_leaves_the_file_before_and_is_completed_when_run_again(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    out, part = tmp_path / "pack.zip", tmp_path / "pack.zip.part"
    out.write_bytes(pack.read_bytes())
    environment = {
        **os.environ,
        "CONSENT_HOME": str(installation.home),
        "CONSENT_DATABASE_URL": installation.database_url,
    }
    writing = (
        "import os, sys\n"
        "from consent_service.cli.main import app\n"
        "def fsync(descriptor):\n"
        "    print('written', flush=True); sys.stdin.read()\n"
        "os.fsync = fsync\n"
        "app(sys.argv[1:])\n"
    )
    arguments = ["audit", "export", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", writing, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as exporter:
        assert exporter.stdout is not None
        assert exporter.stdout.readline() == b"written\n"
        exporter.kill()
    half = part.read_bytes()
    before = verify_pack(out, vkey=installation.tenant.signer.vkey)["size"]
    installation.decide("went on", {"coupons": "granted"})
    torn = bytearray(half[: len(half) // 2])
    torn[len(torn) // 2] ^= 1
    part.write_bytes(torn)

    again = CliRunner(env=environment).invoke(cli, arguments)
    anew = part.with_name("anew.zip")
    CliRunner(env=environment).invoke(cli, [*arguments[:-1], str(anew)])

    assert before == verify_pack(pack)["size"]
    assert again.exit_code == 0
    assert out.read_bytes() == half  # the same pack, though the shop went on and a byte was torn
    assert verify_pack(out, vkey=installation.tenant.signer.vkey)["size"] < verify_pack(anew)["size"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["anew.zip", "pack.zip"]


def test_an_export_begun_before_an_erasure_is_made_anew(installation: Installation, tmp_path: Path) -> None:
    installation.decide("gone soon", {"coupons": "granted"})
    deployment, tenant = installation.service.deployment, installation.tenant
    begun = entity_tag(tenant, AuditRequest(), new_mark(deployment, tenant))
    (tmp_path / "pack.zip.part.tag").write_text(begun)
    (tmp_path / "pack.zip.part").write_bytes(bytes(1 << 20))
    erasure = EraseSubject(subject=tenant.subject("gone soon"))
    answer = installation.service.committer.submit_blocking(tenant, erasure)

    run = CliRunner().invoke(
        cli,
        ["audit", "export", "--out", str(tmp_path / "pack.zip")],
        env={"CONSENT_HOME": str(installation.home), "CONSENT_DATABASE_URL": installation.database_url},
    )

    assert run.exit_code == 0
    assert isinstance(answer, ErasureAnswer)
    assert verify_pack(tmp_path / "pack.zip", vkey=tenant.signer.vkey)["size"] == answer.index + 1
    assert [each.name for each in tmp_path.iterdir()] == ["pack.zip"]


def test_a_file_under_its_name_is_whole_or_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    out.write_bytes(b"the one before")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(out, broken())

    assert out.read_bytes() == b"the one before"
    assert write_whole(out, iter([b"new"])) == 3
    assert out.read_bytes() == b"new"


def test_every_record_of_the_pack_is_shown_or_said_to_be_erased(members: dict[str, bytes]) -> None:
    assert all(("record" in entry) != ("erased" in entry) for entry in entries_of(members))
