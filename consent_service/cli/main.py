"""The `consent` command: every part is a sub-command with `--help`."""

from typing import Annotated

import typer

from consent_service.cli import (
    audit,
    demo,
    explain,
    follow,
    keys,
    ledger,
    notice,
    receipt,
    relay,
    rotation,
    scan,
    serve,
    subject,
    tenant,
    witness,
)

app = typer.Typer(
    name="consent",
    help="Consent ledger: explicit, revocable choices, kept as evidence that anyone can verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tenant.app, name="tenant")
app.add_typer(keys.app, name="key")
app.add_typer(rotation.app, name="keys")
app.add_typer(subject.subjects, name="subject")
app.add_typer(subject.evidence, name="evidence")
app.add_typer(notice.app, name="notice")
ledger.app.command("follow")(follow.follow)
app.add_typer(ledger.app, name="ledger")
app.add_typer(witness.app, name="witness")
audit.app.command("scan")(scan.scan)
app.add_typer(audit.app, name="audit")
app.command("receipt")(receipt.receipt)
app.command("explain")(explain.explain)
app.command("serve")(serve.serve)
app.command("relay")(relay.relay)
app.command("demo")(demo.demo)
app.command("migrate")(serve.migrate_schema)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed  # noqa: PLC0415  # only this answer needs it

        typer.echo(installed("consent-service"))
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
