"""`consent ledger`: verify the ledger from what is stored."""

import base64

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consent_service.cli.output import (
    FAILED,
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    complaints,
    opened,
    reporting_errors,
    settings_with,
)
from consent_service.errors import LedgerCorrupt
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_ledger import VerifiedLedger, verify_ledger

app = typer.Typer(help="The ledger as evidence.", no_args_is_help=True)


@app.command("verify")
@reporting_errors
def verify(*, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Re-derive everything the ledger claims; exit code 1 and the first bad entry if something is wrong."""
    settings = settings_with(database_url)
    with opened(settings) as deployment:
        owner = deployment.tenant_named(tenant or settings.tenant)
        try:
            verified = _with_progress(deployment, owner)
        except LedgerCorrupt as error:
            document = {"verified": False, "tenant": owner.name, "index": error.index, "fault": str(error)}
            answer(document, as_json=as_json, text=f"NOT VERIFIED: entry {error.index}: {error}")
            raise typer.Exit(FAILED) from None
    root = base64.b64encode(verified.root).decode("ascii")
    answer(
        {
            "verified": True,
            "tenant": owner.name,
            "origin": owner.origin,
            "size": verified.size,
            "root": root,
            "subjects": verified.subjects,
            "erased": verified.erased,
            "checkpoints": verified.checkpoints,
            "vkey": owner.signer.vkey,
        },
        as_json=as_json,
        text=(
            f"Verified: {verified.size} entries of {verified.subjects} subjects, {verified.erased} erased,\n"
            f"{verified.checkpoints} checkpoints of {owner.origin}\nroot {root}"
        ),
    )


def _with_progress(deployment: Deployment, tenant: Tenant) -> VerifiedLedger:
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=complaints, transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        return verify_ledger(
            deployment, tenant, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
