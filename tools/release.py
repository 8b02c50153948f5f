"""What a release is made of: wheels and source archives, bills of materials, and an audit of what they need.

Usage: python -m tools.release build [FOLDER]     (`make build`)
       python -m tools.release audit              (`make audit`)

Two builds of one commit give the same bytes: times in them are the commit's (SOURCE_DATE_EPOCH).
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS: Mapping[str, Path] = {
    "consent-service": ROOT / "pyproject.toml",
    "consent-sdk": ROOT / "sdk" / "python" / "pyproject.toml",
}
CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
_BIN = Path(sys.executable).parent
_EPOCH_OF_NO_COMMIT = "1580601600"  # what the build backend takes for itself
_TIMEOUT_S = 15


def build(folder: Path) -> list[Path]:
    """Build both distributions with their bills of materials and SHA256SUMS into an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if list(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty: a release is built from nothing.")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _commit_time()}
    _uv("build", "--all-packages", "--quiet", "--out-dir", str(folder), environment=environment)
    (folder / ".gitignore").unlink(missing_ok=True)
    for name, project in DISTRIBUTIONS.items():
        version = next(folder.glob(f"{name.replace('-', '_')}-*.tar.gz")).name.split("-")[1][
            : -len(".tar.gz")
        ]
        bill = folder / f"{name}-{version}.cdx.json"
        bill.write_text(_bill_of_materials(name, project, environment))
    made = sorted(folder.iterdir())
    sums = "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (folder / "SHA256SUMS").write_text(sums)
    return [*made, folder / "SHA256SUMS"]


def requirements(name: str) -> str:
    """Return what a distribution with all its extras needs, pinned with hashes as the lock file has it."""
    options = ("--frozen", "--no-dev", "--all-extras", "--no-emit-workspace", "--no-annotate", "--no-header")
    return _uv("export", "--quiet", *options, "--package", name)


def audit(*, offline_allowed: bool) -> int:
    """Look the locked dependencies up among known vulnerabilities; print what is known, return an exit code.

    Where the advisory service cannot be reached nothing is known, which is said, and is a failure unless
    `offline_allowed`.
    """
    pins = {*_pins(requirements("consent-service")), *_pins(requirements("consent-sdk"))}
    try:
        dependencies = _looked_up(pins)
    except NotAudited as error:
        print(f"NOT AUDITED: pip-audit gave no report ({error}).")
        print("Nothing is known about these dependencies. Run `make audit` where its service can be reached.")
        return CLEAN if offline_allowed else NOT_AUDITED
    found = list(vulnerabilities(dependencies))
    for line in found:
        print(line)
    print(f"{len(dependencies)} dependencies audited, {len(found)} findings.")
    return VULNERABLE if found else CLEAN


class NotAudited(Exception):
    """There is no report; says why."""


def _looked_up(pins: Iterable[str]) -> list[dict[str, Any]]:
    """Return the report on every pin; raise `NotAudited` where there is none, or nothing in it."""
    dependencies = [dependency for each in _rounds(pins) for dependency in _report(each)]
    if all("skip_reason" in dependency for dependency in dependencies):
        raise NotAudited(f"its service knows none of {len(dependencies)} dependencies")
    return dependencies


def _report(pins: Sequence[str]) -> list[dict[str, Any]]:
    command = [
        *(str(_BIN / "pip-audit"), "--requirement", "/dev/stdin", "--disable-pip", "--no-deps"),
        *("--format", "json", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S)),
    ]
    done = subprocess.run(command, input="\n".join(pins), capture_output=True, text=True, check=False)
    try:
        report: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        raise NotAudited((done.stderr.strip().splitlines() or ["no answer"])[-1][:300]) from None
    return report


def _rounds(pins: Iterable[str]) -> list[list[str]]:
    """Return the pins in lists that name nothing twice: what is pinned by Python version has several."""
    rounds: list[dict[str, str]] = []
    for pin in sorted(pins):
        name = pin.partition("==")[0]
        free = next((each for each in rounds if name not in each), None)
        if free is None:
            free = {}
            rounds.append(free)
        free[name] = pin
    return [list(each.values()) for each in rounds]


def vulnerabilities(dependencies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each vulnerability of a report and for each dependency that was not looked up."""
    for dependency in dependencies:
        if "skip_reason" in dependency:
            yield f"{dependency['name']}: not looked up: {dependency['skip_reason']}"
        for known in dependency.get("vulns", ()):
            mended = ", ".join(known["fix_versions"]) or "no version"
            yield f"{dependency['name']} {dependency['version']}: {known['id']}, mended in {mended}"


def _pins(exported: str) -> list[str]:
    return [line.partition(" ")[0] for line in exported.splitlines() if "==" in line]


def _bill_of_materials(name: str, project: Path, environment: Mapping[str, str]) -> str:
    command = [
        *(str(_BIN / "cyclonedx-py"), "requirements", "-", "--pyproject", str(project)),
        *("--output-reproducible", "--output-format", "JSON"),
    ]
    done = subprocess.run(
        command, input=requirements(name), env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def _commit_time() -> str:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return given
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or _EPOCH_OF_NO_COMMIT


def _uv(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    uv = ROOT / ".tools" / "bin" / "uv"
    if not uv.exists():
        raise SystemExit("Run `make setup` first.")
    done = subprocess.run(
        [str(uv), *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode()


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    if arguments[:1] == ["build"]:
        for path in build(Path(arguments[1]) if arguments[1:] else ROOT / "dist"):
            print(path.relative_to(path.parent.parent))
        return 0
    if arguments == ["audit"]:
        return audit(offline_allowed=os.environ.get("AUDIT_OFFLINE") == "allowed")
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
