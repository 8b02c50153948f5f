"""How the command line answers: JSON for programs, plain lines for people, exit codes 0, 1 and 2.

0 is done, 1 is a negative answer (a ledger that does not verify), 2 is a command that could not be run, 141
one whose reader went away, as `head` does: what a shell shows for a program that SIGPIPE ended.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from consent_service.errors import (
    ConfigurationError,
    ConsentToolkitError,
    DatabaseDamaged,
    DatabaseUnavailable,
    InvalidInput,
    InvalidNotice,
    InvalidSubject,
    NoticeProblem,
)

if TYPE_CHECKING:
    from consent_service.operations.deployment import Deployment
    from consent_service.operations.tenant import Tenant
    from consent_service.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
FAILED, UNUSABLE, UNREAD = 1, 2, 128 + 13
MAX_INDEX = 2**63 - 1
"""The highest number that a database counts to."""
STANDARD_INPUT = "-"


def end_unread() -> NoReturn:
    """End the command, quietly, because nobody reads what it says."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # What waits in their buffers goes there at the end.
        os.dup2(nowhere, stream.fileno())
    raise SystemExit(UNREAD)


screen = Console()
complaints = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
TenantName = Annotated[str | None, typer.Option("--tenant", help="Tenant; CONSENT_TENANT by default.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", help="Database; CONSENT_DATABASE_URL or SQLite in CONSENT_HOME by default."
    ),
]


def say(text: str | bytes, *, nl: bool = True) -> None:
    """Print something as it is."""
    try:
        typer.echo(text, nl=nl)
    except BrokenPipeError:
        end_unread()


def answer(document: Mapping[str, Any], *, as_json: bool, text: str) -> None:
    """Print the JSON document, or the text for people."""
    if as_json:
        say(json.dumps(document, ensure_ascii=False))
    else:
        screen.print(text, highlight=False, markup=False, soft_wrap=True)


def listed(problems: Iterable[NoticeProblem]) -> list[dict[str, str | int | None]]:
    """Return what there is to mend in a notice, for a JSON document."""
    return [{"path": each.path, "line": each.line, "message": each.message} for each in problems]


def settings_with(database_url: str | None = None, **changes: object) -> "Settings":
    """Return the settings with what the command line changes about them; raise `ConfigurationError`."""
    from pydantic import ValidationError  # noqa: PLC0415  # most of a command's start

    from consent_service.settings import Settings, misspelt  # noqa: PLC0415  # as above

    for name, meant in misspelt().items():
        complaints.print(
            f"{name} is no setting and does nothing: is it {meant}?",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    given = {key: value for key, value in changes.items() if value is not None}
    if database_url is not None:
        given["database_url"] = database_url
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic validates what the options hold
    except ValidationError as error:  # What was given may be a secret: it is not said.
        wrong = [
            f"CONSENT_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()
        ]
        raise ConfigurationError("; ".join(wrong)) from None


@contextmanager
def opened(settings: "Settings", *, begin: bool = False) -> Iterator["Deployment"]:
    """Open the deployment for one command; make what is missing only for one that may `begin` it."""
    from consent_service.operations.deployment import Deployment  # noqa: PLC0415  # most of a command's start

    deployment = Deployment.open(settings, begin=begin)
    try:
        yield deployment
    finally:
        deployment.close()


@contextmanager
def opened_for(tenant: str | None, database_url: str | None) -> Iterator[tuple["Deployment", "Tenant"]]:
    """Open the deployment for a command about one tenant, that of the settings by default."""
    settings = settings_with(database_url)
    with opened(settings) as deployment:
        yield deployment, deployment.tenant_named(tenant or settings.tenant)


@contextmanager
def progress_bar(what: str, *columns: ProgressColumn) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar while something long is done; yields what to tell how much is done, and of how much.

    There is none where nobody watches: at no terminal, rich would leave an empty line.
    """
    shown = columns or (MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *shown,
        console=complaints,
        transient=True,
        disable=not complaints.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def key_of(key: str | None) -> str | None:
    """Return a log's key, given as such or as the first line of a file, as `GET /v1/ledger/key` has it."""
    if key is not None and "+" not in key and Path(key).is_file():
        return Path(key).read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    return key


def require_host(host: str) -> None:
    """Raise `ConfigurationError` where no host is named: the system takes that for every address."""
    if not host:
        raise ConfigurationError("--host is empty: name an address, or 0.0.0.0 for all of this machine's.")


def external_id_of(option: str) -> str:
    """Return the external id that an option gives, or the first line of standard input where it is `-`.

    Arguments are shown to everybody on the machine, standard input is not. Raises `InvalidSubject`.
    """
    if option != STANDARD_INPUT:
        return option
    try:
        return typer.get_text_stream("stdin").readline().rstrip("\n")
    except UnicodeDecodeError:
        raise InvalidSubject("Standard input is not UTF-8, as identifiers are.") from None


def moment_of(text: str | None) -> datetime | None:
    """Return the moment in UTC that an option names, with or without a zone; raise `InvalidInput`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # The latter beyond the calendar, in UTC.
        raise InvalidInput("A moment is RFC 3339, such as 2026-11-21T12:00:00Z.") from None


def reporting_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an error of ours, or of the system's files, into one line on standard error and exit code 2.

    A notice that must not be published is an answer: exit code 1, and with `--json` its problems.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except InvalidNotice as error:
            for problem in error.problems:
                complaints.print(str(problem), highlight=False, markup=False, soft_wrap=True)
            if kwargs.get("as_json"):
                answer({"problems": listed(error.problems)}, as_json=True, text="")
            raise typer.Exit(FAILED) from None
        except ConsentToolkitError as error:
            text = f"{type(error).__name__}: {error}{_words_of_the_driver(error)}"
            complaints.print(text, highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(UNUSABLE) from None
        except OSError as error:  # A folder that is not there, a file that nobody may write, a full disk.
            where = "" if error.filename is None else f": {error.filename}"
            complaints.print(
                f"{error.strerror or error}{where}", highlight=False, markup=False, soft_wrap=True
            )
            raise typer.Exit(UNUSABLE) from None

    return wrapped


def _words_of_the_driver(error: ConsentToolkitError) -> str:
    """Return why the database is away in its driver's words: for an operator's eyes, no caller's."""
    if not isinstance(error, DatabaseUnavailable | DatabaseDamaged):
        return ""
    said = str(getattr(error.__cause__, "orig", "") or "").strip()
    return f" It says: {said.splitlines()[0]}" if said else ""
