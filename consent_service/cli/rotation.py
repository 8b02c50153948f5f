"""`consent keys`: rotation of the keys that protect the database, while the service goes on."""

from enum import StrEnum
from typing import Annotated

import typer

from consent_service.cli.output import (
    AsJson,
    DatabaseUrl,
    answer,
    opened,
    progress_bar,
    reporting_errors,
    settings_with,
)
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import Deployment
from consent_service.operations.rotate_blind_index import rotate_blind_index
from consent_service.operations.rotate_keys import end_epochs, rotate_root, rotate_signing_key

app = typer.Typer(help="Rotation of every kind of key, while the service goes on.", no_args_is_help=True)


class What(StrEnum):
    """What there is to rotate."""

    EPOCH = "epoch"
    ROOT = "root"
    BLIND_INDEX = "blind-index"
    SIGNING = "signing"


@app.callback()
def _keys() -> None:
    """Keep `rotate` a sub-command: others join it."""


@app.command("rotate")
@reporting_errors
def rotate(
    what: Annotated[
        list[What] | None, typer.Argument(help="What to rotate, in this order; the epoch by default.")
    ] = None,
    *,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Destroy the older lasting root keys: older backups need them.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Rotate keys of every tenant. A run that was killed or failed is simply run again.

    epoch: new tenant keys; whatever was deleted or erased before is then irrecoverable in every older copy.
    root: wraps the tenants' lasting keys anew. blind-index: new keys to find subjects by. signing: new ledger
    signing keys, signed in by the old ones. Each is an entry of the ledger.
    """
    wanted = what or [What.EPOCH]
    with opened(settings_with(database_url)) as deployment:
        committer = Committer(deployment)
        try:
            vkeys = _rotate(deployment, committer, wanted, destroy=destroy)
        finally:
            committer.close()
    document = {"rotated": [kind.value for kind in wanted], "vkeys": vkeys}
    lines = [f"Rotated: {', '.join(kind.value for kind in wanted)}.", *vkeys.values()]
    answer(document, as_json=as_json, text="\n".join(lines))


def _rotate(
    deployment: Deployment, committer: Committer, wanted: list[What], *, destroy: bool
) -> dict[str, str]:
    vkeys: dict[str, str] = {}
    for kind in wanted:
        if kind is What.EPOCH:
            with progress_bar("wrapping anew") as progress:
                end_epochs(deployment, committer, deployment.tenants(), progress=progress)
        elif kind is What.BLIND_INDEX:
            with progress_bar("moving subjects") as progress:
                rotate_blind_index(deployment, committer, deployment.tenants(), progress=progress)
        elif kind is What.ROOT:
            with progress_bar("wrapping tenants' keys") as progress:
                rotate_root(deployment, committer, destroy=destroy, progress=progress)
        else:
            tenants = deployment.tenants()
            with progress_bar("signing in new keys") as progress:
                for done, tenant in enumerate(tenants, start=1):
                    vkeys[tenant.name] = rotate_signing_key(deployment, committer, tenant)
                    progress(done, len(tenants))
    return vkeys
