"""Export what an auditor needs to check a tenant's ledger without us: one signed pack, as a stream.

The pack is a range of the log between two signed checkpoints (all of it by default), or one subject's entries
with a proof each. Memory is constant: entries go through in aligned chunks, and the manifest comes last.
"""

import base64
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby

from consent_service.errors import InvalidInput, PackChanged, UnknownSubject
from consent_service.ledger.canonical import JsonValue, canonical_json
from consent_service.ledger.certificate import ErasureCertificate
from consent_service.ledger.checkpoint import Checkpoint, open_checkpoint
from consent_service.ledger.entry import Kind, leaf
from consent_service.ledger.merkle import SubtreeHash, consistency_proof, inclusion_proof, tree_root
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.pack_page import PackSummary, pack_page
from consent_service.ledger.record import ErasureRecord, LinkRecord, decode_record, format_time
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up_one
from consent_service.operations.notice_book import NoticeBook
from consent_service.operations.pack_file import PackFile
from consent_service.operations.pack_views import PackViews
from consent_service.operations.parquet_views import leaves_parquet, parquet_installed
from consent_service.operations.read_cosigned import last_quorum, quorum, with_cosignatures
from consent_service.operations.repeat_export import AuditRequest, head_of
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.cosignature_store import last_cosignature, stream_cosignatures
from consent_service.storage.ledger_store import (
    StoredEntry,
    StoredRecord,
    covering_checkpoint,
    first_record_from,
    preceding_checkpoint,
    read_head,
    read_leaves,
    stream_checkpoints,
    stream_entries,
    stream_public_records,
    subject_records,
    subtrees,
)
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import linked_to
from consent_service.verifier.verify import FORMAT, parse_record, view_rows

__all__ = ["CHUNK", "AuditRequest", "export_audit"]

CHUNK = 65_536
"""Entries in one member of a pack; aligned, so that each chunk is a complete subtree of the log."""
_CHECKPOINT_BLOCK = 1024
"""Of the checkpoints in an aligned block of this many entries, a pack has the last."""
_LINES = 256
_COMMITMENT_END = 50

