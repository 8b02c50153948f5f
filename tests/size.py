"""How much a test does that could go on: a little in `make test`, in full in `make soak`."""

import os
from typing import TypeVar

Number = TypeVar("Number", int, float)

SOAK = os.environ.get("CONSENT_SOAK", "") not in {"", "0"}


def size(little: Number, full: Number) -> Number:
    """Return how often, how many or how long: `little` in `make test`, `full` in `make soak`."""
    return full if SOAK else little
