"""The simulated part: what the households choose. Nobody asked them; a fixed seed draws it.

39 % grant each purpose, after Qualtrics' survey of 2025 (20,000 people in 14 countries): so many think that
the benefit of a personalised experience justifies sharing their data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from random import Random

from examples.complete_journey.shop_data import Shop

SEED = 8451
GRANTING = 0.39
"""The part of all households that grants a purpose."""
WITHDRAWING = 0.1
"""The part of the granting households with mailings still to come that withdraws coupons half-way."""
COUPONS = "coupons"
PURPOSES = ("recommendations", COUPONS, "support_context", "ai_assistance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Which households grant each purpose, and which of them withdraw coupons half-way."""

    grants: Mapping[str, frozenset[int]]
    withdrawals: tuple[int, ...]

    def of(self, household: int) -> dict[str, str]:
        """Return what a household answers when it is asked: nothing is left out, silence would be refusal."""
        return {
            purpose: "granted" if household in granting else "denied"
            for purpose, granting in self.grants.items()
        }


def draw_choices(shop: Shop, *, seed: int = SEED) -> Choices:
    """Draw the same choices for the same shop and seed, every time."""
    chance = Random(seed)  # noqa: S311  # a simulation has to be repeatable, nobody has to be unable to guess it
    number = round(GRANTING * len(shop.households))
    grants = {purpose: frozenset(chance.sample(shop.households, number)) for purpose in PURPOSES}
    _, later = shop.halves()
    to_come = {household for campaign in later for household in campaign.households}
    candidates = sorted(grants[COUPONS] & to_come)
    withdrawals = tuple(chance.sample(candidates, ceil(WITHDRAWING * len(candidates))))
    return Choices(grants=grants, withdrawals=withdrawals)
