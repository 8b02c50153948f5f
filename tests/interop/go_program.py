"""Our Go program around golang.org/x/mod/sumdb: built once per test process, then run on files."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import installed_program

SOURCE = Path(__file__).parent / "go" / "main.go"
MODULES = Path(
    "/usr/share/gocode"
)  # where golang-golang-x-mod-dev puts sources that are built without modules
PACKAGES = "golang-go golang-golang-x-mod-dev"


def build(folder: Path, cache: Path, modules: Path = MODULES) -> Path:
    """Return the built program; fails the test with what to install when Go or the library is missing."""
    go = installed_program("go", debian_package=PACKAGES)
    if not (modules / "src/golang.org/x/mod/sumdb").is_dir():
        pytest.fail(
            f"golang.org/x/mod is missing: apt-get install {PACKAGES} (.ci/run installs all there is)",
            pytrace=False,
        )
    program = folder / "interop"
    # Nothing may be fetched: no modules, no proxy, no other toolchain than the one that is here.
    offline = {"GO111MODULE": "off", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    environment = os.environ | offline | {"GOPATH": str(modules), "GOCACHE": str(cache)}
    built = subprocess.run(
        [go, "build", "-o", program, SOURCE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    return program


def run(program: Path, command: str, argument: Path | str, text: str = "") -> Any:
    """Return the JSON that the program printed; raises `AssertionError` with its message when it fails."""
    done = subprocess.run(
        [program, command, argument], input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
