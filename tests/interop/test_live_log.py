"""A log of 10,000 entries on a running service, fetched over HTTP and checked by code of others."""

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sigstore._internal.merkle import verify_merkle_inclusion

from consent_service.ledger.tiles import ENTRIES, TILE_WIDTH, tile_path, tile_width
from consent_service.operations.manage_tenants import Role
from tests.followers.following import Place
from tests.interop import go_program
from tests.interop.test_sigstore import an_entry

ENTRIES_OF_ALL = 10_000
BATCH = 1000
PICK = random.Random(20261128)  # noqa: S311  # which leaves are looked at need not be a secret


class LiveLog:
    """A client of the ledger's routes that believes nothing: it only fetches and lays files out."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx2.Client(base_url=f"{url}/v1/ledger", headers={"Authorization": f"Bearer {key}"})

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def bytes(self, path: str) -> bytes:
        answer = self._client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.content

    def proof(self, kind: str, **of: int) -> dict[str, Any]:
        """An inclusion or consistency proof as the service gives it."""
        query = "&".join(f"{name.rstrip('_')}={value}" for name, value in of.items())
        document: dict[str, Any] = json.loads(self.bytes(f"/proof/{kind}?{query}"))
        return document

    def lay_out(self, folder: Path, size: int) -> int:
        """Fetch checkpoint, key, every tile of hashes and every bundle; return how many files there are."""
        paths = [tile_path(ENTRIES, n, tile_width(0, n, size)) for n in range(-(-size // TILE_WIDTH))]
        level, hashes = 0, size
        while hashes:
            paths += [
                tile_path(level, n, min(TILE_WIDTH, hashes - n * TILE_WIDTH))
                for n in range(-(-hashes // TILE_WIDTH))
            ]
            level, hashes = level + 1, hashes // TILE_WIDTH
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(self.bytes(f"/{path}"))
        (folder / "checkpoint").write_bytes(self.bytes("/checkpoint"))
        (folder / "vkey").write_bytes(self.bytes("/key").splitlines()[0])
        return len(paths)


@pytest.fixture
def live(migrated_url: str, tmp_path: Path) -> Iterator[LiveLog]:
    """A service whose log has 10,000 entries, the notice among them."""
    place = Place(migrated_url, tmp_path)
    with place.serve() as server:
        names = [f"customer-{number % 2500}" for number in range(ENTRIES_OF_ALL - 1)]
        assert place.decide_many(server, names, {"coupons": "granted"}) == ENTRIES_OF_ALL - 1
        log = LiveLog(server.url, place.new_key(Role.AUDITOR))
        yield log
        log.close()
    place.close()


def test_a_live_log_of_10_000_entries_is_read_and_proven_by_go_and_sigstore(
    live: LiveLog, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    size = ENTRIES_OF_ALL
    folder = tmp_path / "log"
    indexes = sorted({0, 255, 256, size - 1, *PICK.sample(range(size), 60)})
    older = sorted({1, 256, 257, size, *PICK.sample(range(1, size), 20)})
    tiles = live.lay_out(folder, size)
    (folder / "indexes.json").write_text(json.dumps(indexes))
    consistency = {old: live.proof("consistency", **{"from": old, "to": size}) for old in older}
    (folder / "roots.json").write_text(
        json.dumps({str(old): proof["old_root"] for old, proof in consistency.items()})
    )
    inclusion = {index: live.proof("inclusion", index=index, size=size) for index in indexes}
    leaves = leaves_of(folder, size)

    program = go_program.build(tmp_path, request.config.rootpath / ".pytest_cache" / "go-build")
    answer = go_program.run(program, "log", folder)
    for index, proof in inclusion.items():
        hashes, root = [base64.b64decode(each) for each in proof["proof"]], base64.b64decode(proof["root"])
        verify_merkle_inclusion(an_entry(index=index, size=size, leaf=leaves[index], proof=hashes, root=root))

    assert tiles == 40 + 40 + 1
    assert answer["size"] == size == len(leaves)
    assert answer["inclusion"] == {str(index): digits(proof) for index, proof in inclusion.items()}
    assert answer["consistency"] == {str(old): digits(proof) for old, proof in consistency.items()}
    assert {proof["root"] for proof in inclusion.values()} == {
        base64.b64encode(bytes.fromhex(answer["root"])).decode()
    }


def digits(proof: dict[str, Any]) -> list[str]:
    return [base64.b64decode(each).hex() for each in proof["proof"]]


def leaves_of(folder: Path, size: int) -> list[bytes]:
    """Every leaf, from the entry bundles."""
    leaves = []
    for n in range(-(-size // TILE_WIDTH)):
        data = (folder / tile_path(ENTRIES, n, tile_width(0, n, size))).read_bytes()
        while data:
            end = 2 + int.from_bytes(data[:2])
            leaves.append(data[2:end])
            data = data[end:]
    return leaves
