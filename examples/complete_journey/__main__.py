"""`python -m examples.complete_journey [--check]`, which is what `consent demo` runs."""

import argparse
import signal
import sys

from consent_sdk import ConsentError

from examples.complete_journey.demo import LOOK_AROUND_PORT, UNUSABLE, Options, run_demo
from examples.complete_journey.served import DemoFailed


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="consent demo", description="Run the main job on real shop data.")
    parser.add_argument(
        "--check", action="store_true", help="end after the last figure: 0 if all hold, else 1"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON document")
    parser.add_argument("--port", type=int, help="where to serve: 8000 by default, any free one with --check")
    parser.add_argument("--households", type=int, help="only the first so many households")
    parser.add_argument("--database-url", help="an empty database; SQLite in a fresh folder by default")
    given = parser.parse_args()
    return Options(
        households=given.households,
        database_url=given.database_url,
        port=given.port or (None if given.check else LOOK_AROUND_PORT),
        stay=not given.check,
        as_json=given.json,
    )


def main() -> int:
    """Run the demo as the command line says and return its exit code."""
    try:
        return run_demo(_options())
    except (DemoFailed, ConsentError) as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return UNUSABLE


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which stops the service too
    sys.exit(main())
