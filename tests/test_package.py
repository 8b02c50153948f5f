"""The package as it is installed."""

from pathlib import Path

import consent_service

_MOST_LINES = 400


def test_the_package_says_what_it_is_for() -> None:
    assert consent_service.__doc__ is not None
    assert "evidence" in consent_service.__doc__


def test_no_module_has_more_than_400_lines_but_the_verifier() -> None:
    root = Path(consent_service.__file__).parents[1]
    folders = [root / "consent_service", root / "sdk" / "python" / "src", root / "sdk" / "js" / "src"]
    modules = [file for folder in folders for kind in ("*.py", "*.ts") for file in folder.rglob(kind)]

    long = {file.name: count for file in modules if (count := file.read_bytes().count(b"\n")) > _MOST_LINES}

    assert set(long) == {"verify.py"}  # one file to read: docs/decisions/0062
