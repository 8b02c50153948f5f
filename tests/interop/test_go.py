"""The Go project's transparency log code (golang.org/x/mod/sumdb) agrees with ours."""

import base64
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.ledger.canonical import encode_base64
from consent_service.ledger.checkpoint import Checkpoint, sign_checkpoint
from consent_service.ledger.entry import Kind, leaf
from consent_service.ledger.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note
from consent_service.ledger.tiles import (
    ENTRIES,
    TILE_WIDTH,
    entry_bundle,
    subtree_reader,
    tile_path,
    tile_width,
)
from tests.interop import go_program

ORIGIN = "consent.example/shop"
VECTORS = Path(__file__).parents[1] / "vectors"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Run:
    """Run the Go program: `go(command, argument)`."""
    cache = request.config.rootpath / ".pytest_cache" / "go-build"  # so that only the first run compiles all
    program = go_program.build(tmp_path_factory.mktemp("go"), cache)
    return lambda command, argument, text="": go_program.run(program, command, argument, text)


class Log:
    """A log laid out in a folder as C2SP tlog-tiles, with a checkpoint at its size."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self.roots: dict[int, bytes] = {}
        self._signer = NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.generate())
        self._write_tiles([leaf(ORIGIN, Kind.DECISION, number.to_bytes(32)) for number in range(size)])
        checkpoint = Checkpoint(origin=ORIGIN, size=size, root=self.roots[size])
        self.write("checkpoint", sign_checkpoint(checkpoint, self._signer))
        self.write("vkey", self._signer.vkey.encode())

    def write(self, path: str, data: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    def ask(self, indexes: Sequence[int], old_sizes: Sequence[int]) -> None:
        """Leave word what is to be proven."""
        self.write("indexes.json", json.dumps(list(indexes)).encode())
        self.write(
            "roots.json",
            json.dumps({str(size): encode_base64(self.roots[size]) for size in old_sizes}).encode(),
        )

    def read_tile(self, level: int, n: int, width: int) -> tuple[bytes, bytes]:
        return (self.folder / tile_path(level, n, width)).read_bytes(), b""

    def tiles(self) -> list[Path]:
        return [
            path for path in self.folder.rglob("tile/**/*") if path.is_file() and ENTRIES not in path.parts
        ]

    def _write_tiles(self, leaves: Sequence[bytes]) -> None:
        frontier = Frontier.empty()
        tiles: dict[tuple[int, int], bytearray] = {}
        for number, each in enumerate(leaves):
            for level, index, hashed in frontier.append(leaf_hash(each)):
                if level % 8 == 0:
                    tiles.setdefault((level // 8, index // TILE_WIDTH), bytearray()).extend(hashed)
            self.roots[number + 1] = frontier.root()
        for (level, n), data in tiles.items():
            self.write(tile_path(level, n, len(data) // 32), bytes(data))
        for n in range(-(-self.size // TILE_WIDTH)):
            bundle = entry_bundle(leaves[TILE_WIDTH * n : TILE_WIDTH * (n + 1)])
            self.write(tile_path(ENTRIES, n, tile_width(0, n, self.size)), bundle)


def digits(proof: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in proof]


def assert_go_makes_our_proofs(go: Run, log: Log, indexes: Sequence[int], old_sizes: Sequence[int]) -> None:
    log.ask(indexes, old_sizes)

    answer = go("log", log.folder)

    subtree = subtree_reader(log.size, log.read_tile)
    assert (answer["origin"], answer["size"], answer["root"]) == (ORIGIN, log.size, log.roots[log.size].hex())
    assert answer["inclusion"] == {
        str(index): digits(inclusion_proof(index, log.size, subtree)) for index in indexes
    }
    assert answer["consistency"] == {
        str(size): digits(consistency_proof(size, log.size, subtree)) for size in old_sizes
    }


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 1000])
def test_go_proves_every_leaf_and_every_older_root_of_our_log(go: Run, tmp_path: Path, size: int) -> None:
    log = Log(tmp_path, size)

    assert_go_makes_our_proofs(go, log, range(size), range(1, size + 1))


def test_go_proves_leaves_of_a_log_with_three_levels_of_tiles(go: Run, tmp_path: Path) -> None:
    log = Log(tmp_path, 70_000)
    pick = random.Random(20261101)  # noqa: S311  # which leaves are looked at need not be a secret

    indexes = sorted({0, 255, 256, 65_535, 65_536, 69_999, *pick.sample(range(70_000), 40)})
    old_sizes = sorted({1, 256, 65_535, 65_536, 65_537, 70_000, *pick.sample(range(1, 70_000), 40)})

    assert_go_makes_our_proofs(go, log, indexes, old_sizes)


def test_go_refuses_our_log_when_one_tile_is_spoilt(go: Run, tmp_path: Path) -> None:
    log = Log(tmp_path, 1000)
    log.ask(range(0, 1000, 7), [])
    assert go("log", log.folder)["tiles_read"] == len(log.tiles()) == 5

    for tile in log.tiles():
        good = tile.read_bytes()
        tile.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises(AssertionError, match="interop:"):
            go("log", log.folder)
        tile.write_bytes(good)


def test_go_refuses_our_log_when_a_leaf_was_changed(go: Run, tmp_path: Path) -> None:
    log = Log(tmp_path, 3)
    log.ask([0, 1, 2], [])
    bundle = log.folder / tile_path(ENTRIES, 0, 3)

    bundle.write_bytes(bundle.read_bytes().replace(b"decision", b"decidion", 1))

    with pytest.raises(AssertionError, match="leaf 0"):
        go("log", log.folder)


def test_go_refuses_our_checkpoint_under_another_key(go: Run, tmp_path: Path) -> None:
    log = Log(tmp_path, 3)
    log.ask([0], [])

    log.write("vkey", NoteSigner.from_private(ORIGIN, Ed25519PrivateKey.generate()).vkey.encode())

    with pytest.raises(AssertionError, match="no verifiable signatures"):
        go("log", log.folder)


def test_go_has_the_same_opinion_of_every_published_proof(go: Run) -> None:
    vectors = json.loads((VECTORS / "merkle.json").read_bytes())

    answer = go("vectors", VECTORS / "merkle.json")

    assert answer["inclusion"] == [case["valid"] for case in vectors["inclusion"]]
    # Go has no proof from the empty tree, which proves nothing; RFC 9162 leaves it to the caller.
    assert [
        (case["name"], verdict)
        for case, verdict in zip(vectors["consistency"], answer["consistency"], strict=True)
        if case["old_size"] != 0
    ] == [(case["name"], case["valid"]) for case in vectors["consistency"] if case["old_size"] != 0]


def test_go_has_the_same_opinion_of_every_published_note(go: Run) -> None:
    vectors = json.loads((VECTORS / "note.json").read_bytes())

    texts = go("notes", VECTORS / "note.json")

    assert [(case["name"], case["text"]) for case in vectors["notes"]] == [
        (case["name"], text) for case, text in zip(vectors["notes"], texts, strict=True)
    ]


def test_we_open_a_note_that_go_signed(go: Run) -> None:
    text = "A text by Go\n\nwith an empty line\n"

    signed = go("sign", "go.example/log", text)

    assert open_note(base64.b64decode(signed["note"]), NoteVerifier.parse(signed["vkey"])) == text


def test_without_go_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(pytest.fail.Exception, match="apt-get install golang-go golang-golang-x-mod-dev"):
        go_program.build(tmp_path, tmp_path)


def test_without_the_library_the_message_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install golang-go golang-golang-x-mod-dev"):
        go_program.build(tmp_path, tmp_path, modules=tmp_path)
