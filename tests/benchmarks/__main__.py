"""Run every benchmark: JSON on standard output, a table with goals on standard error.

`python -m tests.benchmarks [NAME …]` runs those modules only; QUICK=1 shortens the rounds and leaves out what
takes minutes to start, unless it is named. Each runs in a
process of its own with a time limit: one that fails or hangs is named and does not hide the others. Exit
code 1 when one failed; a goal that is missed is for the reader.
"""

import importlib
import json
import os
import pkgutil
import platform
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import tests.benchmarks
from tests.benchmarks.goals import Figure, judged
from tests.benchmarks.measure import QUICK

_HARNESS = {
    "__main__",
    "bare_app",
    "beside",
    "goals",
    "load",
    "measure",
    "peer_checks",
    "peer_pages",
    "services",
    "vault_bare_app",
}
_LEFT_OUT = {"peers_fides"} if QUICK else set[str]()
_LIMIT_S = 120 if QUICK else 3600
_ONE = "--figures-of"


def main(names: list[str]) -> int:
    """Run the named benchmark modules, or all; return the exit code."""
    found = [module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__)]
    console = Console(stderr=True, width=140)
    results: dict[str, object] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as shared:
        os.environ.setdefault("BENCH_LARGE_LEDGER", f"{shared}/large")
        for name in names or [name for name in found if name not in _HARNESS | _LEFT_OUT]:
            console.print(f"{name} …")
            started = time.perf_counter()
            try:
                results[name] = _run(name)
            except _Failed as error:
                failed[name] = str(error)
            seconds[name] = round(time.perf_counter() - started, 1)
    figures = [figure for name, values in results.items() for figure in judged(name, values)]
    goals = [
        {"figure": each.name, "value": each.value, "goal": str(each.goal), "met": each.met}
        for each in figures
        if each.goal is not None
    ]
    run = {"machine": _machine(), "figures": results, "goals": goals, "failed": failed, "seconds": seconds}
    print(json.dumps(run, indent=2))
    console.print(_table(figures, failed))
    return 1 if failed else 0


def _machine() -> dict[str, str]:
    """Return when and where this is."""
    return {
        "day": datetime.now(tz=UTC).date().isoformat(),
        "processors": str(os.cpu_count()),
        "Python": platform.python_version(),
        "size": "quick" if QUICK else "whole",
        "load": f"{os.getloadavg()[1]:.1f}, the five minutes before",
    }


class _Failed(Exception):
    """A benchmark that gave no figures; says why."""


def _run(name: str) -> object:
    """Return the figures that a benchmark measures in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks", _ONE, name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # With its servers, which are in its session.
        process.communicate()
        raise _Failed(f"not done after {_LIMIT_S} s") from None
    if process.returncode != 0:
        raise _Failed(f"ended with {process.returncode}: see above")
    return json.loads(output)


def _table(figures: list[Figure], failed: dict[str, str]) -> Table:
    table = Table("figure", "value", "goal", "met")
    for figure in figures:
        met = {True: "yes", False: "NO", None: ""}[figure.met]
        table.add_row(figure.name, str(figure.value), "" if figure.goal is None else str(figure.goal), met)
    for name, why in failed.items():
        table.add_row(name, why, "", "FAILED")
    return table


def _figures_of(name: str) -> None:
    print(json.dumps(importlib.import_module(f"tests.benchmarks.{name}").figures()))


if __name__ == "__main__":
    if sys.argv[1:2] == [_ONE]:
        _figures_of(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
