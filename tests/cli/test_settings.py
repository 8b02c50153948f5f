"""What a command cannot begin with is said in one line, with exit code 2: 1 would be a negative answer."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from tests.postgres import PostgresServer
from tests.servers import unused_port


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


def test_a_database_that_is_not_there_says_why_in_one_line(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    nowhere = CliRunner(env={"CONSENT_DATABASE_URL": postgres_server.url("no_such_database")})
    closed = CliRunner(
        env={"CONSENT_DATABASE_URL": f"postgresql://ana:secret@127.0.0.1:{unused_port()}/consent"}
    )

    for runner, why in ((nowhere, 'database "no_such_database" does not exist'), (closed, "refused")):
        result = runner.invoke(app, ["ledger", "verify"], env={"CONSENT_HOME": str(tmp_path)})

        assert (result.exit_code, result.stdout) == (2, "")
        [line] = result.stderr.splitlines()
        assert line.startswith("DatabaseUnavailable: ")
        assert why in line
        assert "secret" not in line
