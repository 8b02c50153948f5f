"""`consent witness`: hold somebody else's ledger to one history."""

import os
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from consent_service.cli.output import AsJson, answer, reporting_errors, require_host
from consent_service.operations.witness import Witness, cosigner_in

app = typer.Typer(help="Hold somebody else's ledger to one history.", no_args_is_help=True)
Home = Annotated[Path, typer.Option("--home", help="Folder of its key and what it saw.")]
Name = Annotated[str, typer.Option("--name", help="Name in its cosignatures, such as witness.example/w1.")]
Logs = Annotated[list[str], typer.Option("--log", help="Key of a log to watch; may be repeated.")]
_GRACE_SECONDS = 10


@app.command("serve")
@reporting_errors
def serve(
    *,
    home: Home = Path(".witness"),
    name: Name = "witness.local",
    log: Logs,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8700,
) -> None:
    """Run a witness (C2SP tlog-witness): it cosigns a checkpoint only if it continues the last one it saw."""
    require_host(host)
    Witness(home, name=name, vkeys=log)  # a wrong key or file is said here, not by a worker
    os.environ["CONSENT_WITNESS_HOME"] = str(home)
    os.environ["CONSENT_WITNESS_NAME"] = name
    os.environ["CONSENT_WITNESS_LOGS"] = " ".join(log)
    uvicorn.run(
        "consent_service.api.witness_app:create_witness_app",
        factory=True,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


@app.command("key")
@reporting_errors
def key(*, home: Home = Path(".witness"), name: Name = "witness.local", as_json: AsJson = False) -> None:
    """Print the key by which others verify this witness's cosignatures; make it when there is none."""
    vkey = cosigner_in(home, name).vkey
    answer({"vkey": vkey}, as_json=as_json, text=vkey)
