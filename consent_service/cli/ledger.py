"""`consent ledger`: verify the ledger from what is stored."""

import base64
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from consent_service.cli.output import (
    FAILED,
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    opened_for,
    progress_bar,
    reporting_errors,
)
from consent_service.errors import InvalidInput, LedgerCorrupt, UnknownEntry
from consent_service.operations.read_cosigned import read_cosigned_checkpoint, witness_statuses
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.verifier.verify import misbehaviour_proved, printable

app = typer.Typer(help="The ledger as evidence.", no_args_is_help=True)


@app.command("verify")
@reporting_errors
def verify(
    *,
    tenant: TenantName = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="How many verify at once; as many as there are processors by default."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Re-derive everything the ledger claims; exit code 1 and the first bad entry if something is wrong."""
    with opened_for(tenant, database_url) as (deployment, owner):
        try:
            with progress_bar("verifying") as progress:
                verified = verify_ledger(deployment, owner, processes=processes, progress=progress)
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
            "cosignatures": verified.cosignatures,
            "cosigned_size": verified.cosigned_size,
            "vkey": owner.signer.vkey,
        },
        as_json=as_json,
        text=(
            f"Verified: {verified.size} entries of {verified.subjects} subjects, {verified.erased} erased,\n"
            f"{verified.checkpoints} checkpoints of {owner.origin}, {verified.cosignatures} cosignatures, "
            f"witnessed up to entry {verified.cosigned_size}\nroot {root}"
        ),
    )


@app.command("misbehaviour")
@reporting_errors
def misbehaviour(
    file: Annotated[Path, typer.Argument(help="Proof from a witness or from ledger follow.")],
    *,
    key: Annotated[str, typer.Option("--key", help="The log's key as you know it: name+id+base64.")],
    as_json: AsJson = False,
) -> None:
    """Check offline that a log signed two histories; exit code 1 if the file does not prove it."""
    try:
        proved = misbehaviour_proved(file.read_bytes().decode(), key)
    except OSError as error:
        raise InvalidInput(f"Cannot read {file}: {error.strerror}.") from None
    except ValueError as error:
        document: dict[str, object] = {"proved": False, "fault": printable(error)}
        answer(document, as_json=as_json, text=f"NOT PROVED: {document['fault']}")
        raise typer.Exit(FAILED) from None
    text = (
        f"Proved: the key of {printable(proved['origin'])} signed two logs of {proved['size']} entries,\n"
        f"root {proved['roots'][0]}\nroot {proved['roots'][1]}"
    )
    answer({"proved": True, **proved}, as_json=as_json, text=text)


@app.command("witnesses")
@reporting_errors
def witnesses(
    *, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Show how far each witness of CONSENT_WITNESSES has followed; exit code 1 if no quorum cosigned yet."""
    with opened_for(tenant, database_url) as (deployment, owner):
        statuses = witness_statuses(deployment, owner)
        try:
            note = read_cosigned_checkpoint(deployment, owner).decode()
        except UnknownEntry:
            note = None
    size = 0 if note is None else int(note.split("\n", 2)[1])
    lines = [
        f"{each.name}: {each.size} entries, {each.lag} behind, last "
        + ("never" if each.cosigned_at is None else datetime.fromtimestamp(each.cosigned_at, UTC).isoformat())
        for each in statuses
    ]
    document = {
        "tenant": owner.name,
        "cosigned_size": size,
        "checkpoint": note,
        "witnesses": [asdict(each) for each in statuses],
    }
    text = "\n".join([*lines, f"A quorum cosigned {size} entries." if note else "No quorum cosigned yet."])
    answer(document, as_json=as_json, text=text)
    if note is None:
        raise typer.Exit(FAILED)
