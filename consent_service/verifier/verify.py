#!/usr/bin/env python3
"""Verify an audit pack of the Consent Toolkit offline. Needs Python 3.11 and the package `cryptography`.

    python verify.py PACK.zip [--key VKEY] [--previous OLDER.zip] [--witness VKEY]… [--policy FILE]
                        [--certificate FILE]…

    python verify.py RECEIPT [--key VKEY] [--witness VKEY]… [--policy FILE]    JSON, text, HTML or PDF
    python verify.py MISBEHAVIOUR.txt --key VKEY      checks a proof that a log signed two histories

Exit code 0: everything below holds. 1: something does not; the first fault is named. 2: no pack to read.
Without --key the pack is checked against the key that it names itself: that shows that it agrees with itself,
not who made it. Take the key (`name+id+base64`) from somewhere else, such as an older pack or a witness.

 (1) container    the ZIP holds the members of the manifest in their order, each byte for byte, nothing else
 (2) manifest     is signed by the log's key, as is every checkpoint; the witnesses that you name cosigned one
 (3) notices      the words are those that their digest names
 (4) entries      every leaf is canonical, of this log, at the next index
 (5) commitments  every leaf commits to the record beside it, unless that was erased
 (6) tree         the leaves lead to the signed roots; earlier sizes are consistent with later ones
 (7) chains       each subject's records form a chain from which nothing is missing
 (8) statuses     every derived status and validity follows from the records before
 (9) views        the CSV tables say what the records say
(10) counts       are those of the manifest; every missing record is one that an erasure destroyed
(11) erasures     each has a certificate that says the same; as much as it destroyed is missing before it

Formats: RFC 9162 (Merkle tree), RFC 8785 (canonical JSON), C2SP signed-note, tlog-checkpoint,
tlog-cosignature, tlog-policy, and the page audit-pack.md of the toolkit. Nothing is written, extracted or
fetched.
"""

import base64
import binascii
import calendar
import hashlib
import json
import marshal
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = 1
MANIFEST, SIGNATURE, ERASURES = "manifest.json", "manifest.note", "erasures.ndjson"
NOTE_HEADER = "consent-audit-pack/v1"
COMMITMENT_KEY = b"consent/v1"
# HMAC (RFC 2104) with a constant key begins with two constant blocks: hashed once, their states copied.
_INNER = hashlib.sha256(bytes(byte ^ 0x36 for byte in COMMITMENT_KEY.ljust(64, b"\0"))).copy
_OUTER = hashlib.sha256(bytes(byte ^ 0x5C for byte in COMMITMENT_KEY.ljust(64, b"\0"))).copy
MEGABYTE = 1 << 20
LARGEST_MANIFEST, LARGEST_DIRECTORY, LARGEST_LINE = 16 * MEGABYTE, 32 * MEGABYTE, 4 * MEGABYTE
MOST_MEMBERS, MOST_PLANS = 100_000, 10_000
READ_BESIDE = 20_000  # entries from which on a second process is worth its start
SUBJECTS_AT_ONCE = 300_000  # chains held in memory in one pass; a larger pack is read several times
ROWS_AT_ONCE = 256  # entries whose rows are hashed together
CLOCK_TOLERANCE_S = 300
UNREAD = 128 + 13  # exit code of a program that SIGPIPE ended, as a shell shows it

Checkpoint = tuple[str, int, bytes]
# What is known of one purpose of one subject: status, purpose version, recorded, decided, valid until.
Standing = tuple[str, int, str, str, str]
# What the chains need of a record, in the order of CHAINED.
Facts = tuple[str, ...]


class Fault(Exception):
    """Something does not verify: which check, where, and why."""

    def __init__(self, check: str, where: str, message: str, *, index: int | None = None) -> None:
        self.check, self.where, self.message, self.index = check, where, message, index
        super().__init__(f"{check}: {where}: {message}")


def printable(text: object) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))[:500]


# --- (1) the container ------------------------------------------------------------------------------------

_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_CENTRAL, _LOCAL = struct.Struct("<4s4B4HL2L5H2L"), struct.Struct("<4s2B4HL2L2H")
_DESCRIPTOR = struct.Struct("<4s3L")
_NAME = re.compile(r"(?:[a-z0-9-]{1,64}/)?[a-z0-9-]{1,64}\.[a-z]{2,8}", re.ASCII)
_DOS_DATE, _PERMISSIONS = 0x21, 0o600 << 16
_CHUNK = re.compile(r"(entries/\d{6}\.ndjson)|table/(\d{6})\.csv|(?:table|leaves)/(\d{6})\.parquet", re.ASCII)
_SINGLE = re.compile(
    r"notices/[0-9a-f]{64}\.json|verify\.py|index\.html|checkpoints\.ndjson|erasures\.ndjson", re.ASCII
)


class Member:
    """One file in the pack: its name and where its bytes are."""

    def __init__(self, name: str, method: int, crc: int, sizes: tuple[int, int], start: int) -> None:
        self.name, self.method, self.crc = name, method, crc
        self.stored, self.size = sizes
        self.start = start
        self.data = start + _LOCAL.size + len(name)
        self.end = self.data + self.stored + _DESCRIPTOR.size

    def trailer(self) -> bytes:
        """Return the bytes behind its contents."""
        return _DESCRIPTOR.pack(b"PK\7\10", self.crc, self.stored, self.size)

    def listed(self) -> bytes:
        """Return its entry in the directory."""
        extra = struct.pack("<2HQ", 1, 8, self.start) if self.start > 0x7FFFFFFF else b""
        needed = 45 if extra else 20
        fixed = _CENTRAL.pack(
            *(
                b"PK\1\2",
                needed,
                3,
                needed,
                0,
                8,
                self.method,
                0,
                _DOS_DATE,
                self.crc,
                self.stored,
                self.size,
            ),
            *(len(self.name), len(extra), 0, 0, 0, _PERMISSIONS, 0xFFFFFFFF if extra else self.start),
        )
        return fixed + self.name.encode() + extra


def member_header(name: str, method: int) -> bytes:
    """Return the bytes before a member's contents."""
    return _LOCAL.pack(b"PK\3\4", 20, 0, 8, method, 0, _DOS_DATE, 0, 0, 0, len(name), 0) + name.encode()


def directory_end(count: int, start: int, size: int) -> bytes:
    """Return the bytes behind a directory of `count` members that begins at `start`."""
    large = b""
    if count >= 0xFFFF or max(start, size) >= 0xFFFFFFFF:
        large = _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        large += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    counts = (min(count, 0xFFFF),) * 2
    return large + _END.pack(b"PK\5\6", 0, 0, *counts, min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF), 0)


