"""The figures of the job, what they have to be, and the table on the screen."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.table import Table

from examples.complete_journey.choices import COUPONS, Choices
from examples.complete_journey.evidence import Evidence
from examples.complete_journey.journey import Course
from examples.complete_journey.shop_data import Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must come out, reckoned from mailing lists and drawn choices without asking the service."""

    mailings: int
    sent: int
    blocked: Mapping[str, int]
    decisions: int
    ledger_size: int


def reckon(shop: Shop, choices: Choices) -> Expected:
    """Return what must come out of the job.

    The ledger holds one entry for the notice, and one for each decision.
    """
    granting, withdrawn = choices.grants[COUPONS], frozenset(choices.withdrawals)
    first, second = (Counter(h for c in half for h in c.households) for half in shop.halves())
    sent = sum(first[household] for household in granting)
    sent += sum(second[household] for household in granting - withdrawn)
    blocked = {
        "refused": sum((first + second)[household] for household in set(shop.households) - granting),
        "withdrawn": sum(second[household] for household in withdrawn),
    }
    decisions = len(shop.households) + len(withdrawn)
    return Expected(
        mailings=shop.mailings,
        sent=sent,
        blocked={reason: number for reason, number in blocked.items() if number},
        decisions=decisions,
        ledger_size=1 + decisions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came out of the job."""

    sent: int
    blocked: Mapping[str, int]
    sent_after_withdrawal: int
    decisions: int
    ledger_size: int | None
    decisions_per_second: float
    mailings_per_second: float


def count(course: Course, choices: Choices, evidence: Evidence) -> Figures:
    """Count what happened."""
    withdrawn = frozenset(choices.withdrawals)
    mailings = course.mailings
    return Figures(
        sent=sum(mailing.sent for mailing in mailings),
        blocked=dict(sorted(Counter(m.reason.value for m in mailings if not m.sent).items())),
        sent_after_withdrawal=sum(
            mailing.sent and mailing.household in withdrawn for mailing in course.after
        ),
        decisions=len(course.imported) + len(course.withdrawn),
        ledger_size=evidence.size,
        decisions_per_second=len(course.imported) / course.importing_seconds,
        mailings_per_second=len(mailings) / course.mailing_seconds,
    )


def contradictions(figures: Figures, expected: Expected, evidence: Evidence) -> list[str]:
    """Return what does not hold, in words; nothing when every figure is consistent."""
    blocked = sum(figures.blocked.values())
    claims = {
        f"sent and blocked make {expected.mailings:,} mailings, not {figures.sent + blocked:,}": (
            figures.sent + blocked == expected.mailings
        ),
        f"{expected.sent:,} mailings had to be sent, not {figures.sent:,}": figures.sent == expected.sent,
        f"{expected.blocked} had to be blocked, not {figures.blocked}": (figures.blocked == expected.blocked),
        f"{figures.sent_after_withdrawal:,} mailings were sent after a withdrawal": (
            figures.sent_after_withdrawal == 0
        ),
        f"{expected.decisions:,} decisions had to be recorded, not {figures.decisions:,}": (
            figures.decisions == expected.decisions
        ),
        f"the ledger has to have {expected.ledger_size:,} entries, not {figures.ledger_size}": (
            figures.ledger_size == expected.ledger_size
        ),
    }
    return [claim for claim, holds in claims.items() if not holds] + list(evidence.faults)


def document(figures: Figures, evidence: Evidence) -> dict[str, object]:
    """Return the figures for a program."""
    return {
        **asdict(figures),
        "root": evidence.root,
        "verified": evidence.verified,
        "proven": {"index": evidence.index, "holds": evidence.proven},
    }


def table(figures: Figures, evidence: Evidence) -> Table:
    """Return the figures for the screen."""
    rows = {
        "decisions recorded": f"{figures.decisions:,}",
        "decisions/s, in batches": f"{figures.decisions_per_second:,.0f}",
        "mailings/s, each asked": f"{figures.mailings_per_second:,.0f}",
        "mailings sent": f"{figures.sent:,}",
        **{f"mailings blocked: {reason}": f"{number:,}" for reason, number in figures.blocked.items()},
        "sent after a withdrawal": f"{figures.sent_after_withdrawal:,}",
        "ledger entries": "?" if figures.ledger_size is None else f"{figures.ledger_size:,}",
        "root": evidence.root or "?",
        "ledger verified": "yes" if evidence.verified else "NO",
        f"entry {evidence.index:,} proven": "yes" if evidence.proven else "NO",
    }
    drawn = Table(title="A year of coupon mailings", show_header=False, title_justify="left")
    drawn.add_column()
    drawn.add_column(justify="right", no_wrap=True)
    for name, value in rows.items():
        drawn.add_row(name, value)
    return drawn
