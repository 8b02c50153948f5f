"""What a command cannot begin with is said in one line, with exit code 2: 1 would be a negative answer."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CONSENT_CLOCK_AHEAD_SECONDS": "secret"}, "ConfigurationError: CONSENT_CLOCK_AHEAD_SECONDS: "),
        ({"CONSENT_DATABASE_URL": "mysql://somebody:secret@there/x"}, "ConfigurationError: A database URL"),
        ({"CONSENT_DATABASE_URL": "secret"}, "ConfigurationError: A database URL begins with"),
        ({"CONSENT_HOME": "/proc/nowhere"}, "No such file or directory"),
    ],
)
@pytest.mark.parametrize("command", [["ledger", "verify", "--json"], ["key", "create", "--role", "backend"]])
def test_a_setting_of_no_use_ends_the_command(
    tmp_path: Path, command: list[str], settings: dict[str, str], said: str
) -> None:
    result = CliRunner(env={"CONSENT_HOME": str(tmp_path), **settings}).invoke(app, command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "secret" not in result.stderr
