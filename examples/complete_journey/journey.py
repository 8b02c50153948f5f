"""The job: import what the households chose, then ask the gate before every mailing.

What a shop would write itself is `post_mailings`: one question to the SDK before each use of somebody's data.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from consent_sdk import ConsentClient, Reason
from rich.progress import Progress

from examples.complete_journey.choices import COUPONS, Choices
from examples.complete_journey.served import DemoFailed, HandedOut
from examples.complete_journey.shop_data import Campaign, Shop, subject_of

T = TypeVar("T")
LANGUAGE = "en"
TIMEOUT_SECONDS = 30.0
_BATCH = 500
_THREADS = 4
_CREATED = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """One mailing that was due, and what the gate said: it is sent for the reason `granted` alone."""

    campaign: int
    household: int
    reason: Reason

    @property
    def sent(self) -> bool:
        """Whether the coupons went to the post."""
        return self.reason is Reason.GRANTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happened: the decisions by ledger index, the mailings before and after withdrawals, seconds."""

    imported: tuple[int, ...]
    withdrawn: tuple[int, ...]
    before: tuple[Mailing, ...]
    after: tuple[Mailing, ...]
    importing_seconds: float
    mailing_seconds: float

    @property
    def mailings(self) -> tuple[Mailing, ...]:
        """Every mailing, in the order of the campaigns."""
        return self.before + self.after


def run_journey(url: str, handed: HandedOut, shop: Shop, choices: Choices, bars: Progress) -> Course:
    """Do the whole job against a running service, with a progress bar for each part."""
    first, second = shop.halves()
    started = time.perf_counter()
    importing_all = import_choices(url, handed, shop, choices)
    imported = _watched(bars, "Recording choices", importing_all, len(shop.households))
    importing = time.perf_counter() - started
    # A job may wait for an answer; a web page would not.
    with ConsentClient(
        url,
        api_key=handed.backend_key,
        timeout=TIMEOUT_SECONDS,
        miss_timeout=TIMEOUT_SECONDS,
        max_staleness=TIMEOUT_SECONDS,
    ) as consent:
        started = time.perf_counter()
        before = _watched(bars, "Mailings, first half", post_mailings(consent, first), _due(first))
        mailing = time.perf_counter() - started
        withdrawals = withdraw(consent, handed.notice, choices.withdrawals)
        withdrawn = _watched(bars, "Withdrawals", withdrawals, len(choices.withdrawals))
        started = time.perf_counter()
        after = _watched(bars, "Mailings, second half", post_mailings(consent, second), _due(second))
        mailing += time.perf_counter() - started
    return Course(
        imported=imported,
        withdrawn=withdrawn,
        before=before,
        after=after,
        importing_seconds=importing,
        mailing_seconds=mailing,
    )


def import_choices(url: str, handed: HandedOut, shop: Shop, choices: Choices) -> Iterator[int]:
    """Record one decision for each household by the batch endpoint; give the index of each in the ledger.

    Raises `DemoFailed` when a line is refused.
    """
    lines = [
        json.dumps(
            {
                "subject": subject_of(household),
                "notice": handed.notice,
                "choices": choices.of(household),
                "method": "save",
                "source": "simulation",
                "language": LANGUAGE,
                "idempotency_key": f"import-{number}",
            }
        )
        for number, household in enumerate(shop.households)
    ]
    headers = {"Authorization": f"Bearer {handed.backend_key}", "Content-Type": "application/x-ndjson"}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
        for start in range(0, len(lines), _BATCH):
            answer = http.post("/v1/decisions/batch", content="\n".join(lines[start : start + _BATCH]))
            yield from _indexes(answer)


def _indexes(answer: httpx2.Response) -> Iterator[int]:
    for line in answer.text.splitlines():
        recorded = json.loads(line)
        if recorded.get("status") != _CREATED:
            raise DemoFailed(f"A decision was refused: {line}")
        yield int(recorded["index"])


def post_mailings(consent: ConsentClient, campaigns: Iterable[Campaign]) -> Iterator[Mailing]:
    """Ask the gate before each mailing, campaign by campaign; nothing is posted unless it says yes."""

    def ask(campaign: Campaign, household: int) -> Mailing:
        verdict = consent.check(subject_of(household), COUPONS)
        return Mailing(campaign=campaign.number, household=household, reason=verdict.reason)

    with ThreadPoolExecutor(_THREADS) as threads:
        for campaign in campaigns:
            yield from threads.map(ask, [campaign] * len(campaign.households), campaign.households)


def withdraw(consent: ConsentClient, notice: str, households: Sequence[int]) -> Iterator[int]:
    """Withdraw coupons for each household, one decision at a time; give the index of each in the ledger."""
    for household in households:
        recorded = consent.decide(
            subject_of(household),
            notice=notice,
            choices={COUPONS: "denied"},
            language=LANGUAGE,
            method="withdraw",
            source="simulation",
        )
        yield recorded.index


def _watched(bars: Progress, description: str, items: Iterable[T], total: int) -> tuple[T, ...]:
    return tuple(bars.track(items, total=total, description=description))


def _due(campaigns: Iterable[Campaign]) -> int:
    return sum(len(campaign.households) for campaign in campaigns)
