"""The `consent` command: every part is a sub-command with `--help`.

A command imports what it needs when it is called: the web framework costs a second of processor time, and
checking a pack or a notice needs none of it.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from consent_service.cli.imports import load

_PLACES = {
    "receipt": "receipt:receipt",
    "explain": "explain:explain",
    "serve": "serve:serve",
    "relay": "relay:relay",
    "demo": "demo:demo",
    "migrate": "serve:migrate_schema",
    "tenant": "tenant:app",
    "key": "keys:app",
    "keys": "rotation:app",
    "subject": "subject:subjects",
    "evidence": "subject:evidence",
    "notice": "notice:app",
    "ledger": "ledger:app",
    "ledger follow": "follow:follow",
    "witness": "witness:app",
    "audit": "audit:app",
    "audit scan": "scan:scan",
}
_HELP = {"help_option_names": ["-h", "--help"]}


class _Parts(Mapping[str, TyperGroup | TyperCommand]):
    """The sub-commands of a group by name: those it has, and those of `_PLACES`, imported when looked up."""

    def __init__(self, group: str, present: Mapping[str, TyperGroup | TyperCommand]) -> None:
        self._group = group
        self._present = dict(present)
        self._absent = [
            name.removeprefix(group).strip() for name in _PLACES if name.rpartition(" ")[0] == group
        ]

    def __iter__(self) -> Iterator[str]:
        yield from (*self._present, *(name for name in self._absent if name not in self._present))

    def __len__(self) -> int:
        return len(set(self))

    def __getitem__(self, name: str) -> TyperGroup | TyperCommand:
        if name in self._absent and name not in self._present:
            self._present[name] = _imported(f"{self._group} {name}".strip())
        return self._present[name]


def _imported(name: str) -> TyperGroup | TyperCommand:
    module, _, attribute = _PLACES[name].partition(":")
    part = getattr(load(f"consent_service.cli.{module}"), attribute)
    if isinstance(part, typer.Typer):
        part.info.name = name
        group = get_group(part)
        group.commands = _Parts(name, group.commands)  # type: ignore[assignment,arg-type]  # as below
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name.rpartition(" ")[2], context_settings=_HELP)(part)
    command: TyperCommand = get_command(alone)  # type: ignore[assignment]  # of one function
    return command


class _Consent(TyperGroup):
    """The group of all sub-commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Parts("", self.commands)  # type: ignore[assignment,arg-type]  # nobody adds to it

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command; where nobody reads its output, rich and typer end with the code that means no."""
        try:
            return super().main(*arguments, **options)
        except SystemExit as ended:
            if isinstance(ended.__context__, BrokenPipeError):
                from consent_service.cli.output import end_unread  # noqa: PLC0415  # only this end needs it

                end_unread()
            raise


app = typer.Typer(
    name="consent",
    cls=_Consent,
    help="Consent ledger: explicit, revocable choices, kept as evidence that anyone can verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed  # noqa: PLC0415  # only this answer needs it

        from consent_service.cli.output import say  # noqa: PLC0415  # as above

        say(installed("consent-service"))
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Read settings from CONSENT_* variables; each command's options override them."""
