"""Audit many packs at once: fold the trees of their Parquet views, compare with what was signed, count.

An engine hashes every leaf and folds aligned chunks of 65,536; the rest is a few hashes per chunk. That the
columns of a table say what the records say is `verify_parquet`'s to check, pack by pack: a scan relies on the
digests that the log signed.
"""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from consent_service.errors import InvalidProof
from consent_service.ledger.merkle import EMPTY_ROOT, tree_root
from consent_service.ledger.subtrees import Node, folded, peak_nodes
from consent_service.operations.parquet_views import LARGEST_VIEW, require_columns
from consent_service.verifier.verify import Fault, Pack, Verification, decoded

Progress = Callable[[int, int], None]
_COLUMNS = {
    "leaves": {"index": "int64", "leaf": "binary"},
    "table": {"purpose": "string", "status": "string"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How often, in one pack and month, decisions and links left a purpose with a status."""

    pack: int
    purpose: str
    status: str
    month: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why an engine could not read the views of a pack, and from which index on, if it knows."""

    pack: int
    reason: str
    index: int | None = None


class Engine(Protocol):
    """What hashes and counts: DuckDB here, Spark on many machines."""

    name: str

    def nodes(self, folder: Path) -> Iterable[tuple[int, Node] | Unreadable]:
        """Yield the subtrees of every pack's chunks."""

    def outcomes(self, folder: Path) -> Iterable[Outcome | Unreadable]:
        """Yield the statistics of every pack."""

    def close(self) -> None:
        """Let go of what the engine holds."""


@dataclass(slots=True, kw_only=True)
class ScannedPack:
    """One pack: what its manifest says, or the first fault."""

    file: Path
    origin: str = ""
    first: int = 0
    size: int = 0
    root: str = ""
    key_pinned: bool = False
    fault: Fault | None = None
    roots: dict[int, bytes] = field(default_factory=dict)
    peaks: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found: the packs in the order they were given, and the outcomes in those without a fault."""

    packs: Sequence[ScannedPack]
    outcomes: Sequence[Outcome]

    @property
    def verified(self) -> bool:
        """Whether no pack has a fault."""
        return all(pack.fault is None for pack in self.packs)


def scan_packs(
    files: Sequence[Path],
    engine: Engine,
    *,
    folder: Path,
    vkeys: Sequence[str] = (),
    progress: Progress = lambda _done, _total: None,
) -> Scan:
    """Return what the Parquet views of these packs say; `folder` is empty, and the whole engine sees it.

    With `vkeys`, every pack has to be signed by a log with one of these keys. Raises OSError for a file that
    cannot be read, and as the engine does.
    """
    packs = []
    for number, file in enumerate(files):
        packs.append(_unpacked(file, folder, number, vkeys))
        progress(number + 1, len(files) + 1)
    nodes: dict[int, list[Node]] = defaultdict(list)
    if any(leaf_files(folder)):
        for found in engine.nodes(folder):
            if isinstance(found, Unreadable):
                fault = Fault("views", "leaves", found.reason, index=found.index)
                packs[found.pack].fault = packs[found.pack].fault or fault
            else:
                nodes[found[0]].append(found[1])
    for number, pack in enumerate(packs):
        if pack.fault is None:
            pack.fault = _fault(pack, nodes[number])
    counted: list[Outcome] = []
    for each in engine.outcomes(folder) if any(table_files(folder)) else ():
        if isinstance(each, Outcome):
            counted.append(each)
        elif packs[each.pack].fault is None:
            packs[each.pack].fault = Fault("views", "table", each.reason)
    outcomes = [each for each in counted if packs[each.pack].fault is None]
    outcomes.sort(key=lambda each: (each.pack, each.purpose, each.month, each.status))
    progress(len(files) + 1, len(files) + 1)
    return Scan(packs=packs, outcomes=outcomes)


def leaf_files(folder: Path) -> Iterator[tuple[int, list[Path]]]:
    """Yield the number of each pack and its files of leaves, in their order."""
    return _files(folder / "leaves")


def table_files(folder: Path) -> Iterator[tuple[int, list[Path]]]:
    """Yield the number of each pack and its tables, in their order."""
    return _files(folder / "table")


def _files(folder: Path) -> Iterator[tuple[int, list[Path]]]:
    for pack in sorted(folder.glob("pack=*")):
        yield int(pack.name.removeprefix("pack=")), sorted(pack.iterdir())


def _unpacked(file: Path, folder: Path, number: int, vkeys: Sequence[str]) -> ScannedPack:
    """Check a pack's manifest and checkpoints, and write its Parquet views into the folder."""
    scanned = ScannedPack(file=file)
    try:
        with Pack(file) as pack:
            _read_manifest(scanned, pack, vkeys)
            _extract(pack, folder, number)
    except Fault as fault:
        scanned.fault = fault
        for kind in _COLUMNS:
            shutil.rmtree(folder / kind / f"pack={number}", ignore_errors=True)
    return scanned


def _read_manifest(scanned: ScannedPack, pack: Pack, vkeys: Sequence[str]) -> None:
    run = Verification(pack, None, lambda _done, _total: None)
    manifest = run.manifest
    scanned.origin, scanned.first, scanned.size = run.origin, manifest["from"], manifest["to"]
    scanned.root = manifest["root"]
    scanned.key_pinned = bool(set(vkeys) & set(run.keys))
    if vkeys and not scanned.key_pinned:
        raise Fault("manifest", "manifest.note", "signed by a foreign key: none of those that you gave")
    if manifest["mode"] != "range":
        raise Fault("views", "leaves", "a pack of one subject has no tree to fold: verify it by itself")
    scanned.roots = run.signed_roots()
    try:
        if manifest["start"] is not None:
            scanned.peaks = [decoded(peak, 32) for peak in manifest["start"]["peaks"]]
    except (ValueError, LookupError, TypeError):
        raise Fault("tree", "manifest.json", "the tree before the first entry is malformed") from None


def _extract(pack: Pack, folder: Path, number: int) -> None:
    """Write the Parquet views, each compared with the digest that the log signed.

    Of every chunk there are both: without its table, the statistics would lack what it has.
    """
    manifest = json.loads(pack.read("manifest.json", 1 << 24))
    views: dict[str, set[str]] = {kind: set() for kind in _COLUMNS}
    for member in manifest["members"]:
        name, digest = member["name"], hashlib.sha256()
        if not name.endswith(".parquet") or name not in pack.members:
            continue
        kind, _, plain = name.partition("/")
        if kind not in _COLUMNS:
            continue
        if pack.members[name].size > LARGEST_VIEW:
            raise Fault("container", name, f"is larger than {LARGEST_VIEW} bytes")
        views[kind].add(plain)
        target = folder / kind / f"pack={number}"
        target.mkdir(parents=True, exist_ok=True)
        with (target / plain).open("wb") as file:
            for piece in pack.stream(name):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != member["sha256"]:
            raise Fault("container", name, "its contents are not those that the manifest names")
        require_columns(target / plain, name, _COLUMNS[kind])
    for plain in sorted(views["leaves"] - views["table"]):
        raise Fault("views", f"table/{plain}", "is missing")


def _fault(pack: ScannedPack, nodes: Sequence[Node]) -> Fault | None:
    """Return what does not hold: the folded roots at both ends of a pack are those that were signed."""
    if not nodes and pack.size > pack.first:
        return Fault("views", "leaves", "has no Parquet views: export it where the extra audit is installed")
    try:
        subtree = folded([*peak_nodes(pack.first, pack.peaks), *nodes])
        roots = {size: tree_root(size, subtree) for size in {pack.first, pack.size} - {0}}
    except (InvalidProof, ValueError) as error:
        return Fault("tree", "leaves", str(error))
    for size, root in sorted(roots.items()):
        if pack.roots.get(size) != root:
            return Fault("tree", f"size {size}", "the leaves do not lead to the root that was signed")
    if decoded(pack.root, 32) != (roots.get(pack.size) or EMPTY_ROOT):
        return Fault("tree", "manifest.json", "names another root than the last checkpoint")
    return None
