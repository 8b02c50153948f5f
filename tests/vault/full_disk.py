"""Writes a profile until no file may grow any more, as on a full disk; started by `test_faults.py`."""

import resource
import signal
import sys
from pathlib import Path

from consent_service.errors import ConsentToolkitError
from tests.shop import Shop


def main(database_url: str, home: str) -> None:
    """Fill what is left of the allowed size; print how many writes fitted, and what the next one raised."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    shop = Shop(database_url, Path(home))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    number = 0
    try:
        while True:
            shop.write("ana", {"household": {f"field_{number}": "canary" * 1_000}})
            number += 1
    except ConsentToolkitError as error:
        print(number, type(error).__name__)


main(sys.argv[1], sys.argv[2])
