"""Run every benchmark: JSON on standard output, a table on standard error.

`python -m tests.benchmarks [NAME …]` runs those modules only; QUICK=1 shortens the rounds.
"""

import importlib
import json
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import tests.benchmarks

_HARNESS = {
    "__main__",
    "bare_app",
    "load",
    "measure",
    "peer_checks",
    "peer_pages",
    "services",
    "vault_bare_app",
}


def main(names: list[str]) -> None:
    """Run the named benchmark modules, or all."""
    found = [module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__)]
    chosen = names or [name for name in found if name not in _HARNESS]
    results: dict[str, object] = {}
    table = Table("benchmark", "figure", "value")
    for name in chosen:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        if not hasattr(module, "figures"):
            continue
        results[name] = module.figures()
        _rows(table, name, "", results[name])
    print(json.dumps(results, indent=2))
    Console(stderr=True).print(table)


def _rows(table: Table, name: str, prefix: str, value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _rows(table, name, f"{prefix}{key} ", inner)
    else:
        table.add_row(name, prefix.strip(), str(value))


if __name__ == "__main__":
    main(sys.argv[1:])
