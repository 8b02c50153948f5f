"""Starts a service in a fresh folder and the shop in front of it, until Ctrl-C."""

import signal
import sys
import tempfile
from pathlib import Path

from examples.complete_journey.demo import NOTICE
from examples.complete_journey.served import DemoFailed, Installation, ServedService, set_up
from examples.storefront.serving import Storefront


def main() -> int:
    """Run the shop on http://127.0.0.1:8000."""
    try:
        storefront = Storefront()
    except DemoFailed as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="consent-shop-") as home:
        installation = Installation(home=Path(home))
        handed = set_up(installation, NOTICE)
        with ServedService(installation) as service:
            print(f"The shop is on {storefront.url}; Ctrl-C ends it and removes its folder.", flush=True)
            storefront.serve(installation, service.url, handed.backend_key)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which stops the service too
    sys.exit(main())
