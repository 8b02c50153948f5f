"""How much a test does that could go on: a little in `make test`, in full in `make soak`."""

import os

SOAK = os.environ.get("CONSENT_SOAK", "") not in {"", "0"}


def size(little: int, full: int) -> int:
    """Return how often, how many or how long: `little` in `make test`, `full` in `make soak`."""
    return full if SOAK else little
