"""A dishonest operator: with the log's own key, packs whose leaves, tree and signatures all fit together."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from consent_service.domain.subject import SubjectRef
from consent_service.ledger.canonical import JsonValue, canonical_json
from consent_service.ledger.certificate import ErasureCertificate
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.entry import Kind, commitment, leaf
from consent_service.ledger.note import NoteSigner
from consent_service.ledger.record import ErasureRecord, parse_time
from consent_service.verifier.verify import MANIFEST, VIEW_HEADER, Tree, decoded, parse_record, view_rows
from tests.audit.packs import entries_of, packed

Entries = list[dict[str, Any]]
ENTRIES, CHECKPOINTS = "entries/000000.ndjson", "checkpoints.ndjson"


def forged(
    members: Mapping[str, bytes], signer: NoteSigner, edit: Callable[[Entries], None], **changes: Any
) -> bytes:
    """Return a pack of edited entries, of a period or all: the log that the operator wishes there had been.

    Each subject's chain is linked anew, every leaf, root and checkpoint made for it, every view and count.
    """
    entries = entries_of(members)
    honest = json.loads(members[MANIFEST])
    origin, first = honest["origin"], honest["from"]
    edit(entries)
    lines, rows, certificates = [], [VIEW_HEADER], list[bytes]()
    tree = Tree(first, [decoded(peak) for peak in honest["start"]["peaks"]] if first else [])
    last = _ends_before(entries) if first else {}
    for index, entry in enumerate(entries, start=first):
        data, line, row = _entry(index, entry, origin, last)
        tree.append(data)
        lines.append(line)
        rows.append(row)
        if "record" in entry and entry["leaf"]["kind"] == "erasure":
            certificates.append(certificate_line(index, entry, signer))
    size, root = tree.size, tree.root()
    note = sign_checkpoint(Checkpoint(origin=origin, size=size, root=root), signer)
    before = members[CHECKPOINTS].splitlines(keepends=True)[:1] if first else []
    new = {
        **members,
        "entries/000000.ndjson": b"".join(lines),
        "table/000000.csv": "".join(rows).encode(),
        "erasures.ndjson": b"".join(certificates),
        CHECKPOINTS: b"".join(before) + canonical_json({"note": note.decode()}) + b"\n",
    }
    manifest = {"root": _text(root), "to": size, "head": size, "counts": _counts(entries, last)}
    return packed(new, signer, **{**manifest, **changes})


def _ends_before(entries: Entries) -> dict[str, str]:
    """Return where the chain of each subject stood before these entries, for those who have one."""
    ends: dict[str, str] = {}
    for record in (entry.get("record", {}) for entry in entries):
        if record.get("subject") not in {None, *ends}:
            ends[record["subject"]] = record["prev"]
    return ends


def certificate_line(at: int, entry: Mapping[str, Any], signer: NoteSigner, **changes: Any) -> bytes:
    """Return the line that the erasure at an index has among the certificates, or a changed one."""
    certificate = ErasureCertificate(
        origin=signer.name,
        index=at,
        subject=None,
        opening=bytes.fromhex(entry["opening"]),
        record=ErasureRecord(
            destroyed=entry["record"]["destroyed"],
            recorded_at=parse_time(entry["record"]["recorded_at"]),
        ),
    )
    return canonical_json({"note": replace(certificate, **changes).sign(signer)}) + b"\n"


def _entry(index: int, entry: dict[str, Any], origin: str, last: dict[str, str]) -> tuple[bytes, bytes, str]:
    kind = entry["leaf"]["kind"]
    if "erased" in entry:
        data = canonical_json(entry["leaf"])
        return data, b'{"index":%d,"leaf":%b,"erased":true}\n' % (index, data), view_rows(index, kind, None)
    record = entry["record"]
    subject = record.get("subject")
    if subject is not None and "keep_prev" not in entry:
        record["prev"] = last.get(subject)
    body = canonical_json(record)
    opening = bytes.fromhex(entry["opening"])
    committed = commitment(opening, body)
    data = leaf(origin, Kind(kind), committed)
    if subject is not None:
        last[subject] = _text(committed)
    line = b'{"index":%d,"leaf":%b,"opening":"%b","record":%b}\n' % (
        index,
        data,
        opening.hex().encode(),
        body,
    )
    return data, line, view_rows(index, kind, parse_record(kind, body))


def _counts(entries: Entries, last: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {"subjects": len(last), "erased": 0, "records": 0}
    for entry in entries:
        for what in ("entries", "erased" if "erased" in entry else "records", entry["leaf"]["kind"]):
            counts[what] = counts.get(what, 0) + 1
    return counts


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spoilt_certificates(
    members: Mapping[str, bytes], signer: NoteSigner, stranger: NoteSigner
) -> Iterator[tuple[str, bytes]]:
    """Yield packs, signed anew, whose certificates are not those of their erasures, and the words for it."""
    line = members["erasures.ndjson"]
    entry = next(each for each in entries_of(members) if each["leaf"]["kind"] == "erasure")
    index, stated = entry["index"], entry["record"]
    more = ErasureRecord(
        destroyed={**stated["destroyed"], "records": 99}, recorded_at=parse_time(stated["recorded_at"])
    )
    lies: dict[str, Any] = {
        "index": index + 1,
        "record": more,
        "opening": bytes(32),
        "subject": SubjectRef("s_somebody"),
    }
    foreign, differs = "none that a key of this log signed", "says something else"
    for lines, words in (
        (b"", "an erasure has no certificate"),
        (line + line, "has a certificate of no erasure in this pack"),
        (certificate_line(index, entry, stranger), foreign),
        (line.replace(b'"records\\":', b'"records\\":1'), foreign),
        (certificate_line(index, entry, signer, origin="consent.local/other"), foreign),
        *((certificate_line(index, entry, signer, **{what: lie}), differs) for what, lie in lies.items()),
        (b'{"certificate":""}\n', "KeyError"),
    ):
        yield words, packed({**members, "erasures.ndjson": lines}, signer)


def impossible_packs(
    members: Mapping[str, bytes], signer: NoteSigner
) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield packs that the log's key signed and no log can have led to: name, check, place, bytes."""
    table = members["table/000000.csv"]
    for name in ("table/000001.csv", "leaves/000001.parquet", "consents/000000.csv", "table/summary.csv"):
        yield f"a table of no entries, {name}", "container", name, packed({name: table, **members}, signer)
    unknown = f"notices/{hashlib.sha256(b'{}').hexdigest()}.json"
    yield "words never published", "notices", unknown, packed({unknown: b"{}", **members}, signer)

    for what, ambiguous in (
        ("a member twice", b'{"title":{"en":"Other words"},'),
        ("no number", b'{"A":NaN,'),
        ("a fraction", b'{"A":1.0,'),
        ("a number that not every reader has", b'{"A":12345678901234567890,'),
        ("half a character", b'{"A":"\\ud800",'),
        ("names in an order of their own", '{"A":{"\ue000":1,"\U00010000":2},'.encode()),
    ):
        renamed, name, rename = _with_words(members, ambiguous)
        yield f"words with {what}", "notices", name, forged(renamed, signer, rename)
    future = partial(_last, recorded_at="2031-01-01T00:00:00.000Z")
    yield "an entry from after the pack", "entries", "recorded_at", forged(members, signer, future)
    for other in (None, "0" * 64):
        changed = forged(members, signer, partial(_last, kind="notice", supersedes=other))
        yield f"a notice that supersedes {other}", "notices", "supersedes", changed
    words = entries_of(members)[-1]["record"]["notice"]
    for language in ("zz", "e", "en_GB", "fr-"):
        changed = forged(members, signer, partial(_last, language=language))
        yield f"words never written in {language}", "notices", words, changed
    for where, name, check in (
        ("line 0", "checkpoints.ndjson", "checkpoints"),
        ("erasures.ndjson", "erasures.ndjson", "erasures"),
    ):
        line = members[name]
        for what, spelt in (
            ("a byte order mark", b"\xef\xbb\xbf" + line),
            ("white space", b" " + line),
            ("a member more", line.replace(b'{"note"', b'{"a":1,"note"', 1)),
            ("another note before it", line.replace(b'{"note"', b'{"note":"","note"', 1)),
            ("no number", line.replace(b'{"note"', b'{"a":NaN,"note"', 1)),
        ):
            yield f"{name} with {what}", check, where, packed({**members, name: spelt}, signer)
    entries = members[ENTRIES].replace(b"}}\n", b'}},"proof":["x"]}\n', 1)
    assert entries != members[ENTRIES]
    yield "a proof that nobody reads", "entries", ENTRIES, packed({**members, ENTRIES: entries}, signer)
    for made_at in (
        "",
        "2026-11-28",
        "2026-13-41T25:61:61.000Z",
        "2027-02-30T12:00:00.000Z",
        "2027-02-28T24:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "0000-01-01T00:00:00.000Z",
    ):
        yield f"made at {made_at!r}", "manifest", "manifest.note", packed(members, signer, made_at=made_at)