class Pack:
    """A ZIP file of exactly the form that the toolkit writes: no gaps, comments, extras, or encryption."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        self.members: dict[str, Member] = {}
        self._digests: dict[str, str] = {}
        try:
            self._read_directory()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _at(self, offset: int, size: int) -> bytes:
        if offset < 0:
            raise Fault("container", "end of file", "the file is too short to be a pack")
        self._file.seek(offset)
        return self._file.read(size)

    def _read_directory(self) -> None:
        count, start, size = self._find_directory()
        if count > MOST_MEMBERS or size > LARGEST_DIRECTORY:
            raise Fault("container", "directory", f"more than {MOST_MEMBERS} members")
        directory, position, offset = self._at(start, size), 0, 0
        for number in range(count):
            member, position = self._central(directory, position, offset, number)
            self._check_local(member)
            if member.name in self.members:
                raise Fault("container", member.name, "two members have this name")
            self.members[member.name] = member
            offset = member.end
        if offset != start or position != size:
            raise Fault("container", "directory", "there are bytes that belong to no member")

    def _find_directory(self) -> tuple[int, int, int]:
        end = self._file.seek(0, 2) - _END.size
        fields = _unpacked(_END, self._at(end, _END.size))
        mark, disks, (here, count, size, start, comment) = fields[0], fields[1:3], fields[3:]
        if mark != b"PK\5\6" or any(disks) or comment:
            raise Fault("container", "end of file", "the file does not end like a pack: is it truncated?")
        if here == 0xFFFF or 0xFFFFFFFF in {size, start}:
            end -= _LOCATOR.size + _END64.size
            count, size, start = _unpacked(_END64, self._at(end, _END64.size))[7:]
        if start + size != end or self._at(end, MEGABYTE) != directory_end(count, start, size):
            raise Fault("container", "end of file", "the directory is not where the file says")
        return count, start, size

    def _central(self, directory: bytes, position: int, offset: int, number: int) -> tuple[Member, int]:
        """Return the member that the directory has at `position`; every byte is what we would write."""
        where = f"member {number}"
        raw = directory[position : position + _CENTRAL.size]
        fields = _unpacked(_CENTRAL, raw, where)
        method, crc, stored, size, name_size = fields[6], *fields[9:13]
        data = directory[position + _CENTRAL.size : position + _CENTRAL.size + name_size]
        name = data.decode("ascii", "replace")
        if len(data) != name_size or not _NAME.fullmatch(name):
            raise Fault("container", where, f"a name that no member has: {printable(ascii(name))}")
        packed = method == 8 and name not in {MANIFEST, SIGNATURE}  # whose raw bytes no digest covers
        if not packed and (method != 0 or stored != size):
            raise Fault("container", name, "is stored in another way than ours")
        member = Member(name, method, crc, (stored, size), offset)
        whole = member.listed()
        if directory[position : position + len(whole)] != whole:
            raise Fault("container", name, "its entry in the directory is not what the toolkit writes")
        return member, position + len(whole)

    def _check_local(self, member: Member) -> None:
        header, after = member_header(member.name, member.method), member.trailer()
        if self._at(member.start, len(header)) != header:
            raise Fault("container", member.name, "its header is not what the toolkit writes")
        if self._at(member.data + member.stored, len(after)) != after:
            raise Fault("container", member.name, "its trailer is not what the toolkit writes")

    def raw_digest(self, member: Member) -> str:
        """Return the SHA-256 of the member's bytes as they are in the file, header and trailer included."""
        digest, left = hashlib.sha256(), member.end - member.start
        self._file.seek(member.start)
        while left > 0:
            data = self._file.read(min(left, MEGABYTE))
            if not data:
                break
            digest.update(data)
            left -= len(data)
        return digest.hexdigest()

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield a member's contents piece by piece: never more than the directory says, never less."""
        if name not in self.members:
            raise Fault("container", name, "is missing")
        member = self.members[name]
        inflate = zlib.decompressobj(-15) if member.method else None
        position, total, crc, pending = member.data, 0, 0, b""
        digest = hashlib.sha256()
        end = member.data + member.stored
        while position < end or pending or (inflate and not inflate.eof):
            if not pending:
                pending = self._at(position, min(MEGABYTE // 4, end - position))
                position += len(pending)
                if not pending:
                    break
            try:
                piece = inflate.decompress(pending, MEGABYTE) if inflate else pending
            except zlib.error:
                raise Fault("container", name, "does not decompress") from None
            pending = inflate.unconsumed_tail if inflate else b""
            total, crc = total + len(piece), zlib.crc32(piece, crc)
            if total > member.size or (inflate and inflate.unused_data):
                raise Fault("container", name, "is longer than the directory says")
            digest.update(piece)
            yield piece
        if total != member.size or crc != member.crc or (inflate and not inflate.eof):
            raise Fault("container", name, "is not what the directory says")
        self._digests[name] = digest.hexdigest()

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a member's contents, which are read if nobody did so before."""
        if name not in self._digests:
            for _ in self.stream(name):
                pass
        return self._digests[name]

    def read(self, name: str, most: int) -> bytes:
        """Return the contents of a small member."""
        if name not in self.members:
            raise Fault("container", name, "is missing")
        if self.members[name].size > most:
            raise Fault("container", name, f"is larger than {most} bytes")
        return b"".join(self.stream(name))

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield a member's lines, each without its line feed; the last one ends with one, too."""
        tail = b""
        for piece in self.stream(name):
            *lines, tail = (tail + piece).split(b"\n")
            if len(tail) > LARGEST_LINE:
                raise Fault("container", name, f"has a line of more than {LARGEST_LINE} bytes")
            yield from lines
        if tail:
            raise Fault("container", name, "ends in the middle of a line")


def _unpacked(form: struct.Struct, data: bytes, where: str = "end of file") -> tuple[Any, ...]:
    if len(data) != form.size:
        raise Fault("container", where, "the file is too short to be a pack")
    return form.unpack(data)


# --- (2) signatures ---------------------------------------------------------------------------------------


def decoded(text: str, size: int | None = None) -> bytes:
    """Return the bytes of canonical standard base64; raise ValueError for any other spelling."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text or (size is not None and len(data) != size):
        raise ValueError("not canonical base64")
    return data


def parse_vkey(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    """Return name, key id and key of a log's C2SP vkey; raise ValueError."""
    return _parse_key(vkey, 1)


def _parse_key(vkey: str, kind: int) -> tuple[str, bytes, Ed25519PublicKey]:
    name, stated, encoded = [*vkey.split("+", 2), "", ""][:3]
    if not encoded:
        raise ValueError("a key is name+id+base64")
    key = decoded(encoded, 33)
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if key[0] != kind or key_id.hex() != stated or not name:
        raise ValueError("not an Ed25519 verifier key")
    return name, key_id, Ed25519PublicKey.from_public_bytes(key[1:])


def open_note(note: str, vkey: str, *, alone: bool = False) -> str:
    """Return the text of a signed note that `vkey` signed (`alone`: and nobody else); raise ValueError."""
    name, key_id, key = parse_vkey(vkey)
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise ValueError("not a signed note")
    lines = signatures[:-1].split("\n")
    mine = 0
    for line in lines:
        mark, signer, encoded = line.split(" ")
        signature = decoded(encoded)
        if mark != "\N{EM DASH}" or not signer or "+" in signer:
            raise ValueError("not a signature line")
        if signer == name and signature[:4] == key_id:
            try:
                key.verify(signature[4:], (text + "\n").encode())
            except InvalidSignature:
                raise ValueError("the signature does not verify") from None
            mine += 1
    if not mine or (alone and len(lines) != 1):
        raise ValueError("the log's key did not sign this")
    return text + "\n"


def open_checkpoint(note: str, vkey: str, origin: str) -> Checkpoint:
    """Return origin, size and root of a checkpoint (C2SP tlog-checkpoint); raise ValueError."""
    lines = open_note(note, vkey).split("\n")
    if lines[0] != origin or not re.fullmatch(r"0|[1-9]\d{0,18}", lines[1], re.ASCII):
        raise ValueError("a checkpoint of another log")
    return origin, int(lines[1]), decoded(lines[2], 32)


def open_certificate(note: str, vkeys: Sequence[str], origin: str) -> tuple[int, str, bytes]:
    """Return index, subject (- for nobody) and commitment of an erasure certificate; raise ValueError."""
    lines = [""]
    for vkey in vkeys:
        try:
            lines = open_note(note, vkey, alone=True).split("\n")
        except ValueError:
            continue
    if len(lines) != 7 or lines[0] != "consent-erasure/v1" or lines[1] != origin:
        raise ValueError("is none that a key of this log signed")
    if not re.fullmatch(r"0|[1-9]\d{0,17}", lines[2], re.ASCII) or not ERASURE.fullmatch(lines[5]):
        raise ValueError("has a line that cannot be read")
    return int(lines[2]), lines[3], commitment(decoded(lines[4], 32), lines[5].encode())


# --- cosignatures ------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[1-9]\d{0,2}", re.ASCII)
_POLICY_TEXT = re.compile(r"[\t\n\x20-\x7e\x80-\U0010ffff]*")


def parse_witness_key(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    """Return name, key id and key of a witness's vkey (C2SP tlog-cosignature); raise ValueError."""
    return _parse_key(vkey, 4)


def cosigned_at(note: str, vkey: str) -> int | None:
    """Return the POSIX second in which this witness cosigned a checkpoint, or `None` if it did not.

    Raises ValueError for a cosignature under its name and key id that does not verify.
    """
    name, key_id, key = parse_witness_key(vkey)
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise ValueError("not a signed note")
    latest = None
    for line in signatures[:-1].split("\n"):
        mark, signer, encoded = line.split(" ")
        data = decoded(encoded)
        if mark != "\N{EM DASH}" or signer != name or data[:4] != key_id:
            continue
        seconds = int.from_bytes(data[4:12], "big")
        try:
            key.verify(data[12:], f"cosignature/v1\ntime {seconds}\n{text}\n".encode())
        except InvalidSignature:
            raise ValueError(f"the cosignature of {name} does not verify") from None
        if seconds >= 1 << 63:
            raise ValueError("the time of a cosignature is beyond 2^63 - 1")
        latest = seconds if latest is None else max(seconds, latest)
    return latest


class Policy:
    """Whose cosignatures a checkpoint needs (C2SP tlog-policy); raise ValueError for anything else.

    `witnesses` are vkeys by their name in the policy, `addresses` where it gives one.
    """

    def __init__(self, text: str) -> None:
        if not _POLICY_TEXT.fullmatch(text):
            raise ValueError("a policy has no control characters but tabs and line feeds")
        self.witnesses: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self._groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._quorum: str | None = None
        self._members: set[str] = set()
        self._logs: set[bytes] = set()
        for number, line in enumerate(text.split("\n"), start=1):
            words = re.split(r"[ \t]+", line.strip(" \t"))
            if words[0] and not words[0].startswith("#"):
                try:
                    self._read(words[0], words[1:])
                except (ValueError, LookupError) as error:
                    raise ValueError(f"line {number} of the policy: {_reason(error)}") from None
        if self._quorum is None:
            raise ValueError("a policy has a quorum line")

    @classmethod
    def all_of(cls, vkeys: Sequence[str]) -> Self:
        """Return the policy that every one of these witnesses cosigns."""
        lines = [f"witness w{number} {vkey}" for number, vkey in enumerate(vkeys)]
        names = " ".join(f"w{number}" for number in range(len(vkeys)))
        return cls("\n".join([*lines, f"group g all {names}", "quorum g"]) if vkeys else "quorum none")

    def _read(self, keyword: str, words: list[str]) -> None:
        if keyword == "log" and len(words) in {1, 2}:
            key = parse_vkey(words[0])[2].public_bytes_raw()
            if key in self._logs:
                raise ValueError("the key of a log is there twice")
            self._logs.add(key)
        elif keyword == "witness" and len(words) in {2, 3}:
            self._witness(words[0], words[1], words[2:])
        elif keyword == "group" and len(words) > 2:
            self._group(words[0], words[1], words[2:])
        elif keyword == "quorum" and len(words) == 1 and self._quorum is None:
            if words[0] != "none":
                self._require_defined(words[0])
            self._quorum = words[0]
        else:
            raise ValueError("not a line of a policy")

    def _witness(self, name: str, vkey: str, address: list[str]) -> None:
        self._require_new(name)
        key = parse_witness_key(vkey)[2].public_bytes_raw()
        if key in {parse_witness_key(other)[2].public_bytes_raw() for other in self.witnesses.values()}:
            raise ValueError("the key of a witness is there twice")
        self.witnesses[name] = vkey
        if address:
            self.addresses[name] = address[0]

    def _group(self, name: str, wanted: str, members: list[str]) -> None:
        self._require_new(name)
        for member in members:
            self._require_defined(member)
            if member in self._members:
                raise ValueError(f"{printable(member)} is a member twice")
            self._members.add(member)
        if wanted not in {"any", "all"} and not _NUMBER.fullmatch(wanted):
            raise ValueError("a group needs any, all or a number of its members")
        least = {"any": 1, "all": len(members)}.get(wanted) or int(wanted)
        if least > len(members):
            raise ValueError("a group needs more members than it has")
        self._groups[name] = least, tuple(members)

    def _require_new(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self._groups:
            raise ValueError(f"the name {printable(name)} is taken")

    def _require_defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self._groups:
            raise ValueError(f"nothing above is named {printable(name)}")

    def satisfied(self, names: Collection[str]) -> bool:
        """Say whether these witnesses, by their names in the policy, are a quorum."""
        held = set(names)
        for group, (least, members) in self._groups.items():  # each refers only to names before it
            if sum(member in held for member in members) >= least:
                held.add(group)
        return self._quorum == "none" or self._quorum in held

    def seen(self, note: str) -> dict[str, int]:
        """Return who cosigned a checkpoint, and when (POSIX seconds).

        Raises ValueError where one of these witnesses' cosignatures does not verify.
        """
        times = {name: cosigned_at(note, vkey) for name, vkey in self.witnesses.items()}
        return {name: time for name, time in times.items() if time is not None}


# --- (6) the Merkle tree (RFC 9162, section 2.1) ------------------------------------------------------------


class Tree:
    """The roots of the complete subtrees of a growing tree, one per set bit of its size."""

    def __init__(self, size: int = 0, peaks: list[bytes] | None = None) -> None:
        self.size, self.peaks = size, peaks or []

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        node, index, peaks = hashlib.sha256(b"\0" + leaf).digest(), self.size, self.peaks
        while index & 1:
            node = hashlib.sha256(b"\1" + peaks.pop() + node).digest()
            index >>= 1
        peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        node = self.peaks[-1]
        for left in self.peaks[-2::-1]:
            node = hashlib.sha256(b"\1" + left + node).digest()
        return node


def _climb(position: int, last: int, node: bytes, steps: list[bytes]) -> tuple[bytes, bytes]:
    left = whole = node
    for sibling in steps:
        if last == 0:
            raise ValueError("the proof is too long")
        if position & 1 or position == last:
            left = hashlib.sha256(b"\1" + sibling + left).digest()
            whole = hashlib.sha256(b"\1" + sibling + whole).digest()
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            whole = hashlib.sha256(b"\1" + whole + sibling).digest()
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ValueError("the proof is too short")
    return left, whole


def verify_inclusion(index: int, size: int, leaf: bytes, steps: list[bytes], root: bytes) -> None:
    """Check an inclusion proof (RFC 9162, section 2.1.3.2); raise ValueError."""
    if not 0 <= index < size:
        raise ValueError("no such index")
    if _climb(index, size - 1, hashlib.sha256(b"\0" + leaf).digest(), steps)[1] != root:
        raise ValueError("the inclusion proof does not lead to the root")


def verify_consistency(sizes: tuple[int, int], roots: tuple[bytes, bytes], proof: list[bytes]) -> None:
    """Check that the newer tree begins with the whole older one (section 2.1.4.2); raise ValueError."""
    (old, new), (old_root, new_root), steps = sizes, roots, list(proof)
    if old > new or (old in {0, new} and steps):
        raise ValueError("a consistency proof between other sizes")
    if old in {0, new}:
        if (old == new and old_root != new_root) or (old == 0 and old_root != Tree().root()):
            raise ValueError("two different roots of one size")
        return
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    if not steps or _climb(position, last, steps[0], steps[1:]) != (old_root, new_root):
        raise ValueError("the older tree is not the beginning of the newer one")


# --- records ------------------------------------------------------------------------------------------------

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_WORD, _B64 = r'[^"\\\x00-\x1f]*', r'(?:null|"[A-Za-z0-9+/]{43}=")'
_OUTCOMES = rf'(?:"[a-z0-9_.-]+":\{{"status":"[a-z]+","valid_until":"{_TIME}"\}},?)*'
DECISION = re.compile(
    rf'\{{"actor":"(?P<actor>{_WORD})","choices":\{{(?P<choices>(?:"[a-z0-9_.-]+":"[a-z]+",?)+)\}},'
    rf'"consents":\{{(?P<consents>{_OUTCOMES})\}},"decided_at":"(?P<decided_at>{_TIME})",'
    r'"evidence":(?P<evidence>null|"[0-9a-f]{64}"),"gpc":(?P<gpc>true|false),"kind":"decision",'
    rf'"language":"(?P<language>{_WORD})","method":"(?P<method>{_WORD})","notice":"(?P<notice>[0-9a-f]{{64}})",'
    rf'"prev":(?P<prev>{_B64}),"recorded_at":"(?P<recorded_at>{_TIME})","source":"(?P<source>{_WORD})",'
    rf'"subject":"(?P<subject>{_WORD})","v":1\}}',
    re.ASCII,
)
LINK = re.compile(
    rf'\{{"actor":"(?P<actor>{_WORD})","consents":\{{(?P<consents>{_OUTCOMES})\}},"kind":"link",'
    rf'"linked":"(?P<linked>{_WORD})","prev":(?P<prev>{_B64}),"recorded_at":"(?P<recorded_at>{_TIME})",'
    rf'"subject":"(?P<subject>{_WORD})","v":1\}}',
    re.ASCII,
)
NOTICE = re.compile(
    r'\{"kind":"notice","notice":"(?P<notice>[0-9a-f]{64})",'
    rf'"recorded_at":"(?P<recorded_at>{_TIME})","supersedes":(?P<supersedes>null|"[0-9a-f]{{64}}"),"v":1\}}',
    re.ASCII,
)
ERASURE = re.compile(
    r'\{"destroyed":\{(?P<destroyed>(?:"[a-z_]+":\d{1,15},?)*)\},'
    rf'"evidence_until":(?:null|"{_TIME}"),"kind":"erasure","recorded_at":"(?P<recorded_at>{_TIME})","v":1\}}',
    re.ASCII,
)
KEY = re.compile(
    rf'\{{"kind":"key","previous":(?P<previous>null|"{_WORD}"),"recorded_at":"(?P<recorded_at>{_TIME})",'
    rf'"v":1,"version":\d{{1,9}},"vkey":(?P<vkey>null|"{_WORD}"),"what":"{_WORD}"\}}',
    re.ASCII,
)
CHAINED = {
    "decision": ("subject", "prev", "notice", "choices", "decided_at", "recorded_at", "consents"),
    "link": ("subject", "prev", "linked", "recorded_at", "consents"),
    "notice": ("notice", "recorded_at"),
}
FORMS = {"decision": DECISION, "link": LINK, "notice": NOTICE, "erasure": ERASURE, "key": KEY}


def commitment(opening: bytes, record: bytes) -> bytes:
    """Return HMAC-SHA256(key "consent/v1", opening || record) in base64."""
    inner = _INNER()
    inner.update(opening + record)
    outer = _OUTER()
    outer.update(inner.digest())
    return binascii.b2a_base64(outer.digest(), newline=False)


@lru_cache(maxsize=4096)
def parse_choices(text: str) -> tuple[tuple[str, str], ...]:
    """Return the choices of a decision, sorted by purpose; raise ValueError unless canonical."""
    choices = json.loads("{" + text + "}")
    if _members(choices) != text or not set(choices.values()) <= {"granted", "denied"}:
        raise ValueError("choices that nobody can make")
    return tuple(choices.items())


def parse_record(kind: str, data: bytes) -> "re.Match[str] | None":
    """Return the members of a record of this kind, or `None` unless the bytes are canonical."""
    try:
        match = FORMS[kind].fullmatch(data.decode())
        if match is not None and kind == "decision":
            parse_choices(match["choices"])
    except (ValueError, KeyError):
        return None
    return match


def _members(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)[1:-1]


_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)
_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?",
    re.ASCII,
)


GRANTING, CLOSED = frozenset({"given", "renewed"}), frozenset({"refused", "withdrawn"})
UNFOUNDED = "a derived status does not follow from the entries before"


@lru_cache(maxsize=65_536)
def _date_after(day: str, duration: str) -> tuple[str, timedelta]:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError("not a duration")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    start = date.fromisoformat(day)
    month = start.month - 1 + years * 12 + months
    year, month = start.year + month // 12, month % 12 + 1
    last = calendar.monthrange(year, month)[1]
    end = date(year, month, min(start.day, last)) + timedelta(weeks=weeks, days=days)
    return end.isoformat(), timedelta(hours=hours, minutes=minutes, seconds=seconds)


def after(moment: str, duration: str) -> str:
    """Return the moment an ISO 8601 duration later: months first, the day clipped to the month's last."""
    day, rest = _date_after(moment[:10], duration)
    if not rest:
        return day + moment[10:]
    later = datetime.fromisoformat(day + moment[10:-1]) + rest
    return later.isoformat(timespec="milliseconds") + "Z"


class Plan:
    """What a decision is about: rows of purpose, granted or denied, purpose version and validity.

    What follows from decisions of one plan after those of another is worked out once.
    """

    def __init__(self, rows: tuple[tuple[str, str, int, str], ...]) -> None:
        self.rows = rows
        self.purposes = tuple(row[0] for row in rows)
        self.validities = frozenset(row[3] for row in rows)
        self._followed: dict[tuple[Plan | None, tuple[str, ...]], tuple[str, ...] | None] = {}
        self._forms: dict[tuple[str, ...], str] = {}

    def statuses_after(self, earlier: "Plan | None", statuses: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the statuses that this leaves, where `earlier` left those, none ran out and none is late.

        `None` where a grant of a later version stays as it is.
        """
        key = earlier, statuses
        if len(self._followed) > MOST_PLANS:
            self._followed.clear()
        if key not in self._followed:
            moment = "0000-01-01T00:00:00.000Z"
            known = {
                row[0]: (status, row[2], moment, moment, "9999-12-31T23:59:59.999Z")
                for row, status in zip(earlier.rows if earlier else (), statuses, strict=True)
            }
            standings = decide(self, known, ("2000-01-01T00:00:00.000Z",) * 2)[0]
            replaced = all(standings[row[0]][1] == row[2] for row in self.rows)
            self._followed[key] = tuple([standings[row[0]][0] for row in self.rows]) if replaced else None
        return self._followed[key]

    def spelled(self, statuses: tuple[str, ...], start: str) -> str:
        """Return how a record has to spell these statuses of validities that begin at `start`."""
        form = self._forms.get(statuses)
        if form is None:
            texts = zip(self.purposes, statuses, strict=True)
            form = ",".join(
                f'"{purpose}":{{"status":"{status}","valid_until":"%s"}}' for purpose, status in texts
            )
            if len(self._forms) < MOST_PLANS:
                self._forms[statuses] = form
        if len(self.validities) == 1:
            return form % ((after(start, self.rows[0][3]),) * len(self.rows))
        return form % tuple([after(start, row[3]) for row in self.rows])


# All standings of a subject in little memory: a plan with the statuses and moments of the one decision that
# left them all, or as text; None where they are not known.
Packed = tuple[Plan, tuple[str, ...], str, str] | str | None


def decided_again(plan: Plan, packed: Packed, times: tuple[str, str]) -> tuple[Packed, str] | None:
    """Return what `decide` would leave after one decision about the same purposes, and its spelling.

    `None` where that takes a closer look: a choice that ran out meanwhile, a decision that arrived late or is
    about an earlier version of a purpose than stands.
    """
    earlier: Plan | None = None
    statuses: tuple[str, ...] = ()
    if packed is not None:
        if isinstance(packed, str) or packed[0].purposes != plan.purposes:
            return None
        earlier, statuses = packed[0], packed[1]
        began = min(packed[2], packed[3])
        if times[0] < began or times[1] >= min(after(began, each) for each in earlier.validities):
            return None
    following = plan.statuses_after(earlier, statuses)
    if following is None:
        return None
    return (plan, following, *times), plan.spelled(following, min(times))


def decide(
    plan: Plan, known: Mapping[str, Standing], times: tuple[str, str]
) -> tuple[dict[str, Standing], str]:
    """Return all standings after a decision, and how its record has to spell the outcomes.

    Granted becomes given or renewed, denied refused or withdrawn, by what it meets. A grant decided before a
    denial on record arrived late, and changes nothing, nor does one of an earlier version than was granted.
    `times` is when it was decided and recorded; RFC 3339
    texts of one form compare like moments.
    """
    decided, recorded = times
    start = min(decided, recorded)
    standings, texts = dict(known), []
    for purpose, choice, version, validity in plan.rows:
        earlier = known.get(purpose)
        granting = earlier is not None and earlier[0] in GRANTING
        if choice == "granted":
            status = "renewed" if granting else "given"
        elif earlier is not None and granting and earlier[1] == version and recorded < earlier[4]:
            status = "withdrawn"
        else:
            status = "refused"
        standing = status, version, recorded, decided, after(start, validity)
        if (
            earlier is not None
            and choice == "granted"
            and (version < earlier[1] if granting else decided < min(earlier[2:4]))
        ):
            standing = earlier
        standings[purpose] = standing
        texts.append(f'"{purpose}":{{"status":"{standing[0]}","valid_until":"{standing[4]}"}}')
    return standings, ",".join(texts)


def stated_after(
    plan: Plan,
    known: Mapping[str, Standing],
    times: tuple[str, str],
    outcomes: str,
    newest: Mapping[str, int],
) -> dict[str, Standing]:
    """Return what is known of a subject after a decision, where her past is known of some purposes only.

    `newest` has the last version of each purpose. Raises ValueError for outcomes that no past leads to.
    """
    stated = json.loads("{" + outcomes + "}")
    if tuple(stated) != plan.purposes or _members(stated) != outcomes:
        raise ValueError(UNFOUNDED)
    learnt = dict(known)
    for row in plan.rows:
        purpose, choice, version, _ = row
        status, until = stated[purpose]["status"], stated[purpose]["valid_until"]
        expected = decide(Plan((row,)), known, times)[0][purpose]
        if purpose not in known:
            opens = status in GRANTING and version < newest[purpose]
            if choice == "granted" and (status in CLOSED or opens):
                continue  # What stood before may have been left as it was.
            if status in (GRANTING if choice == "granted" else CLOSED):
                expected = status, *expected[1:]
        if (status, until) != (expected[0], expected[4]):
            raise ValueError(UNFOUNDED)
        learnt[purpose] = expected
    return learnt


def pack_standings(plan: Plan, standings: Mapping[str, Standing], times: tuple[str, str]) -> Packed:
    """Return standings in little memory, after a decision with this plan."""
    decided, recorded = times
    if standings.keys() == set(plan.purposes) and all(
        each[2:4] == (recorded, decided) for each in standings.values()
    ):
        return plan, tuple([standings[purpose][0] for purpose in plan.purposes]), decided, recorded
    return json.dumps(standings, separators=(",", ":"))


def unpack_standings(packed: Packed) -> dict[str, Standing]:
    """Return what `pack_standings` packed."""
    if isinstance(packed, str):
        return {purpose: tuple(standing) for purpose, standing in json.loads(packed).items()}
    if packed is None:
        return {}
    plan, statuses, decided, recorded = packed
    start = min(decided, recorded)
    return {
        purpose: (status, version, recorded, decided, after(start, validity))
        for (purpose, _, version, validity), status in zip(plan.rows, statuses, strict=True)
    }


def standings_linked(
    known: dict[str, Standing], anonymous: Mapping[str, Standing], recorded: str
) -> dict[str, Standing]:
    """Return the known subject's standings after a link: the most protective of both, nothing widens."""
    linked = dict(known)
    for purpose, theirs in anonymous.items():
        ours = linked.get(purpose)
        ours_grants = ours is not None and ours[0] in GRANTING
        if theirs[0] not in GRANTING:
            if ours is None or ours_grants:
                linked[purpose] = (
                    "refused" if ours is None else "withdrawn",
                    theirs[1],
                    recorded,
                    *theirs[3:],
                )
        elif ours is not None and ours_grants and theirs[4] < ours[4]:
            linked[purpose] = (*ours[:2], recorded, ours[3], theirs[4])
    return linked


# --- (9) views --------------------------------------------------------------------------------------------

VIEW_HEADER = (
    "index,kind,recorded_at,decided_at,subject,method,source,actor,language,gpc,notice,choices,"
    "purpose,status,valid_until\r\n"
)


def cell(text: str) -> str:
    """Return a quoted CSV cell that no spreadsheet takes for a formula."""
    if text[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'


@lru_cache(maxsize=4096)
def _same_cells(*fields: str) -> str:
    method, source, actor, language, gpc, notice, choices = fields
    said = " ".join(f"{purpose}={choice}" for purpose, choice in parse_choices(choices)) if choices else ""
    cells = cell(method), cell(source), cell(actor), cell(language), gpc, notice, cell(said)
    return ",".join(cells) + ","


def view_rows(index: int, kind: str, match: "re.Match[str] | None") -> str:
    """Return the rows that the CSV table has for an entry: one per purpose, or one."""
    if match is None:  # erased
        return f"{index},{kind},,,,,,,,,,,,,\r\n"
    if kind == "decision":
        same = match.group("method", "source", "actor", "language", "gpc", "notice", "choices")
        recorded, decided, subject, outcomes = match.group("recorded_at", "decided_at", "subject", "consents")
    elif kind == "link":
        same, decided = ("", "", match["actor"], "", "", "", ""), ""
        recorded, subject, outcomes = match.group("recorded_at", "subject", "consents")
    else:
        notice = match["notice"] if kind == "notice" else ""
        return f"{index},{kind},{match['recorded_at']},,,,,,,,{notice},,,,\r\n"
    start = f"{index},{kind},{recorded},{decided},{cell(subject)},{_same_cells(*same)}"
    if not outcomes:  # a link that changed nothing
        return start + ",,\r\n"
    if '"-' in outcomes:
        outcomes = outcomes.replace('"-', "\"'-")  # the only start of a purpose that could be a formula
    # "a":{"status":"b","valid_until":"c"},… becomes "a",b,c and a new row
    rows = outcomes.replace('":{"status":"', '",').replace('","valid_until":"', ",")
    return start + rows[:-2].replace('"},', "\r\n" + start) + "\r\n"


class Table:
    """What a table of these rows would be: only its digest is kept."""

    def __init__(self) -> None:
        self._digest, self._rows = hashlib.sha256(), [VIEW_HEADER]

    def append(self, rows: str) -> None:
        """Add the rows of an entry."""
        self._rows.append(rows)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._take()

    def _take(self) -> None:
        self._digest.update("".join(self._rows).encode())
        self._rows.clear()

    def digest(self) -> str:
        """Return the SHA-256 of the whole."""
        self._take()
        return self._digest.hexdigest()


PARQUET_UNREAD = "Of the Parquet tables only the digests were checked: this program does not read Parquet."


# --- the whole pack ---------------------------------------------------------------------------------------

Progress = Callable[[int, int], None]
Follow = Callable[[int, str, bytes, Facts], None]


class Verification:
    """One run over one pack. `counts` says what was checked, `remarks` what could not be."""

    def __init__(
        self, pack: Pack, vkey: str | None, progress: Progress, policy: Policy | None = None
    ) -> None:
        self.pack, self.progress, self.policy = pack, progress, policy
        self.cosigned: tuple[int, dict[str, int]] | None = None
        self._unread = 0
        self.pinned = vkey
        counted = "members checkpoints notices entries records erased erasures statuses subjects"
        self.counts: dict[str, int] = dict.fromkeys(counted.split(), 0)
        self.kinds: dict[str, int] = {}
        self.remarks: list[str] = []
        self.manifest = self._manifest()
        self.origin: str = self.manifest["origin"]
        self._hers = self.manifest["mode"] == "subject"
        self.keys: list[str] = self.manifest["keys"]
        self._check_pinned()
        self.handoffs: list[tuple[int, str, str]] = []
        self.signers: list[tuple[int, set[str]]] = []
        self.notices: dict[str, Any] = {}
        self.published: set[str] = set()
        self.destroyed = 0
        self._certificates: Iterator[bytes] = iter(())
        self.linked: set[str] = set()
        self.chains: dict[str, tuple[bytes, Packed]] = {}
        self._partly: dict[str, dict[str, Standing]] = {}
        self._newest: dict[str, int] = {}
        self._plans: dict[tuple[str, str], Plan] = {}
        self.latest = ""
        self._current = "null"
        self._spoken: set[tuple[str, str]] = set()
        log = json.dumps(self.origin, ensure_ascii=False).encode()
        proof = rb',"proof":\[([^\]]*)\]' if self._hers else b""
        self._line = re.compile(
            rb'\{"index":(0|[1-9]\d{0,17}),"leaf":(\{"c":"([A-Za-z0-9+/]{43}=)","kind":"(%b)","log":%b,"v":1\}),'
            rb'(?:"erased":true|"opening":"([0-9a-f]{64})","record":(\{.*\}))(?:%b)?\}'
            % ("|".join(FORMS).encode(), re.escape(log), proof)
        )

    # Step (2), and the outside of (1).

    def _manifest(self) -> dict[str, Any]:
        data = self.pack.read(MANIFEST, LARGEST_MANIFEST)
        note = self.pack.read(SIGNATURE, MEGABYTE)
        try:
            document: dict[str, Any] = json.loads(data.decode(), parse_constant=_no_number)
            expected = f"{NOTE_HEADER}\n{document['origin']}\n{_digest(data)}\n"
            signed = open_note(note.decode(), document["vkey"], alone=True) == expected
            same = _is_canonical(data)
            self._made_by = _soon_after(document["made_at"])
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Fault("manifest", SIGNATURE, f"{_reason(error)}: changed after signing") from None
        if not signed or not same or not _well_formed(document):
            raise Fault("manifest", MANIFEST, "is not the one that was signed, or not of this version")
        self.signature = note
        return document

    def _check_pinned(self) -> None:
        """Check that the key that signed is the one given, or in the log's history after it."""
        if self.keys[-1] != self.manifest["vkey"]:
            raise Fault("manifest", MANIFEST, "its last key is not the one that signed it")
        if self.pinned is not None and self.pinned not in self.keys:
            raise Fault("manifest", SIGNATURE, "signed by a foreign key: not the one that you gave")

    def _check_keys(self) -> None:
        """Follow the log's keys: each is named in an entry, under a checkpoint that the one before signed.

        From that entry on the new one signs every checkpoint.
        """
        for size, signers in self.signers:
            newest = [vkey for index, _, vkey in self.handoffs if index < size][-1:]
            if not signers.issuperset(newest):
                message = "is signed by an old key only, which another had replaced"
                raise Fault("checkpoints", f"size {size}", message)
        shown = {
            (previous, vkey)
            for index, previous, vkey in self.handoffs
            if any(size > index and previous in signers for size, signers in self.signers)
        }
        steps = list(zip(self.keys, self.keys[1:], strict=False))
        wanted = [] if self.pinned is None else steps[self.keys.index(self.pinned) :]
        if self.manifest["mode"] == "range" and self.manifest["from"] == 0:
            introduced = [vkey for _, _, vkey in self.handoffs]
            later = len(steps) if self.manifest["to"] == self.manifest["head"] else len(introduced)
            if introduced != self.keys[1 : later + 1]:
                raise Fault("manifest", "keys", "are not those that the log's entries introduce")
            wanted = steps[:later] + wanted
        for step in wanted:
            if step not in shown:
                message = (
                    "the pack does not show how a key was replaced: give the newest, or take a whole pack"
                )
                raise Fault("manifest", "keys", message)

    def _members(self) -> None:
        listed = [*(member["name"] for member in self.manifest["members"]), MANIFEST, SIGNATURE]
        for expected, found in zip(listed, self.pack.members, strict=False):
            if expected != found:
                raise Fault("container", expected, f"missing or out of order: {found} stands in its place")
        if len(listed) != len(self.pack.members):
            raise Fault("container", "directory", "a member is missing or was added")
        for member in self.manifest["members"]:
            if not self._known(member["name"]):
                raise Fault("container", member["name"], "is nothing that a pack has")
            there = self.pack.members[member["name"]]
            if self.pack.raw_digest(there) != member["raw"] or there.size != member["size"]:
                raise Fault("container", member["name"], "its bytes are not those that were signed")
            self.counts["members"] += 1

    def _known(self, name: str) -> bool:
        """Say whether a pack has such a member: a table or leaves only of entries that are there.

        In the pack of one subject, nothing that is not read.
        """
        chunk = _CHUNK.fullmatch(name)
        if chunk is None:
            return _SINGLE.fullmatch(name) is not None and not (self._hers and name == ERASURES)
        if self._hers:
            return name.rpartition(".")[0] in {"entries/000000", "table/000000"}
        return f"entries/{chunk[2] or chunk[3]}.ndjson" in self.pack.members or chunk[1] is not None

    def run(self) -> None:
        """Check everything; raise `Fault` at the first thing that does not hold."""
        try:
            self._members()
            self._read_notices()
            if self._hers:
                self._run_subject()
            else:
                self._run_range()
            self._check_keys()
            self._check_cosigned()
            self._check_counts()
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Fault(
                "manifest", MANIFEST, f"lacks something or has it in another form ({_reason(error)})"
            ) from None

    # Step (3): the words.

    def _read_notices(self) -> None:
        for name, member in self.pack.members.items():
            if name.startswith("notices/"):
                data = self.pack.read(name, min(member.size, 8 * MEGABYTE))
                digest = hashlib.sha256(data).hexdigest()
                if name != f"notices/{digest}.json":
                    raise Fault("notices", name, "the words are not those that its name is the digest of")
                if not _is_canonical(data):
                    raise Fault("notices", name, AMBIGUOUS)
                self.notices[digest] = json.loads(data)
                self.counts["notices"] += 1

    # Steps (4) to (7): a whole range of the log.

    def _run_range(self) -> None:
        start, end = self.manifest["from"], self.manifest["to"]
        parts = 1 + self.manifest["counts"]["subjects"] // SUBJECTS_AT_ONCE
        if parts > 1 or end - start < READ_BESIDE or not self._read_beside():
            self._read_range(self._follow if parts == 1 else self._note_links)
        for part in range(parts if parts > 1 else 0):
            self._chains_of(part, parts)
        self._check_erasures(start)
        if start == 0 and end == self.manifest["head"]:
            for digest in sorted(self.notices.keys() - self.published):
                raise Fault("notices", f"notices/{digest}.json", "words that this log never published")

    def _read_range(self, follow: Follow) -> None:
        """Take steps (4) to (6) and (9), and hand on what the chains need."""
        start, end = self.manifest["from"], self.manifest["to"]
        tree = self._start_tree(start)
        due = self._checkpoints()
        self._certificates = self.pack.lines(ERASURES)
        self._check_tree(tree, due)
        next_due, append = due[0][0], tree.append
        for index, leaf, kind, match in self._entries(views=True):
            if index != tree.size:
                raise Fault("entries", "entries", f"expected entry {tree.size}", index=index)
            append(leaf)
            if match is not None and kind in CHAINED:
                follow(index, kind, leaf[6:50], match.group(*CHAINED[kind]))
            if tree.size == next_due:
                self._check_tree(tree, due)
                next_due = due[0][0]
            if index % 8192 == 0:
                self.progress(index - start, end - start)
        if tree.size != end or due[0][0] is not None:
            raise Fault("tree", "entries", f"the pack ends at entry {tree.size}, not at {end}")
        if next(self._certificates, None) is not None:
            raise Fault("erasures", ERASURES, "has a certificate of no erasure in this pack")
        self._check_root(tree.root())
        self._check_since(tree.size, tree.root())
        self._check_digests()

    def _read_beside(self) -> bool:
        """Let a second process of this file take all steps but the chains; return whether there is one."""
        command = [sys.executable, "-I", __file__, "--read-beside", str(self.pack.path)]
        with subprocess.Popen(  # noqa: S603  # this file, by the interpreter that runs it
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as other:
            try:
                return self._follow_reader(other.stdout) if other.stdout else False
            finally:
                other.kill()

    def _follow_reader(self, messages: IO[bytes]) -> bool:
        """Follow the chains of what the other process reads, and take over what it found."""
        try:
            signature = marshal.load(messages)  # noqa: S302  # our own process wrote it
        except EOFError:
            return False
        if signature != self.signature:
            raise Fault("container", SIGNATURE, "the file changed while it was read")
        start, end = self.manifest["from"], self.manifest["to"]
        follow = self._follow
        while True:
            try:
                kind, content = marshal.load(messages)  # noqa: S302  # as above
            except (EOFError, ValueError):
                raise Fault("container", "entries", "the process that read them ended early") from None
            if kind == "fault":
                raise Fault(*content[:3], index=content[3])
            if kind == "end":
                break
            for item in content:
                follow(*item)
            if content:
                self.progress(content[-1][0] - start, end - start)
        self.kinds, erased, self.handoffs, self.destroyed, remarks = content
        self.counts["erased"] += erased
        self.remarks += remarks
        self._checkpoints()
        return True

    def read_for_another(self, out: IO[bytes]) -> None:
        """Be the second process: write what the chains need in batches, then what was found, or the fault."""
        batch: list[tuple[int, str, bytes, Facts]] = []

        def hand_on(index: int, kind: str, committed: bytes, facts: Facts) -> None:
            batch.append((index, kind, committed, facts))
            if len(batch) == 1024:
                marshal.dump(("entries", batch), out)
                batch.clear()

        try:
            self._read_notices()
            self._read_range(hand_on)
            found = (self.kinds, self.counts["erased"], self.handoffs, self.destroyed, self.remarks)
            last: tuple[str, Any] = "end", found
        except Fault as fault:
            last = "fault", (fault.check, fault.where, fault.message, fault.index)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            message = f"lacks something or has it in another form ({_reason(error)})"
            last = "fault", ("manifest", MANIFEST, message, None)
        marshal.dump(("entries", batch), out)
        marshal.dump(last, out)
        out.flush()

    def _start_tree(self, start: int) -> Tree:
        if start == 0:
            return Tree()
        peaks = [decoded(peak, 32) for peak in self.manifest["start"]["peaks"]]
        if len(peaks) != start.bit_count():
            raise Fault("tree", MANIFEST, "the tree before the first entry has another shape")
        remark = (
            f"The pack begins at entry {start}: what subjects had chosen before is not in it, "
            "and the first status of each purpose is taken as it is stated where the choice allows it."
        )
        if remark not in self.remarks:
            self.remarks.append(remark)
        return Tree(start, peaks)

    def signed_roots(self) -> dict[int, bytes]:
        """Return the roots that the log signed, by size, without reading an entry; raise `Fault`."""
        return {size: root for size, root in self._checkpoints() if size is not None}

    def _checkpoints(self) -> list[tuple[int | None, bytes]]:
        """Return (size, root) of each checkpoint, then (None, …) as the end."""
        due: list[tuple[int | None, bytes]] = []
        for number, line in enumerate(self.pack.lines("checkpoints.ndjson")):
            try:
                note = _noted(line)
                size, root, signers = self._signed(note)
            except (ValueError, KeyError, IndexError) as error:
                raise Fault("checkpoints", f"line {number}", _reason(error)) from None
            if due and size <= (due[-1][0] or 0):
                raise Fault("checkpoints", f"line {number}", "out of order")
            due.append((size, root))
            self.signers.append((size, signers))
            self.counts["checkpoints"] += 1
            self._cosignatures(number, size, note, len(signers))
        sizes = [size for size, _ in due]
        wanted = {self.manifest["from"], self.manifest["to"]} - {0}
        if not wanted <= set(sizes) or any((size or 0) < self.manifest["from"] for size in sizes):
            raise Fault("checkpoints", "checkpoints.ndjson", "none is signed over the beginning or the end")
        return [*due, (None, b"")]

    def _cosignatures(self, number: int, size: int, note: str, signers: int) -> None:
        """Check who cosigned a checkpoint, and remember the last one that has a quorum."""
        if self.policy is None:
            self._unread += note.rpartition("\n\n")[2].count("\n") - signers
            return
        try:
            seen = self.policy.seen(note)
        except ValueError as error:
            raise Fault("cosignatures", f"line {number}", _reason(error)) from None
        self.counts["cosignatures"] = self.counts.get("cosignatures", 0) + len(seen)
        if seen and self.policy.satisfied(seen):
            self.cosigned = size, seen

    def _check_cosigned(self) -> None:
        """Check that witnesses saw what the pack ends with, or say from where on they did not."""
        end = self.manifest["to"]
        if self.policy is None and self._unread:
            self.remarks.append(f"No witness was named: {self._unread} cosignatures were not checked.")
        if self.policy is None or self.policy.satisfied(()):
            return
        whole = self.manifest["mode"] == "range"  # only then every checkpoint is one of the leaves
        if self.cosigned is None or not (whole or self.cosigned[0] == end):
            message = "no checkpoint has the cosignatures that you ask for"
            raise Fault("cosignatures", "checkpoints.ndjson", message)
        if self.cosigned[0] < end:
            self.remarks.append(
                f"Witnesses cosigned {self.cosigned[0]} entries: that those from there to {end} are the only "
                "ones is the log's word."
            )

    def _signed(self, note: str) -> tuple[int, bytes, set[str]]:
        """Return size and root of a checkpoint, and which of the log's keys signed it: at least one."""
        signers, found, reason = set(), None, ValueError("the log has no key")
        for vkey in self.keys:
            try:
                found = open_checkpoint(note, vkey, self.origin)
                signers.add(vkey)
            except ValueError as error:
                reason = error
        if found is None:
            raise reason
        return found[1], found[2], signers

    def _check_tree(self, tree: Tree, due: list[tuple[int | None, bytes]]) -> None:
        """Compare the checkpoint that is due at this size, and take it off the list."""
        if tree.size == due[0][0] and due.pop(0)[1] != tree.root():
            raise Fault("tree", f"size {tree.size}", "the leaves do not lead to the root that was signed")

    def _entries(self, *, views: bool) -> Iterator[tuple[int, bytes, str, "re.Match[str] | None"]]:
        names = [member["name"] for member in self.manifest["members"]]
        read, count = self._entry, self._count
        for name in names:
            if not name.startswith("entries/"):
                continue
            table = Table()
            for line in self.pack.lines(name):
                entry = read(line, name)
                if views:
                    index, leaf, kind, match = entry
                    count(index, leaf, kind, match)
                    table.append(view_rows(index, kind, match))
                yield entry
            if views:
                self._check_view(name.replace("entries/", "table/").replace(".ndjson", ".csv"), table)

    def _entry(self, line: bytes, name: str) -> tuple[int, bytes, str, "re.Match[str] | None"]:
        """Take steps (4) and (5) for one line; the match is None where the record was erased."""
        found = self._line.fullmatch(line)
        if found is None:
            raise Fault("entries", name, "a line that is no entry of this log")
        number, leaf, committed, kind_of, opening, record = found.group(1, 2, 3, 4, 5, 6)
        index, kind = int(number), kind_of.decode()
        if opening is None:
            if kind not in {"decision", "link"}:
                raise Fault("entries", name, "a record of this kind is public, and never erased", index=index)
            return index, leaf, kind, None
        if commitment(binascii.unhexlify(opening), record) != committed:
            message = "the leaf does not commit to this record and opening"
            raise Fault("commitments", name, message, index=index)
        match = parse_record(kind, record)
        if match is None:
            raise Fault("entries", name, "the record is not one in canonical form", index=index)
        return index, leaf, kind, match

    def _count(self, index: int, leaf: bytes, kind: str, match: "re.Match[str] | None") -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if match is None:
            self.counts["erased"] += 1
            return
        recorded_at = match["recorded_at"]
        if recorded_at > self._made_by:
            raise Fault("entries", "recorded_at", "was recorded after the pack was made", index=index)
        if recorded_at < self.latest:
            behind = datetime.fromisoformat(self.latest[:-1]) - datetime.fromisoformat(recorded_at[:-1])
            if behind.total_seconds() > CLOCK_TOLERANCE_S:
                message = "is backdated: an earlier entry was recorded later"
                raise Fault("entries", "recorded_at", message, index=index)
        else:
            self.latest = recorded_at
        if kind == "decision" and (match["notice"], match["language"]) not in self._spoken:
            self._check_language(index, match["notice"], match["language"])
        elif kind in {"notice", "erasure", "key"}:
            self._public(index, leaf, kind, match)

    def _check_language(self, index: int, notice: str, language: str) -> None:
        """Check that a notice was written in the language of a decision, or a wider one (RFC 4647)."""
        if notice not in self.notices:
            return  # no status follows from it: step (8)
        written = {tag.lower() for tag in self.notices[notice]["languages"]}
        parts = language.lower().split("-") if _LANGUAGE.fullmatch(language) else []
        if not any("-".join(parts[:count]) in written for count in range(1, len(parts) + 1)):
            message = "was decided in a language in which these words were never written"
            raise Fault("notices", notice, message, index=index)
        if len(self._spoken) < MOST_PLANS:
            self._spoken.add((notice, language))

    def _public(self, index: int, leaf: bytes, kind: str, match: "re.Match[str]") -> None:
        if kind == "notice":
            if match["notice"] not in self.notices:
                raise Fault("notices", match["notice"], "the words of this notice are missing", index=index)
            stated = match["supersedes"].strip('"')
            if self.manifest["from"] == 0 and stated != self._current:
                raise Fault("notices", "supersedes", "another notice was in force before it", index=index)
            self._current = match["notice"]
            self.published.add(match["notice"])
        elif kind == "key" and match["vkey"] != "null":
            self.handoffs.append((index, match["previous"][1:-1], match["vkey"][1:-1]))
        elif kind == "erasure":
            self.destroyed += json.loads("{" + match["destroyed"] + "}").get("records", 0)
            self._erasure(index, leaf[6:50])

    def _check_view(self, name: str, table: Table) -> None:
        held = self.pack.digest(name) if name in self.pack.members else None
        if held != table.digest():
            raise Fault("views", name, "does not say what the records say")

    def _check_digests(self) -> None:
        """Check that the contents have the digests of the manifest, also where nothing else reads them."""
        for member in self.manifest["members"]:
            if self.pack.digest(member["name"]) != member["sha256"]:
                raise Fault("container", member["name"], "its contents are not those that the manifest names")

    # Steps (7) and (8): the chains.

    def _follow(self, index: int, kind: str, committed: bytes, facts: Facts) -> None:
        """Take steps (7) and (8) for one entry."""
        if kind == "notice":
            self.published.add(facts[0])
        else:
            self._chain(index, kind, committed, facts)

    def _note_links(self, _index: int, kind: str, _committed: bytes, facts: Facts) -> None:
        """Remember who was linked: the chains are followed in several passes."""
        if kind == "link":
            self.linked.add(facts[2])

    def _chains_of(self, part: int, parts: int) -> None:
        """Follow the subjects of one part, and beside them those that links make part of their state."""
        self.chains, self._partly = {}, {}
        for index, leaf, kind, match in self._entries(views=False):
            if match is not None and kind in {"decision", "link"}:
                own = zlib.crc32(match["subject"].encode()) % parts == part
                if own or match["subject"] in self.linked:
                    self._chain(index, kind, leaf[6:50], match.group(*CHAINED[kind]), own=own)

    def _chain(self, index: int, kind: str, committed: bytes, facts: Facts, *, own: bool = True) -> None:
        subject, prev = facts[:2]
        chain = self.chains.get(subject)
        if chain is None:
            if prev != "null" and self.manifest["from"] == 0:
                raise Fault("chains", "prev", "an earlier entry of this subject is missing", index=index)
            self.counts["subjects"] += own
        elif prev[1:-1].encode() != chain[0]:
            raise Fault("chains", "prev", "the chain of this subject's entries is broken", index=index)
        try:
            if (chain is None and prev != "null") or (chain is not None and chain[1] is None):
                packed: Packed = None  # the beginning is not in this pack
                self._partly[subject] = self._stated(kind, facts, self._partly.get(subject, {}))
            elif kind == "link":
                packed = self._linked(facts, None if chain is None else chain[1])
            else:
                packed = self._decided(facts, None if chain is None else chain[1])
        except (ValueError, KeyError) as error:
            raise Fault("statuses", "record", _reason(error), index=index) from None
        self.counts["statuses"] += own and packed is not None
        self.chains[subject] = (committed, packed)

    def _stated(self, kind: str, facts: Facts, known: dict[str, Standing]) -> dict[str, Standing]:
        """Return what is known of a subject whose beginning is not in this pack; nothing after a link."""
        if kind == "link":
            return {}
        _, _, notice, choices, decided, recorded, outcomes = facts
        plan = self._plans.get((notice, choices)) or self._plan(notice, choices)
        for purpose in plan.purposes:
            if purpose not in self._newest:
                offers = [words["purposes"].get(purpose) for words in self.notices.values()]
                self._newest[purpose] = max(offer["version"] for offer in offers if offer)
        return stated_after(plan, known, (decided, recorded), outcomes, self._newest)

    def _linked(self, facts: Facts, packed: Packed) -> Packed:
        _, _, linked, recorded, outcomes = facts
        theirs = self.chains.get(linked)
        if theirs is None or theirs[1] is None:
            if self.manifest["from"] == 0:
                raise ValueError("a link leads to no subject")
            return None
        standings = standings_linked(unpack_standings(packed), unpack_standings(theirs[1]), recorded)
        texts = [
            f'"{purpose}":{{"status":"{standing[0]}","valid_until":"{standing[4]}"}}'
            for purpose, standing in sorted(standings.items())
        ]
        if ",".join(texts) != outcomes:
            raise ValueError(UNFOUNDED)
        return json.dumps(standings, separators=(",", ":"))

    def _decided(self, facts: Facts, known: Packed) -> Packed:
        _, _, notice, choices, decided, recorded, outcomes = facts
        plan = self._plans.get((notice, choices)) or self._plan(notice, choices)
        short = decided_again(plan, known, (decided, recorded))
        if short is not None:
            packed, expected = short
        else:
            standings, expected = decide(plan, unpack_standings(known), (decided, recorded))
            packed = pack_standings(plan, standings, (decided, recorded))
        if expected != outcomes:
            raise ValueError(UNFOUNDED)
        return packed

    def _plan(self, notice: str, choices: str) -> Plan:
        """Return what a decision under a published notice is about."""
        if self.manifest["from"] == 0 and notice not in self.published:
            raise ValueError("decided under a notice that was not published yet")
        if notice not in self.notices:
            raise ValueError("the words of this notice are missing")
        purposes, made = self.notices[notice]["purposes"], parse_choices(choices)
        if not all(purpose in purposes for purpose, _ in made):
            raise ValueError("a choice that this notice does not offer")
        plan = Plan(
            tuple(
                (purpose, choice, purposes[purpose]["version"], purposes[purpose]["validity"])
                for purpose, choice in made
            )
        )
        if len(self._plans) < MOST_PLANS:
            self._plans[notice, choices] = plan
        return plan

    # Steps (6) and (10): the end.

    def _check_since(self, size: int, root: bytes) -> None:
        since = self.manifest["since"]
        if since is None:
            return
        try:
            proof = [decoded(step, 32) for step in since["proof"]]
            verify_consistency((since["size"], size), (decoded(since["root"], 32), root), proof)
        except ValueError as error:
            raise Fault("tree", "since", _reason(error)) from None

    def _erasure(self, index: int, committed: bytes) -> None:
        """Take step (11) for one erasure; what is missing before it has to be as much as went so far."""
        line = next(self._certificates, None)
        if line is None:
            raise Fault("erasures", ERASURES, "an erasure has no certificate", index=index)
        try:
            stated = open_certificate(_noted(line), self.keys, self.origin)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise Fault("erasures", ERASURES, _reason(error), index=index) from None
        if stated != (index, "-", committed):
            raise Fault("erasures", ERASURES, "a certificate says something else", index=index)
        if self.manifest["from"] == 0 and self.destroyed > self.counts["erased"]:
            message = "more records were destroyed by then than are missing before it"
            raise Fault("erasures", "destroyed", message, index=index)

    def _check_erasures(self, start: int) -> None:
        missing = self.counts["erased"]
        if start == 0 and self.destroyed != missing and self.manifest["to"] == self.manifest["head"]:
            raise Fault(
                "counts", "erased", f"{missing} records are missing, erasures destroyed {self.destroyed}"
            )
        if missing and (start or self.manifest["to"] != self.manifest["head"]):
            self.remarks.append(
                f"{missing} records are missing; erasures outside this period may account for them."
            )

    def _check_counts(self) -> None:
        self.counts["entries"] = sum(self.kinds.values())
        self.counts["records"] = self.counts["entries"] - self.counts["erased"]
        self.counts["erasures"] = self.kinds.get("erasure", 0)
        found = {key: self.counts[key] for key in ("entries", "records", "erased", "subjects")} | self.kinds
        stated = {key: value for key, value in self.manifest["counts"].items() if value}
        if stated != {key: value for key, value in found.items() if value}:
            raise Fault("counts", MANIFEST, "its counts are not those of the entries")
        if any(name.endswith(".parquet") for name in self.pack.members):
            self.remarks.append(PARQUET_UNREAD)

    # A certificate that somebody holds.

    def check_certificate(self, certificate: str) -> int:
        """Return the index of the erasure that a certificate is of; raise `Fault` unless it is in this pack.

        The log's key signed it, and the leaf at its index commits to what it says was destroyed.
        """
        try:
            index, _, committed = open_certificate(certificate, self.keys, self.origin)
        except ValueError as error:
            raise Fault("certificate", "certificate", _reason(error)) from None
        for member in self.manifest["members"]:
            if member["name"].startswith("entries/"):
                for line in self.pack.lines(member["name"]):
                    found = self._line.fullmatch(line)
                    if found and int(found[1]) == index:
                        if found[3] == committed and found[4] == b"erasure":
                            return index
                        raise Fault(
                            "certificate", "certificate", "the log has another entry there", index=index
                        )
        raise Fault("certificate", "certificate", "is of an entry that is not in this pack", index=index)

    # A pack of one subject: entries with a proof each.

    def _run_subject(self) -> None:
        size, root = self._checkpoints()[-2]
        if size is None or size != self.manifest["to"]:
            raise Fault("checkpoints", "checkpoints.ndjson", "the last one is beyond the end of the pack")
        last, table = -1, Table()
        self.published = set(self.notices)
        for line in self.pack.lines("entries/000000.ndjson"):
            index, leaf, kind, match = self._entry(line, "entries/000000.ndjson")
            if index <= last or match is None or kind not in {"decision", "link"}:
                raise Fault("entries", "entries", "out of order, or without a record of hers", index=index)
            self._count(index, leaf, kind, match)
            self._check_proof(index, leaf, line, size, root)
            self._chain(index, kind, leaf[6:50], match.group(*CHAINED[kind]))
            table.append(view_rows(index, kind, match))
            last = index
        self._check_view("table/000000.csv", table)
        self._check_root(root)
        self._check_since(size, root)
        self._check_digests()
        self.remarks.append(
            "This pack has one subject's entries: none is missing between the first and the last, "
            "but that there is no later one, and that these words were published, is the log's word."
        )

    def _check_proof(self, index: int, leaf: bytes, line: bytes, size: int, root: bytes) -> None:
        found = self._line.fullmatch(line)
        try:
            steps = json.loads(b"[" + (found[7] if found and found[7] else b"") + b"]")
            verify_inclusion(index, size, leaf, [decoded(step, 32) for step in steps], root)
        except (ValueError, TypeError) as error:
            raise Fault("tree", "proof", _reason(error), index=index) from None

    def _check_root(self, root: bytes) -> None:
        if decoded(self.manifest["root"], 32) != root:
            raise Fault("tree", MANIFEST, "names another root than the last checkpoint")


_MANIFEST: dict[str, type] = {
    **dict.fromkeys(("pack", "from", "to", "head"), int),
    **dict.fromkeys(("origin", "vkey", "made_at", "software", "mode", "root"), str),
    **dict.fromkeys(("start", "since"), object),
    **dict.fromkeys(("members", "keys"), list),
    "counts": dict,
}
_LISTED = {"name": str, "size": int, "sha256": str, "raw": str}
_START, _SINCE = {"peaks": list}, {"size": int, "root": str, "proof": list}


def _well_formed(manifest: Any) -> bool:
    """Say whether a manifest has the members of this version, each of its form and in its range."""
    if not _has(manifest, _MANIFEST):
        return False
    start, since = manifest["start"], manifest["since"]
    return (
        manifest["pack"] == FORMAT
        and manifest["mode"] in {"range", "subject"}
        and 0 <= manifest["from"] <= manifest["to"] <= manifest["head"]
        and (start is None) == (manifest["from"] == 0)
        and (manifest["mode"] == "range" or manifest["from"] == 0)
        and (start is None or (_has(start, _START) and _texts(start["peaks"])))
        and (since is None or (_has(since, _SINCE) and _texts(since["proof"])))
        and all(type(count) is int for count in manifest["counts"].values())
        and all(_has(member, _LISTED) for member in manifest["members"])
        and _texts(manifest["keys"])
        and len(manifest["keys"]) > 0
    )


def _has(document: Any, form: Mapping[str, type]) -> bool:
    """Say whether a document has exactly the members of a form, each of its type."""
    return (
        type(document) is dict
        and document.keys() == form.keys()
        and all(kind in {object, type(document[name])} for name, kind in form.items())
    )


def _texts(values: list[Any]) -> bool:
    return all(type(each) is str for each in values)


def canonical(document: object) -> bytes:
    """Return canonical JSON (RFC 8785) of documents whose keys are ASCII and whose numbers are integers."""
    return json.dumps(
        document, separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False
    ).encode()


AMBIGUOUS = "is not canonical JSON: readers could see different words"
LARGEST_INTEGER = (1 << 53) - 1  # beyond it JavaScript's numbers have gaps


def _is_canonical(data: bytes) -> bool:
    """Say whether JSON says the same to every reader: canonical, its keys ASCII, its numbers integers."""
    try:
        document = json.loads(
            data,
            object_pairs_hook=_ascii_keys,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        return canonical(document) == data
    except (ValueError, RecursionError):
        return False


def _ascii_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if not all(key.isascii() for key, _ in pairs):
        raise ValueError("keys of other letters are sorted in more ways than one")
    return dict(pairs)


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError("an integer beyond 2^53 - 1")
    return int(digits)


def _no_number(spelling: str) -> None:
    raise ValueError(f"{printable(spelling)} is no integer")


def _noted(line: bytes) -> str:
    """Return the note of a line of checkpoints or certificates; raise ValueError for any other spelling."""
    note: str = json.loads(line)["note"]
    if canonical({"note": note}) != line:
        raise ValueError("is not the one spelling of a note")
    return note


def _soon_after(moment: str) -> str:
    """Return when an entry was recorded at the latest that is in a pack made then: clocks differ."""
    if not re.fullmatch(_TIME, moment, re.ASCII):
        raise ValueError("not a time")
    return after(moment, f"PT{CLOCK_TOLERANCE_S}S")


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _reason(error: Exception) -> str:
    return printable(error) if isinstance(error, ValueError) and str(error) else type(error).__name__


def verify_pack(
    path: Path,
    *,
    vkey: str | None = None,
    previous: Path | None = None,
    policy: Policy | None = None,
    certificates: Sequence[str] = (),
    progress: Progress = lambda _d, _t: None,
) -> dict[str, Any]:
    """Return what was verified; raise `Fault` at the first thing that does not hold, or OSError.

    `previous` is an older pack of the same log: the newer one has to continue it. With a `policy`, its
    witnesses have to have cosigned a checkpoint of the pack. Each of `certificates` is of an erasure in it.
    """
    with Pack(path) as pack:
        run = Verification(pack, vkey, progress, policy)
        older = None if previous is None else _older(previous, run)
        run.run()
        if older is not None:
            _compare(older, run)
        for certificate in certificates:
            run.check_certificate(certificate)
            run.counts["certificates"] = run.counts.get("certificates", 0) + 1
        if run.pinned is None:
            run.remarks.insert(
                0, "No --key was given: the pack agrees with itself, but anybody could have made it."
            )
        return {
            "verified": True,
            "origin": run.origin,
            "vkey": run.keys[-1],
            "key_pinned": run.pinned is not None,
            "size": run.manifest["to"],
            "root": run.manifest["root"],
            "from": run.manifest["from"],
            "made_at": run.manifest["made_at"],
            "cosigned": run.cosigned and {"size": run.cosigned[0], "witnesses": run.cosigned[1]},
            "checked": run.counts,
            "remarks": run.remarks,
        }


def _older(path: Path, newer: Verification) -> dict[str, Any]:
    with Pack(path) as pack:
        older = Verification(pack, None, newer.progress).manifest
    if older["origin"] != newer.origin or older["vkey"] not in newer.keys:
        raise Fault("tree", "previous", "the older pack is another log's, or signed by none of its keys")
    return older


def _compare(older: dict[str, Any], newer: Verification) -> None:
    """Check that the newer pack continues the older one, by a proof in it or from its own leaves."""
    size, root, since = older["to"], decoded(older["root"], 32), newer.manifest["since"]
    if size > newer.manifest["to"]:
        raise Fault("tree", "previous", "the pack given as previous is the newer one")
    if older["head"] > newer.manifest["head"]:
        message = f"the log had {older['head']} entries when the older pack was made, and has fewer now"
        raise Fault("tree", "previous", message)
    if older["keys"] != newer.keys[: len(older["keys"])]:
        raise Fault("manifest", "previous", "the two packs disagree about the keys that the log had")
    if since is not None and since["size"] == size:
        same = decoded(since["root"], 32) == root
    elif newer.manifest["mode"] == "range" and newer.manifest["from"] <= size:
        tree = newer._start_tree(newer.manifest["from"])
        for _, leaf, _, _ in newer._entries(views=False):
            if tree.size == size:
                break
            tree.append(leaf)
        same = tree.root() == root
    else:
        raise Fault("tree", "previous", f"nothing here leads back to size {size}: export with --since {size}")
    if not same:
        raise Fault(
            "tree", "previous", "the two packs disagree: the log was rewritten; keep both, they prove it"
        )


_EVIDENCE = {"v", "origin", "vkey", "index", "leaf", "opening", "record", "notice", "proof"}
LARGEST_RECEIPT = 16 * MEGABYTE


def receipt_text(data: bytes) -> str:
    """Return a receipt as text: of one in PDF, the file attached to it; nothing of what is no UTF-8."""
    if data.startswith(b"%PDF-"):
        for stream in re.findall(rb"(?<!end)stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
            try:
                attached = zlib.decompressobj().decompress(stream, LARGEST_RECEIPT)
            except zlib.error:
                attached = stream
            if attached.startswith(b'{"index":'):
                data = attached
                break
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


def evidence_in(text: str) -> dict[str, Any] | None:
    """Return the evidence in a receipt of any of the textual forms, `None` if there is none.

    It has one place in each, so that whoever checks a receipt checks the same: in the data block of HTML,
    behind the last line of a text that is the mark, as `evidence` of a JSON document, or as the whole of it.
    """
    block = re.search(r'<script type="application/json" id="consent-evidence">([^<]*)</script>', text)
    inside = block[1] if block else re.split(r"(?:\A|\n)-----CONSENT EVIDENCE-----\r?\n", text)[-1]
    try:
        document = json.loads(inside)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and inside == text:
        document = document.get("evidence", document)
    return document if isinstance(document, dict) and document.keys() == _EVIDENCE else None


def verify_receipt(text: str, *, vkey: str | None = None, policy: Policy | None = None) -> dict[str, Any]:
    """Return what a receipt proves; raise `Fault` at the first thing that does not hold.

    (1) the log's key signed a checkpoint, and the witnesses of the policy cosigned it; (2) the leaf is in its
    tree; (3) the leaf commits to the decision beside it; (4) the words are those that the decision names.
    """
    evidence = evidence_in(text)
    if evidence is None:
        raise Fault("receipt", "receipt", "there is no evidence in this file")
    try:
        return _verified_evidence(evidence, vkey, policy)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Fault("receipt", "evidence", _reason(error)) from None


def _verified_evidence(evidence: dict[str, Any], vkey: str | None, policy: Policy | None) -> dict[str, Any]:
    head, _, note = evidence["proof"].partition("\n\n")
    lines = head.split("\n")
    index, origin, leaf, record = (evidence[name] for name in ("index", "origin", "leaf", "record"))
    if lines[1].startswith("extra ") and not decoded(lines.pop(1)[6:]):
        raise ValueError("an empty extra line")
    if (
        [type(evidence["v"]), evidence["v"], type(index)] != [int, 1, int]
        or lines[:2] != ["c2sp.org/tlog-proof@v1", f"index {index}"]
        or not re.fullmatch(r"[0-9a-f]{64}", evidence["opening"])
    ):
        raise Fault("receipt", "proof", "is no C2SP tlog-proof of this entry")
    signed_by = evidence["vkey"] if vkey is None else vkey
    _, size, root = open_checkpoint(note, signed_by, origin)  # (1)
    seen = policy.seen(note) if policy else {}
    if policy is not None and not policy.satisfied(seen):
        raise Fault("cosignatures", "proof", "the checkpoint lacks the cosignatures that you ask for")
    verify_inclusion(index, size, leaf.encode(), [decoded(step, 32) for step in lines[2:]], root)  # (2)
    committed = commitment(binascii.unhexlify(evidence["opening"]), record.encode()).decode()
    if canonical({"c": committed, "kind": "decision", "log": origin, "v": 1}) != leaf.encode():  # (3)
        raise Fault("commitments", "leaf", "does not commit to this decision and opening")
    match = parse_record("decision", record.encode())
    words = hashlib.sha256(evidence["notice"].encode()).hexdigest()
    if match is None or match["notice"] != words:  # (4)
        raise Fault("notices", "notice", "the words are not those that the decision was made under")
    if not _is_canonical(evidence["notice"].encode()):
        raise Fault("notices", "notice", AMBIGUOUS)
    return {
        "verified": True,
        "origin": origin,
        "vkey": signed_by,
        "key_pinned": vkey is not None,
        "index": index,
        "size": size,
        "recorded_at": match["recorded_at"],
        "choices": dict(parse_choices(match["choices"])),
        "cosigned": seen,
    }


MISBEHAVIOUR = "consent-misbehaviour/v1"


def misbehaviour_proved(text: str, vkey: str) -> dict[str, Any]:
    """Return what two checkpoints prove, both signed by the log's key over one size; raise ValueError if not.

    The parts of the text stand between lines of eight equals signs: the header, the key that the writer knew,
    and the two signed notes.
    """
    parts = text.split("\n========\n")
    if len(parts) != 4 or parts[0] != MISBEHAVIOUR:
        raise ValueError("this is no proof of misbehaviour")
    origin = parts[2].partition("\n")[0]
    (_, size, root), (_, other_size, other_root) = (open_checkpoint(note, vkey, origin) for note in parts[2:])
    if size != other_size or root == other_root:
        raise ValueError("the two checkpoints do not contradict each other")
    return {
        "origin": origin,
        "size": size,
        "roots": [base64.b64encode(each).decode() for each in (root, other_root)],
    }


def _tell_misbehaviour(path: Path, vkey: str) -> int:
    try:
        proved = misbehaviour_proved(path.read_bytes().decode(), vkey)
    except (ValueError, IndexError) as error:
        print(f"NOT PROVED: {_reason(error)}")
        return 1
    print(f"Proved: the key of {printable(proved['origin'])} signed two logs of {proved['size']} entries")
    print("root " + "\nroot ".join(proved["roots"]))
    return 0


def policy_of(vkeys: Sequence[str], file: Path | None) -> Policy | None:
    """Return the policy in a file, or that all of these witnesses cosign; raise ValueError or OSError."""
    if file is not None and vkeys:
        raise ValueError("name the witnesses or give a policy, not both")
    if file is not None:
        return Policy(file.read_bytes().decode("utf-8", "surrogateescape"))
    return Policy.all_of(vkeys) if vkeys else None


def _read_beside(path: Path) -> int:
    """Be the second process of a verification; nobody else calls this."""
    try:
        with Pack(path) as pack:
            run = Verification(pack, None, lambda _d, _t: None)
            marshal.dump(run.signature, sys.stdout.buffer)
            run.read_for_another(sys.stdout.buffer)
    except (Fault, OSError):
        return 1  # the first process says so
    return 0


def main(arguments: list[str]) -> int:
    """Verify the pack named on the command line and say what was found."""
    if arguments[:1] == ["--read-beside"]:
        return _read_beside(Path(arguments[1]))
    options: dict[str, list[str]] = {
        name: [] for name in ("--key", "--previous", "--witness", "--policy", "--certificate")
    }
    paths: list[str] = []
    words = iter(arguments)
    for word in words:
        options.get(word, paths).append(next(words, "") if word in options else word)
    if len(paths) != 1:
        print(__doc__)
        return 2
    path = Path(paths[0])
    if _starts_like(path, MISBEHAVIOUR.encode()):
        return _tell_misbehaviour(path, "".join(options["--key"]))
    if not _starts_like(path, b"PK") and path.is_file():
        return _tell_receipt(path, options)
    return _tell_pack(path, options)


def _starts_like(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _tell_receipt(path: Path, options: Mapping[str, list[str]]) -> int:
    try:
        with path.open("rb") as file:
            text = receipt_text(file.read(LARGEST_RECEIPT))
        policy = policy_of(options["--witness"], next(map(Path, options["--policy"]), None))
        result = verify_receipt(text, vkey=next(iter(options["--key"]), None), policy=policy)
    except Fault as fault:
        print(f"NOT VERIFIED: {fault.check}: {printable(fault.where)}: {printable(fault.message)}")
        return 1
    except (OSError, ValueError) as error:
        print(f"Cannot read the receipt or an option: {_reason(error)}")
        return 2
    said = ", ".join(f"{purpose} {choice}" for purpose, choice in result["choices"].items())
    print(
        f"Verified: entry {result['index']} of {printable(result['origin'])}, {result['recorded_at']}: {said}"
    )
    print(f"in a log of {result['size']} entries, signed by {printable(result['vkey'])}")
    for name, seconds in result["cosigned"].items():
        print(f"cosigned by {printable(name)} at POSIX second {seconds}")
    if not result["key_pinned"]:
        print("Note: No --key was given: anybody could have made this receipt.")
    return 0


def _tell_pack(path: Path, options: Mapping[str, list[str]]) -> int:
    try:
        result = verify_pack(
            path,
            vkey=next(iter(options["--key"]), None),
            previous=next(map(Path, options["--previous"]), None),
            policy=policy_of(options["--witness"], next(map(Path, options["--policy"]), None)),
            certificates=[Path(each).read_bytes().decode() for each in options["--certificate"]],
        )
    except Fault as fault:
        at = "" if fault.index is None else f" (entry {fault.index})"
        print(f"NOT VERIFIED: {fault.check}: {printable(fault.where)}{at}: {printable(fault.message)}")
        return 1
    except OSError as error:
        print(f"Cannot read the pack: {error.strerror}")
        return 2
    except ValueError as error:
        print(f"An option names no witnesses or no certificate: {_reason(error)}")
        return 2
    print(f"Verified: {printable(result['origin'])}, entries {result['from']} to {result['size']}")
    print(f"root {result['root']}\nkey  {printable(result['vkey'])}")
    print(", ".join(f"{count} {what}" for what, count in result["checked"].items()))
    for remark in result["remarks"]:
        print(f"Note: {printable(remark)}")
    return 0


def _end(arguments: list[str]) -> int:
    """Return the exit code of the whole program."""
    try:
        code = main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # Who read it went away, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return code


if __name__ == "__main__":
    sys.exit(_end(sys.argv[1:]))
