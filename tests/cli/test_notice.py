"""`consent notice` says where a fault is, so that the file can be mended."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from tests.builders import EXAMPLE_NOTICE


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


def test_lint_passes_a_first_notice_before_its_tenant_exists(tmp_path: Path, migrated_url: str) -> None:
    runner = CliRunner(env={"CONSENT_HOME": str(tmp_path), "CONSENT_DATABASE_URL": migrated_url})

    results = [runner.invoke(app, ["notice", verb, str(EXAMPLE_NOTICE)]) for verb in ("lint", "publish")]

    assert [result.exit_code for result in results] == [0, 0], results[0].stderr


@pytest.mark.parametrize("command", ["lint", "publish"])
def test_what_there_is_to_mend_is_one_json_document(tmp_path: Path, command: str) -> None:
    file = tmp_path / "notice.yaml"
    file.write_text("notice: 1\nlanguages: []\n", encoding="utf-8")

    result = CliRunner(env={"CONSENT_HOME": str(tmp_path)}).invoke(
        app, ["notice", command, str(file), "--json"]
    )

    problems = json.loads(result.stdout)["problems"]
    assert result.exit_code == 1
    assert {(each["line"], each["path"]) for each in problems} >= {(2, "languages")}
    assert all(each["message"] in result.stderr for each in problems)


def test_lint_and_publish_name_words_that_tie_choices_and_forbid_nothing(tmp_path: Path) -> None:
    file = tmp_path / "notice.yaml"
    text = EXAMPLE_NOTICE.read_text(encoding="utf-8")
    file.write_text(text.replace("The coupons that everybody gets.", "You must accept this to shop here."))
    runner = CliRunner(env={"CONSENT_HOME": str(tmp_path / "home")})

    linted = runner.invoke(app, ["notice", "lint", str(file), "--json"])
    published = runner.invoke(app, ["notice", "publish", str(file), "--json"])

    (doubt,) = json.loads(linted.stdout)["doubts"]
    assert (linted.exit_code, published.exit_code) == (0, 0)
    assert doubt["path"] == "purposes.coupons.if_denied.en"
    for result in (linted, published):
        assert f"line {doubt['line']}, purposes.coupons.if_denied.en: reads as if" in result.stderr
