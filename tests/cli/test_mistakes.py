"""What somebody gets wrong on the command line is said in one line, with what to mend, and exit code 2."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from consent_service.errors import ConfigurationError
from consent_service.storage.engine import Database
from tests.builders import EXAMPLE_NOTICE

ONE_TOO_MANY = str(2**63)


@pytest.fixture
def runner(tmp_path: Path, database_url: str) -> CliRunner:
    """The command on an installation with a notice."""
    made = CliRunner(env={"CONSENT_HOME": str(tmp_path / "home"), "CONSENT_DATABASE_URL": database_url})
    published = made.invoke(app, ["notice", "publish", str(EXAMPLE_NOTICE)])
    assert published.exit_code == 0, published.stderr
    return made


@pytest.mark.parametrize(
    ("command", "stdin", "says"),
    [
        (["key", "revoke", ONE_TOO_MANY], b"", "Invalid value for 'key_id'"),
        (["receipt", ONE_TOO_MANY], b"", "Invalid value for 'index'"),
        (["evidence", "open", ONE_TOO_MANY, "--key", "k"], b"", "Invalid value for 'index'"),
        (["subject", "erase"], b"caf\xe9\n", "InvalidSubject: Standard input is not UTF-8"),
        (
            ["audit", "export", "--out", "."],
            b"",
            "InvalidInput: Cannot write .: it is a folder; name a file.",
        ),
        (
            ["audit", "export", "--out", "nowhere/pack.zip"],
            b"",
            "InvalidInput: Cannot write nowhere/pack.zip: there is no such folder.",
        ),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_mistake_is_named_and_does_nothing(
    runner: CliRunner, command: list[str], stdin: bytes, says: str
) -> None:
    result = runner.invoke(app, command, input=stdin)

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_tenant_that_is_there_is_named_in_our_words(runner: CliRunner) -> None:
    result = runner.invoke(app, ["tenant", "create", "default"])

    assert result.exit_code == 2
    assert result.stderr == ("TenantExists: There is a tenant named 'default' or one with its log origin.\n")


@pytest.mark.parametrize("command", [["serve"], ["witness", "serve", "--log", "x"]])
def test_an_empty_host_is_not_every_address(tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "home"

    result = CliRunner(env={"CONSENT_HOME": str(home)}).invoke(app, [*command, "--host", "", "--port", "0"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "ConfigurationError: --host is empty: name an address, or 0.0.0.0 for all" in result.stderr
    assert not home.exists()


@pytest.mark.parametrize("command", [["key", "create", "--role", "backend"], ["migrate"], ["serve"]])
def test_a_home_that_is_a_file_is_named(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "file"
    file.touch()

    for home, says in (
        (file, f"CONSENT_HOME is {file}, a file: name a folder."),
        (file / "home", f"CONSENT_HOME is {file / 'home'}, which cannot be made: Not a directory."),
    ):
        result = CliRunner(env={"CONSENT_HOME": str(home)}).invoke(app, command)

        assert (result.exit_code, result.stdout) == (2, "")
        assert f"ConfigurationError: {says}" in result.stderr


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CONSENT_DATABSE_URL", "CONSENT_DATABASE_URL"),
        ("CONSENT_DATABASE", "CONSENT_DATABASE_URL"),
        ("CONSENT_LOCK_SECOND", "CONSENT_LOCK_SECONDS"),
        ("CONSENT_LOGLEVEL", "CONSENT_LOG_LEVEL"),
        ("consent_tennant", "CONSENT_TENANT"),
    ],
)
def test_a_misspelt_setting_is_named(runner: CliRunner, variable: str, meant: str) -> None:
    result = runner.invoke(app, ["key", "list", "--json"], env={variable: "x"})

    assert (result.exit_code, result.stdout) == (0, '{"keys": []}\n')
    assert result.stderr == f"{variable.upper()} is no setting and does nothing: is it {meant}?\n"


def test_a_misspelt_setting_in_the_settings_file_is_named(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("SHOP_DATABASE_URL=x\nCONSENT_GRACE_DAY=7\nCONSENT_TENANT=\n")

    result = runner.invoke(app, ["key", "list"])

    assert (result.exit_code, result.stdout) == (0, "No live key.\n")
    assert result.stderr == "CONSENT_GRACE_DAY is no setting and does nothing: is it CONSENT_GRACE_DAYS?\n"


def test_what_is_somebody_elses_is_no_misspelt_setting(runner: CliRunner) -> None:
    others = [
        *("URL", "API_KEY", "MAX_STALENESS", "PRELOAD", "CACHE_SIZE", "STREAM", "TIMEOUT", "MISS_TIMEOUT"),
        *("STRICT", "CLIENT", "SUBJECT", "PYTHON", "SOAK", "WITNESS_HOME", "WITNESS_LOGS"),
        *("PORT", "HOST", "SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP", "DB_PORT", "SERVICE_PORT_HTTP"),
        *("BANNER_KEY", "VERSION", "ENABLED", "DEBUG", "NOTICE", "MODE", "TOKEN", "KEY", "ORIGIN"),
    ]

    result = runner.invoke(app, ["key", "list"], env={f"CONSENT_{name}": "x" for name in others})

    assert (result.exit_code, result.stderr) == (0, "")


def test_a_database_file_that_may_not_be_written_is_said_to_need_a_copy() -> None:
    """Nobody makes a file there, root neither."""
    with pytest.raises(ConfigurationError, match="take a copy of it, in a folder that may be written"):
        Database("sqlite:////sys/consent.db")
