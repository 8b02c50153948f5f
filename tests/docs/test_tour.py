"""The README's five-minute tour runs as it stands, from the first line to the last."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import installed_program

ROOT = Path(__file__).parents[2]
_TOUR = re.compile(r"^## A five-minute tour$(.*?)^## ", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VERDICT = re.compile(r'"(\w+)":{"allowed":(true|false),"reason":"(\w+)"')


@pytest.fixture
def tour() -> str:
    """The commands of the tour, in order."""
    section = _TOUR.search((ROOT / "README.md").read_text())
    assert section is not None
    return "".join(_SHELL.findall(section[1]))


def test_the_tour_runs_and_shows_what_it_says(tour: str, free_port: int, tmp_path: Path) -> None:
    installed_program("curl", debian_package="curl")
    # The environment of this test stands in for the one that `make setup` builds.
    commands = tour.replace("8765", str(free_port)).replace("make -s setup", "true")
    script = tmp_path / "tour.sh"
    script.write_text(f'trap "jobs -p | xargs -r kill" EXIT\n{commands}')

    done = subprocess.run(
        ["bash", "-euo", "pipefail", str(script)],
        cwd=ROOT,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    said = _VERDICT.findall("".join(line for line in tour.splitlines() if line.startswith("#")))
    assert len(said) == 4
    assert set(said) <= set(_VERDICT.findall(done.stdout))
    assert "Verified: 3 entries" in done.stdout
