"""The pages that say "do this" are done here, from the first line to the last.

Shell blocks run in order in one shell, a Python block is the file that the line above it names, and a comment
line is what the reader sees: its parts between `…` have to come out in this order.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import installed_program

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`(\w+\.py)`:\n\n\Z")
# A service that has something to lose, for the pages that begin with one.
_RUNNING_SHOP = """
cd "$(mktemp -d)"; export CONSENT_HOME="$PWD/home"
consent notice publish "$ROOT/examples/notice.yaml" > /dev/null
"""
_A_CUSTOMER = """
cd "$(mktemp -d)"; export CONSENT_HOME="$PWD/home"
consent notice publish "$ROOT/examples/notice.yaml" --json > notice.json
export CONSENT_URL=http://127.0.0.1:8765
export CONSENT_API_KEY="$(consent key create --role backend --json | cut -d '"' -f 4)"
consent serve --port 8765 > serve.log 2>&1 &
until curl -fs http://127.0.0.1:8765/ready > /dev/null; do sleep 0.2; done
python3 - <<'END OF PROGRAM'
import json
from consent_sdk import ConsentClient
digest = json.load(open("notice.json"))["digest"]
with ConsentClient.from_env() as consent:
    consent.decide("customer-42", notice=digest, choices={"recommendations": "granted"}, language="en")
END OF PROGRAM
"""
_NEW_FOLDER = 'cd "$(mktemp -d)"\n'
PAGES = {
    "README.md": "",
    "docs/tutorial/gate-your-first-feature.md": "",
    "docs/how-to/run-on-postgresql.md": _NEW_FOLDER,
    "docs/how-to/back-up-and-restore.md": _RUNNING_SHOP,
    "docs/how-to/answer-a-request.md": _A_CUSTOMER,
}


def _steps(page: str) -> Iterator[str]:
    """The page as shell: its commands, and its files as here-documents."""
    for block in _BLOCK.finditer(page):
        language, text = block.groups()
        if language == "sh":
            yield text
        else:
            file = _FILE.search(page[: block.start()])
            assert file is not None, f"which file is this?\n{text}"
            yield f"cat > {file[1]} <<'END OF FILE'\n{text}END OF FILE\n"


def _what_the_reader_sees(page: str) -> Iterator[str]:
    for block in _BLOCK.finditer(page):
        for line in block[2].splitlines():
            if block[1] == "sh" and line.startswith("# "):
                yield from filter(None, (part.strip() for part in line.removeprefix("# ").split("…")))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_does_what_it_says(name: str, free_port: int, postgresql_url: str, tmp_path: Path) -> None:
    installed_program("curl", debian_package="curl")
    page = (ROOT / name).read_text()
    page = page.partition("## A five-minute tour")[2].partition("\n## ")[0] or page
    # The environment of this test stands in for the one that `make setup` builds, and so on.
    stand_ins = {
        "make -s setup": "true",
        "8765": str(free_port),
        "postgresql://consent@db.internal/consent": f"'{postgresql_url}'",
        "/var/lib/consent": str(tmp_path / "home"),
    }
    commands = PAGES[name] + "".join(_steps(page))
    for original, stand_in in stand_ins.items():
        commands = commands.replace(original, stand_in)
    script = tmp_path / "page.sh"
    script.write_text(f'trap "jobs -p | xargs -r kill" EXIT\n{commands}')

    done = subprocess.run(
        ["bash", "-euo", "pipefail", str(script)],
        cwd=ROOT,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "ROOT": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    position = 0
    for part in _what_the_reader_sees(page):
        assert part in done.stdout[position:], f"{part!r} is not in:\n{done.stdout[position:]}\n{done.stderr}"
        position = done.stdout.index(part, position) + len(part)
