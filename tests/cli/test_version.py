"""The command says which version it is."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


def test_the_command_prints_its_version() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("consent"), "--version"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, version("consent-service"))
