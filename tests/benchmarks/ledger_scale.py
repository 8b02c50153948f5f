"""What a large ledger costs: append, gate and proof at two sizes, batches, and the verification of it all.

Without HTTP, on SQLite. The large ledger has 1,000,000 entries, 20,000 with QUICK=1, built in batches.
BENCH_LARGE_LEDGER names a folder to build it in, or to take it from, and keep it for the next benchmark.
"""

import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consent_service.domain.decision import Choice, Decision
from consent_service.domain.notice import NoticeDigest
from consent_service.domain.purpose import PurposeKey
from consent_service.operations.batch import Request
from consent_service.operations.check_gate import GateQuestion
from consent_service.operations.manage_tenants import require_tenant
from consent_service.operations.notice_book import PublishedNotice
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.read_ledger import prove_inclusion
from consent_service.operations.read_notice_file import load_notice_file
from consent_service.operations.record_decision import RecordDecision
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.settings import Settings
from consent_service.storage.ledger_store import read_head, stream_entries
from tests.benchmarks.measure import QUICK, interleaved, median, ratio
from tests.benchmarks.services import CHOICES, NOTICE

_SMALL = 10_000
LARGE = 20_000 if QUICK else 1_000_000
_BATCH = 500
_PROBES = 300


class _Shop:
    """A ledger of a given size in a folder of its own."""

    def __init__(self, folder: Path, size: int) -> None:
        self.service = ConsentService.open(Settings(home=folder, batch_limit=_BATCH))
        self.tenant: Tenant = require_tenant(self.service.deployment, "default")
        published = self.service.committer.submit_blocking(
            self.tenant, PublishNotice(notice=load_notice_file(NOTICE.read_bytes()))
        )
        assert isinstance(published, PublishedNotice)
        self._digest = published.digest
        self._random = random.Random(size)  # noqa: S311  # any spread of indexes will do
        with self.service.deployment.reading(self.tenant) as scope:
            self._next = read_head(scope).next_subject_id - 1
        self.grow(size - 1 - self._next)

    def grow(self, entries: int) -> float:
        """Append this many decisions in batches; return decisions a second."""
        started = time.perf_counter()
        for start in range(0, entries, _BATCH):
            self._commit([self._decision() for _ in range(min(_BATCH, entries - start))])
        return entries / (time.perf_counter() - started)

    def _commit(self, requests: list[Request]) -> None:
        for answer in self.service.committer.submit_many_blocking(self.tenant, requests):
            if isinstance(answer, Exception):
                raise answer

    def _decision(self) -> RecordDecision:
        self._next += 1
        return RecordDecision(
            subject=self.tenant.subject(f"subject-{self._next}"),
            limits=self.service.settings.decision_limits,
            decision=Decision(
                notice=NoticeDigest(self._digest),
                choices={PurposeKey(key): Choice(choice) for key, choice in CHOICES.items()},
                decided_at=self.service.deployment.clock(),
                method="save",
                source="import",
                language="en",
                actor="backend",
            ),
        )

    def append_seconds(self) -> float:
        """Return the seconds of appending one entry, one a commit."""
        return _seconds(lambda: self._commit([self._decision()]))

    def gate_seconds(self) -> float:
        """Return the seconds of one gate question about a random subject, asked in batches of 64."""
        questions = [
            GateQuestion(
                tenant_id=self.tenant.id,
                subject=self.tenant.subject(f"subject-{self._random.randint(1, self._next)}"),
                purposes=[PurposeKey("recommendations")],
            )
            for _ in range(64)
        ]
        return _seconds(lambda: self.service.gate.answer_all(questions), repeat=_PROBES // 10) / 64

    def proof_seconds(self) -> float:
        """Return the seconds of one inclusion proof of a random entry."""
        return _seconds(
            lambda: prove_inclusion(
                self.service.deployment, self.tenant, index=self._random.randrange(self._next)
            )
        )

    def proof_again_seconds(self) -> float:
        """Return the seconds of one inclusion proof from a tile that was asked about before."""
        asked = [self._random.randrange(self._next) for _ in range(_PROBES)]
        for each in asked:
            prove_inclusion(self.service.deployment, self.tenant, index=each)
        again = iter(asked)
        return _seconds(lambda: prove_inclusion(self.service.deployment, self.tenant, index=next(again)))

    def verify_rate(self) -> float:
        """Return the entries a second of a whole verification."""
        started = time.perf_counter()
        verified = verify_ledger(self.service.deployment, self.tenant)
        return verified.size / (time.perf_counter() - started)

    def hash_rate(self) -> float:
        """Return the leaves a second of hashing the same leaves in a bare loop, read beforehand."""
        with self.service.deployment.reading(self.tenant) as scope:
            leaves = [leaf for _, leaf, _, _, _ in stream_entries(scope)]
        started = time.perf_counter()
        for leaf in leaves:
            hashlib.sha256(b"\x00" + leaf).digest()
        return len(leaves) / (time.perf_counter() - started)


def _seconds(act: Callable[[], object], *, repeat: int = _PROBES) -> float:
    """Return the median seconds of an act."""
    taken = []
    for _ in range(repeat):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 2]


@contextmanager
def _shop(folder: Path, size: int) -> Iterator[_Shop]:
    shop = _Shop(folder, size)
    try:
        yield shop
    finally:
        shop.service.close()


@contextmanager
def large_ledger(otherwise: Path) -> Iterator[_Shop]:
    """Yield the large ledger, built if it is not there yet: in a folder below `otherwise` by default."""
    with _shop(Path(os.environ.get("BENCH_LARGE_LEDGER") or otherwise / "large"), LARGE) as shop:
        yield shop


def figures() -> dict[str, object]:
    """Return the ratios of large to small, and of verification to bare hashing."""
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as name:
        folder = Path(name)
        with _shop(folder / "small", _SMALL) as small, large_ledger(folder) as large:
            costs = interleaved(
                {
                    "append_small": small.append_seconds,
                    "append_large": large.append_seconds,
                    "gate_small": small.gate_seconds,
                    "gate_large": large.gate_seconds,
                    "proof_small": small.proof_seconds,
                    "proof_large": large.proof_seconds,
                    "proof_again_small": small.proof_again_seconds,
                    "proof_again_large": large.proof_again_seconds,
                }
            )
            rates = interleaved(
                {"verify": large.verify_rate, "hash": large.hash_rate}, rounds=1 if QUICK else 3
            )
    return {
        "sizes": [_SMALL, LARGE],
        "append_large_to_small": ratio(costs, "append_large", "append_small"),
        "gate_large_to_small": ratio(costs, "gate_large", "gate_small"),
        "proof_large_to_small": ratio(costs, "proof_large", "proof_small"),
        "proof_again_large_to_small": ratio(costs, "proof_again_large", "proof_again_small"),
        "verify_to_bare_hashing": ratio(rates, "verify", "hash"),
        "entries_per_second": {name: median(values) for name, values in rates.items()},
        "microseconds": {name: median([1e6 * each for each in values]) for name, values in costs.items()},
    }