def impossible_periods(
    period: Mapping[str, bytes], signer: NoteSigner
) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield packs that begin after their subjects, and say what no past can have led to, likewise."""
    began = [
        number
        for number, entry in enumerate(entries_of(period))
        if entry["leaf"]["kind"] == "decision" and entry["record"]["prev"]
    ]
    forever = {"status": "given", "valid_until": "2099-01-01T00:00:00.000Z"}

    def lie(number: int, **changes: Any) -> Callable[[Entries], None]:
        def edit(entries: Entries) -> None:
            record = entries[number]["record"]
            for member, change in changes.items():
                record[member] = {**record[member], **change} if isinstance(change, dict) else change

        return edit

    for number in began:
        record = entries_of(period)[number]["record"]
        for purpose, choice in record["choices"].items():
            closed = {**record["consents"][purpose], "status": "refused" if choice == "granted" else "given"}
            lies = {"open for ever": forever, "sold": {**closed, "status": "sold"}}
            for what, outcome in lies.items() if choice == "granted" else [*lies.items(), ("open", closed)]:
                edit = lie(number, consents={purpose: outcome})
                yield f"{number}: {purpose} {what}", "statuses", "record", forged(period, signer, edit)
        for what, edit in (
            ("an outcome of no choice", lie(number, consents={"ads": forever})),
            ("a choice never offered", lie(number, choices={"ads": "granted"}, consents={"ads": forever})),
            ("words that are missing", lie(number, notice="0" * 64)),
        ):
            yield f"{number}: {what}", "statuses", "record", forged(period, signer, edit)


def impossible_packs_of_one(
    hers: Mapping[str, bytes], signer: NoteSigner
) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield packs of one subject that the log's key signed and no log can have led to, likewise."""
    manifest = json.loads(hers[MANIFEST])
    for name in ("entries/000001.ndjson", "erasures.ndjson", "leaves/000000.parquet"):
        yield f"{name} that nobody reads", "container", name, packed({name: b"x\n", **hers}, signer)
    since: dict[str, JsonValue] = {"size": 3, "root": _text(bytes(32)), "proof": []}
    yield "a last pack that it does not continue", "tree", "since", packed(hers, signer, since=since)

    checkpoints, end = hers[CHECKPOINTS], manifest["to"] - 1
    earlier = sign_checkpoint(Checkpoint(origin=signer.name, size=end, root=bytes(32)), signer)
    two = {**hers, CHECKPOINTS: canonical_json({"note": earlier.decode()}) + b"\n" + checkpoints}
    yield "proofs in a later tree than its end", "checkpoints", CHECKPOINTS, packed(two, signer, to=end)
    begun = sign_checkpoint(Checkpoint(origin=signer.name, size=1, root=bytes(32)), signer)
    later = {**hers, CHECKPOINTS: canonical_json({"note": begun.decode()}) + b"\n" + checkpoints}
    begins: dict[str, JsonValue] = {"from": 1, "start": {"peaks": [_text(bytes(32))]}}
    yield "a beginning after her first entry", "manifest", MANIFEST, packed(later, signer, **begins)


def _last(entries: Entries, *, kind: str = "decision", **changes: Any) -> None:
    [each for each in entries if each["leaf"]["kind"] == kind][-1]["record"].update(changes)


def _with_words(
    members: Mapping[str, bytes], beginning: bytes
) -> tuple[dict[str, bytes], str, Callable[[Entries], None]]:
    """Return members whose first notice begins otherwise, its name, and the edit that names it everywhere."""
    name = next(each for each in members if each.startswith("notices/"))
    words = beginning + members[name][1:]
    old, new = name[8:-5], hashlib.sha256(words).hexdigest()

    def rename(entries: Entries) -> None:
        for entry in entries:
            record = entry.get("record", {})
            record.update({key: new for key in ("notice", "supersedes") if record.get(key) == old})

    named = f"notices/{new}.json"
    return {**{each: members[each] for each in members if each != name}, named: words}, named, rename
