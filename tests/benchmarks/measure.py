"""Medians of interleaved rounds: on a shared machine only a ratio of neighbours means something."""

import os
import statistics
from collections.abc import Callable, Mapping

QUICK = os.environ.get("QUICK", "") not in {"", "0"}
"""Fewer and shorter rounds: everything in about five minutes."""

ROUNDS = 3
SECONDS = 0.4 if QUICK else 4.0
"""How long one round of a load lasts."""


def interleaved(
    variants: Mapping[str, Callable[[], float]], *, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Return what each variant measured, a value a round, the variants in turn: A B C A B C …."""
    measured: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            measured[name].append(measure())
    return measured


def ratio(measured: Mapping[str, list[float]], numerator: str, denominator: str) -> float:
    """Return the median of the ratios of neighbours."""
    pairs = zip(measured[numerator], measured[denominator], strict=True)
    return round(statistics.median(above / below for above, below in pairs), 3)


def median(values: list[float]) -> float:
    """Return the median, rounded for reading."""
    return round(statistics.median(values), 1)