Progress = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What went into the pack, for the manifest and the page."""

    kinds: dict[str, int]
    seen: bytearray
    erased: int = 0
    subjects: int = 0

    def see(self, subject_id: int) -> None:
        byte, bit = subject_id >> 3, 1 << (subject_id & 7)
        if not self.seen[byte] & bit:
            self.seen[byte] |= bit
            self.subjects += 1

    def counts(self) -> dict[str, int]:
        entries = sum(self.kinds.values())
        counts = {"entries": entries, "records": entries - self.erased, "erased": self.erased}
        present = {kind: count for kind, count in self.kinds.items() if count}
        return {**counts, "subjects": self.subjects, **present}


def export_audit(
    deployment: Deployment,
    tenant: Tenant,
    request: AuditRequest,
    *,
    progress: Progress = lambda _done, _total: None,
) -> Generator[bytes]:
    """Yield an audit pack as pieces of a ZIP file; close the iterator if you leave it early.

    Everything is read in one snapshot. Raises `InvalidInput`, `UnknownSubject` or `PackChanged` before the
    first piece.
    """
    with deployment.reading(tenant) as scope:
        tenant = deployment.refreshed(scope, tenant)
        export = _Export(deployment, tenant, scope, request, progress)
        yield b""  # whatever is wrong with the request was raised by now
        yield from export.pieces()


class _Export:
    """One pack in the making."""

    def __init__(
        self,
        deployment: Deployment,
        tenant: Tenant,
        scope: TenantScope,
        request: AuditRequest,
        progress: Progress,
    ) -> None:
        self._scope, self._progress = scope, progress
        self._tenant = tenant = deployment.refreshed(scope, tenant)  # The keys that signed this head.
        self._policy = deployment.policy
        mark = request.mark
        self._made_at = deployment.clock() if mark is None else mark.made_at
        self._head = read_head(scope) if mark is None else head_of(scope, mark)
        self._seen = last_cosignature(scope) if mark is None else mark.cosignatures
        self._book: NoticeBook = deployment.book(scope).as_of(self._head.size)
        self._subject_ids = self._find(deployment, request.subject)
        self._first, self._last = self._range(request)
        if self._subject_ids is not None:
            self._last = self._witnessed(self._subject_ids) or self._last
        self._since = self._checked_since(request.since)
        self._tally = _Tally(
            kinds=dict.fromkeys([kind.value for kind in Kind], 0),
            seen=bytearray(self._head.next_subject_id // 8 + 1),
        )
        self._file = PackFile()
        self._handoffs: list[int] = []
        self._kinds = {leaf(tenant.origin, kind, bytes(32))[_COMMITMENT_END:]: kind.value for kind in Kind}

    def _find(self, deployment: Deployment, subject: Subject | None) -> list[int] | None:
        if subject is None:
            return None
        known = look_up_one(deployment, self._scope, self._tenant, subject)
        if known is None:
            raise UnknownSubject("Nothing is held about this subject.")
        numbers = [known.id, *(number for number, _ in linked_to(self._scope, known.id))]
        later = [record for each in numbers for record in self._records(each, self._head.size)]
        if any(isinstance(decode_record(record.body), LinkRecord) for record in later):
            raise PackChanged("Another visitor was linked to this subject: begin anew.")
        return numbers

    def _records(self, subject_id: int, start: int = 0, stop: int | None = None) -> list[StoredRecord]:
        records = subject_records(self._scope, subject_id)
        return [each for each in records if start <= each.index and (stop is None or each.index < stop)]

    def _range(self, request: AuditRequest) -> tuple[Checkpoint, Checkpoint]:
        """Return the checkpoints between which the pack lies."""
        everything = request.start is None and request.until is None
        if request.subject is not None and not everything:
            raise InvalidInput("A pack is of a period or of a subject, not of both.")
        if request.start is not None and request.until is not None and request.start > request.until:
            raise InvalidInput("The period ends before it begins.")
        start = 0 if request.start is None else self._index_at(request.start)
        stop = self._head.size if request.until is None else max(start, self._index_at(request.until))
        first = self._opened(preceding_checkpoint(self._scope, start))
        if stop == self._head.size:
            return first, self._opened(self._head.checkpoint)
        if stop == 0:  # It ended before the log began.
            return first, first
        return first, self._opened(covering_checkpoint(self._scope, stop - 1))

    def _witnessed(self, subject_ids: list[int]) -> Checkpoint | None:
        """Return the largest checkpoint that witnesses saw, if it covers every entry of these subjects."""
        size = self._head.size
        indexes = [record.index for each in subject_ids for record in self._records(each, 0, size)]
        found = last_quorum(self._scope, self._policy, least=max(indexes, default=0) + 1, seen=self._seen)
        return None if found is None else self._opened(found[1])

    def _index_at(self, moment: datetime) -> int:
        """Return the index of the first entry recorded at `moment` or later."""
        low, high = 0, self._head.size
        while low < high:
            middle = (low + high) // 2
            record = first_record_from(self._scope, middle)
            if record is None or decode_record(record.body).recorded_at >= moment:
                high = middle
            else:
                low = record.index + 1
        return low

    def _opened(self, note: bytes) -> Checkpoint:
        verifiers = [NoteVerifier.parse(vkey) for vkey in self._tenant.vkeys]
        return open_checkpoint(note, *verifiers, origin=self._tenant.origin)

    def _checked_since(self, since: int | None) -> int | None:
        if since is not None and not 0 <= since <= self._last.size:
            raise InvalidInput(
                f"This pack ends at size {self._last.size}: it cannot continue one of {since}."
            )
        return since

    def pieces(self) -> Iterator[bytes]:
        """Yield the file."""
        source = files("consent_service.verifier").joinpath("verify.py").read_bytes()
        yield from self._file.member("verify.py", [source])
        for digest, published in self._book.notices.items():
            yield from self._file.member(f"notices/{digest}.json", [published.document])
        if self._subject_ids is None:
            for start in range(self._first.size - self._first.size % CHUNK, self._last.size, CHUNK):
                yield from self._chunk(max(start, self._first.size), min(start + CHUNK, self._last.size))
            yield from self._file.member("erasures.ndjson", self._certificates())
        else:
            yield from self._subject_members(self._subject_ids)
        yield from self._file.member("checkpoints.ndjson", self._checkpoints())
        yield from self._file.member("index.html", [self._page()])
        yield from self._file.close(self._manifest(), self._tenant.signer)

    def _chunk(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the members of one aligned chunk: entries, and the table made of their records."""
        number = f"{start // CHUNK:06}"
        views, leaves = PackViews(self._file), list[bytes]()
        yield from self._file.member(
            f"entries/{number}.ndjson", self._entry_lines(start, stop, views, leaves)
        )
        yield from views.members(number)
        if parquet_installed():
            data = leaves_parquet(start, leaves)
            yield from self._file.member(f"leaves/{number}.parquet", [data], stored=True, ahead=True)
        self._progress(stop - self._first.size, self._last.size - self._first.size)

    def _entry_lines(self, start: int, stop: int, views: PackViews, leaves: list[bytes]) -> Iterator[bytes]:
        lines: list[bytes] = []
        table: list[str] = []
        with closing(stream_entries(self._scope, start, stop)) as entries:
            for entry in entries:
                lines.append(self._line(entry, table))
                leaves.append(entry[1])
                if len(lines) == _LINES:
                    yield b"".join(lines)
                    views.append(table)
                    lines.clear()
                    table.clear()
                    self._progress(entry[0] - self._first.size, self._last.size - self._first.size)
        views.append(table)
        yield b"".join(lines)

    def _line(self, entry: StoredEntry, table: list[str], proof: bytes = b"") -> bytes:
        index, data, opening, body, subject_id = entry
        kind = self._kinds[data[_COMMITMENT_END:]]
        self._tally.kinds[kind] += 1
        if opening is None or body is None:
            self._tally.erased += 1
            table.append(view_rows(index, kind, None))
            return b'{"index":%d,"leaf":%b,"erased":true}\n' % (index, data)
        if subject_id is not None:
            self._tally.see(subject_id)
        match = parse_record(kind, body)
        if kind == Kind.KEY:
            self._handoffs.append(index)
        if match is None:
            raise InvalidInput(f"The record at index {index} is malformed: run consent ledger verify.")
        table.append(view_rows(index, kind, match))
        return b'{"index":%d,"leaf":%b,"opening":"%b","record":%b%b}\n' % (
            *(index, data, opening.hex().encode(), body),
            proof,
        )

    def _subject_members(self, subject_ids: list[int]) -> Iterator[bytes]:
        table: list[str] = []
        subtree = self._subtree()
        lines = []
        size = self._head.size
        records = [record for each in subject_ids for record in self._records(each, 0, size)]
        for record in sorted(records, key=lambda each: each.index):
            data = read_leaves(self._scope, record.index, record.index + 1)[0]
            steps = inclusion_proof(record.index, self._last.size, subtree)
            proof = b',"proof":' + canonical_json([_text(step) for step in steps])
            entry = (record.index, data, record.opening, record.body, record.subject_id)
            lines.append(self._line(entry, table, proof))
        yield from self._file.member("entries/000000.ndjson", lines)
        views = PackViews(self._file)
        views.append(table)
        yield from views.members("000000")

    def _certificates(self) -> Iterator[bytes]:
        """Yield a certificate of each erasure, which names nobody, as a line."""
        origin, signer = self._tenant.origin, self._tenant.signer
        with closing(stream_public_records(self._scope, self._first.size, self._last.size)) as records:
            for stored in records:
                record = decode_record(stored.body)
                if isinstance(record, ErasureRecord):
                    certificate = ErasureCertificate(
                        origin=origin,
                        index=stored.index,
                        subject=None,
                        opening=stored.opening,
                        record=record,
                    )
                    yield canonical_json({"note": certificate.sign(signer)}) + b"\n"

    def _checkpoints(self) -> Iterator[bytes]:
        """Yield the last checkpoint of every block, the last one that witnesses saw, and some more.

        These are both ends' and those under which a key was replaced.
        """
        ends = {self._first.size, self._last.size} if self._last.size else set()
        ends |= {self._opened(covering_checkpoint(self._scope, index)).size for index in self._handoffs}
        ends |= self._cosigned_sizes()
        held: tuple[int, bytes] | None = None
        with closing(stream_checkpoints(self._scope)) as checkpoints:
            for size, note in checkpoints:
                if size < self._first.size or size > self._last.size or size == 0 < self._last.size:
                    continue
                block = (size - 1) // _CHECKPOINT_BLOCK
                if held is not None and ((held[0] - 1) // _CHECKPOINT_BLOCK != block or held[0] in ends):
                    yield self._checkpoint_line(*held)
                held = (size, note)
        if held is not None:
            yield self._checkpoint_line(*held)

    def _cosigned_sizes(self) -> set[int]:
        """Return the size of the best witnessed checkpoint in every block: a quorum, most witnesses, last."""
        best: dict[int, tuple[bool, int, int]] = {}
        above, most = self._first.size - 1, self._last.size
        with closing(
            stream_cosignatures(self._scope, above=above, most=most, seen=self._seen)
        ) as cosignatures:
            for size, group in groupby(cosignatures, key=lambda each: each.size):
                there = list(group)
                rank = quorum(self._policy, there), len(there), size
                block = (size - 1) // _CHECKPOINT_BLOCK
                best[block] = max(rank, best.get(block, rank))
        return {size for _, _, size in best.values()}

    def _checkpoint_line(self, size: int, note: bytes) -> bytes:
        note = with_cosignatures(self._scope, size, note, seen=self._seen)
        return canonical_json({"note": note.decode()}) + b"\n"

    def _subtree(self) -> SubtreeHash:
        return subtrees(self._scope, self._last.size)

    def _manifest(self) -> dict[str, JsonValue]:
        tenant, subtree = self._tenant, self._subtree()
        counts: dict[str, JsonValue] = {**self._tally.counts()}
        manifest: dict[str, JsonValue] = {
            "pack": FORMAT,
            "origin": tenant.origin,
            "vkey": tenant.signer.vkey,
            "keys": [*tenant.vkeys],
            "made_at": format_time(self._made_at),
            "software": f"consent-service {version('consent-service')}",
            "mode": "range" if self._subject_ids is None else "subject",
            "from": self._first.size,
            "to": self._last.size,
            "head": self._head.size,
            "root": _text(self._last.root),
            "start": None,
            "since": None,
            "counts": counts,
        }
        if self._first.size:
            manifest["start"] = {"peaks": [_text(peak) for peak in _peaks(self._first.size, subtree)]}
        if self._since is not None:
            manifest["since"] = {
                "size": self._since,
                "root": _text(tree_root(self._since, subtree)),
                "proof": [_text(step) for step in consistency_proof(self._since, self._last.size, subtree)],
            }
        return manifest

    def _page(self) -> bytes:
        current = self._book.current
        summary = PackSummary(
            origin=self._tenant.origin,
            vkey=self._tenant.signer.vkey,
            root=_text(self._last.root),
            first=self._first.size,
            size=self._last.size,
            made_at=format_time(self._made_at),
            counts=self._tally.counts(),
        )
        return pack_page(summary, None if current is None else current.notice).encode()


def _peaks(size: int, subtree: SubtreeHash) -> list[bytes]:
    """Return the roots of the complete subtrees of the first `size` leaves, the largest first."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(subtree(level, start >> level))
            start += 1 << level
    return peaks


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
