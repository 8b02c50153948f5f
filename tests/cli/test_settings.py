"""What a command cannot begin with is said in one line, with exit code 2: 1 would be a negative answer."""

import json
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from typer.testing import CliRunner

from consent_service.cli.main import app
from consent_service.storage.engine import Database
from tests.builders import EXAMPLE_NOTICE
from tests.postgres import PostgresServer
from tests.servers import unused_port


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CONSENT_CLOCK_AHEAD_SECONDS": "secret"}, "ConfigurationError: CONSENT_CLOCK_AHEAD_SECONDS: "),
        ({"CONSENT_DATABASE_URL": "mysql://somebody:secret@there/x"}, "ConfigurationError: A database URL"),
        ({"CONSENT_DATABASE_URL": "secret"}, "ConfigurationError: A database URL begins with"),
        ({"CONSENT_HOME": "/proc/nowhere"}, "/proc/nowhere"),
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


@pytest.mark.parametrize(
    "command",
    [
        ["ledger", "verify", "--json"],
        ["ledger", "witnesses"],
        ["audit", "export", "--out", "pack.zip"],
        ["receipt", "0"],
        ["explain", "--subject", "ana", "--purpose", "coupons"],
        ["tenant", "list", "--json"],
        ["tenant", "grace", "default", "5"],
        ["tenant", "evidence", "default"],
        ["key", "list"],
        ["key", "revoke", "1"],
        ["keys", "rotate"],
        ["subject", "erase"],
    ],
    ids=" ".join,
)
def test_a_command_about_what_is_there_makes_no_database(
    tmp_path: Path, database_url: str, command: list[str]
) -> None:
    home = tmp_path / "home"
    runner = CliRunner(env={"CONSENT_HOME": str(home), "CONSENT_DATABASE_URL": database_url})

    first = runner.invoke(app, command, input="ana\n")
    again = runner.invoke(app, command, input="ana\n")

    assert (first.exit_code, first.stdout) == (2, "")
    assert "NoDatabase: The" in first.stderr
    assert again.stderr == first.stderr
    assert not home.exists()


def test_lint_passes_a_notice_where_no_database_is_and_makes_none(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    runner = CliRunner(env={"CONSENT_HOME": str(home), "CONSENT_DATABASE_URL": database_url})

    linted = runner.invoke(app, ["notice", "lint", str(EXAMPLE_NOTICE)])

    assert linted.exit_code == 0, linted.stderr
    assert "NoDatabase" in runner.invoke(app, ["ledger", "verify"]).stderr
    assert not home.exists()


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path, database_url: str) -> None:
    database = Database(database_url)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE customer (id INTEGER)"))
    runner = CliRunner(env={"CONSENT_HOME": str(tmp_path), "CONSENT_DATABASE_URL": database_url})

    refused = runner.invoke(app, ["key", "create", "--role", "backend"])

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("SchemaMismatch: The database holds another program's tables")
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == ["customer"]
    database.close()


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"CONSENT_HOME": "", "CONSENT_TENANT": "", "CONSENT_QUEUE_LIMIT": ""})

    created = runner.invoke(app, ["key", "create", "--role", "backend", "--json"])

    assert json.loads(created.stdout)["tenant"] == "default"
    assert [path.name for path in tmp_path.iterdir()] == [".consent"]


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
