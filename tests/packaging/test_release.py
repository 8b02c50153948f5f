"""A release: the same bytes from every build, with a bill of what is in it, audited or said not to be."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.release import DISTRIBUTIONS, NOT_AUDITED, ROOT, vulnerabilities

REPORT: list[dict[str, Any]] = [
    {"name": "good", "version": "1", "vulns": []},
    {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]},
    {"name": "away", "skip_reason": "not found"},
]


def release(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.release", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make build` makes."""
    folder = tmp_path_factory.mktemp("built") / "dist"
    made = release("build", str(folder))
    assert made.returncode == 0, made.stderr
    return folder


def test_two_builds_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    made = release("build", str(tmp_path / "again"), TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="7")

    assert made.returncode == 0, made.stderr
    assert len(list(built.glob("*.whl"))) == len(list(built.glob("*.tar.gz"))) == len(DISTRIBUTIONS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == {
        path.name: path.read_bytes() for path in built.iterdir()
    }


def test_the_sums_are_of_everything_that_was_built(built: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=built,
        capture_output=True,
        text=True,
        check=True,
    )

    assert checked.stdout.count(": OK") == len(list(built.iterdir())) - 1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_bill_of_materials_has_what_the_lock_file_has(built: Path, name: str) -> None:
    [path] = built.glob(f"{name}-*.cdx.json")
    bill = json.loads(path.read_text())
    locked = {
        (package["name"], package["version"])
        for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    }
    components = {(each["name"], each["version"]) for each in bill["components"]}
    project = tomllib.loads(DISTRIBUTIONS[name].read_text())["project"]
    direct = {re.split(r"[\[<>=!~ ]", need)[0].lower() for need in project["dependencies"]}

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == name
    assert components <= locked
    assert direct <= {component for component, _ in components}
    assert "hypothesis" not in {component for component, _ in components}
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])


def test_a_folder_with_something_in_it_is_refused(built: Path) -> None:
    again = release("build", str(built))

    assert again.returncode == 1
    assert "is not empty" in again.stderr


@pytest.mark.parametrize(("allowed", "code"), [("", NOT_AUDITED), ("allowed", 0)])
def test_an_audit_that_cannot_be_made_says_so(allowed: str, code: int) -> None:
    nowhere = "http://127.0.0.1:9"

    done = release("audit", AUDIT_OFFLINE=allowed, HTTPS_PROXY=nowhere, https_proxy=nowhere, NO_PROXY="")

    assert done.returncode == code
    assert done.stdout.startswith("NOT AUDITED: ")
    assert "onnect" in done.stdout.splitlines()[0]  # the service is the reason, not what it was asked
    assert " audited, " not in done.stdout


def test_a_vulnerability_and_what_could_not_be_looked_up_are_named() -> None:
    assert list(vulnerabilities(REPORT)) == [
        "bad 2: PYSEC-1, mended in 3",
        "away: not looked up: not found",
    ]
