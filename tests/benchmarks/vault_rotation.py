"""Ending an epoch: key rows wrapped anew per second, memory, and the ratio to bare re-wrapping."""

import os
import resource
import tempfile
import time
from pathlib import Path

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.operations.rotate_keys import end_epochs
from consent_service.storage.vault_store import KeyGrant, store_grants
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.seal import SECRET_SIZE, SealingKey
from tests.benchmarks.measure import QUICK
from tests.shop import Shop

_ROWS = 50_000 if QUICK else 1_000_000
_A_SUBJECT = 8
_PURPOSES = ("recommendations", "coupons", "support_context", "ai_assistance")
_CATEGORIES = ("purchases", "household")


def figures() -> dict[str, object]:
    """Return the rate of an epoch's end over many key rows on SQLite."""
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as folder:
        shop = Shop(f"sqlite:///{folder}/consent.db", Path(folder) / "home")
        _fill(shop)
        bare = _bare_rate()
        before, most = _rss_mib(), 0.0

        def weigh(_done: int, _total: int) -> None:
            nonlocal most
            most = max(most, _rss_mib())

        started, busy = time.perf_counter(), time.process_time()
        end_epochs(shop.service.deployment, shop.service.committer, [shop.tenant], progress=weigh)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        shop.close()
    return {
        "rows": _ROWS,
        "rows_per_second": round(_ROWS / seconds),
        "rows_per_processor_second": round(_ROWS / busy),
        "bare_rewraps_per_processor_second": round(bare),
        "ratio_to_bare_rewrapping": round(_ROWS / busy / bare, 3),
        "memory_mib": round(most, 1),
        "memory_grown_mib": round(most - before, 1),
    }


def _rss_mib() -> float:
    """Return what this process holds of memory right now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _fill(shop: Shop) -> None:
    """Store key rows of subjects of whom nothing else is known, and tell the head of them."""
    ring = shop.tenant.keyring
    for first in range(1, _ROWS // _A_SUBJECT + 1, 1000):
        last = min(first + 1000, _ROWS // _A_SUBJECT + 1)
        rows = [
            KeyGrant(
                subject,
                PurposeKey(purpose),
                CategoryKey(category),
                1,
                2**42,
                ring.version,
                ring.wrap_for_purpose(
                    os.urandom(SECRET_SIZE),
                    subject=str(subject),
                    category=CategoryKey(category),
                    purpose=PurposeKey(purpose),
                ),
            )
            for subject in range(first, last)
            for purpose in _PURPOSES
            for category in _CATEGORIES
        ]
        with shop.service.deployment.writing(shop.tenant) as scope:
            store_grants(scope, rows)
    shop.run("UPDATE head SET next_subject_id = :next", next=_ROWS // _A_SUBJECT + 1)


def _bare_rate() -> float:
    """Return how often a processor unwraps and wraps again in a second, without any database."""
    ring = TenantKeyring("bench", {1: SealingKey.generate(), 2: SealingKey.generate()})
    category, purpose = CategoryKey("purchases"), PurposeKey("coupons")
    wrapped = ring.wrap_for_purpose(bytes(SECRET_SIZE), subject="1", category=category, purpose=purpose)
    rounds = 20_000
    started = time.process_time()
    for _ in range(rounds):
        secret = ring.unwrap_for_purpose(wrapped, subject="1", category=category, purpose=purpose)
        ring.wrap_for_purpose(secret, subject="1", category=category, purpose=purpose)
    return rounds / (time.process_time() - started)
