"""`consent notice` says where a fault is, so that the file can be mended."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "the notice: is not UTF-8; save the file in UTF-8."),
        (b"notice: 1\nlanguages: []\n", "line 2, languages: is empty;"),
    ],
)
def test_lint_says_in_which_line_of_the_file_what_is_wrong(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "notice.yaml"
    file.write_bytes(text)

    result = CliRunner(env={"CONSENT_HOME": str(tmp_path)}).invoke(app, ["notice", "lint", str(file)])

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
