"""`consent key`: credentials of a tenant."""

from typing import Annotated

import typer

from consent_service.cli.output import (
    FAILED,
    MAX_INDEX,
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    complaints,
    opened,
    opened_for,
    reporting_errors,
    settings_with,
)
from consent_service.operations.manage_tenants import (
    Role,
    create_api_key,
    list_keys,
    require_tenant,
    revoke_key,
)

app = typer.Typer(help="Credentials: secret API keys and publishable browser keys.", no_args_is_help=True)


@app.command("create")
@reporting_errors
def create(
    *,
    role: Annotated[Role, typer.Option("--role", help="What the key may do.")],
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Web origin of a browser key; may be repeated.")
    ] = None,
    tenant: TenantName = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and show it once: only its digest is stored. Creates what is missing."""
    settings = settings_with(database_url)
    with opened(settings, begin=True) as deployment:
        owner = require_tenant(deployment, tenant or settings.tenant)
        created = create_api_key(deployment, owner, role, origins=tuple(origin or ()))
        document = {
            "key": created.key,
            "role": created.role.value,
            "tenant": created.tenant,
            "id": created.id,
        }
        answer(
            document,
            as_json=as_json,
            text=f"{created.role} key {created.id} of {created.tenant}: {created.key}",
        )


@app.command("list")
@reporting_errors
def list_live(
    *, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """List the live keys of a tenant by number: what they may do, never the keys."""
    with opened_for(tenant, database_url) as (deployment, owner):
        live = list_keys(deployment, owner)
        keys = [{"id": key.id, "role": key.role, "origins": list(key.origins)} for key in live]
        lines = [f"{key.id}\t{key.role}\t{' '.join(key.origins)}" for key in live]
        answer({"keys": keys}, as_json=as_json, text="\n".join(lines) or "No live key.")


@app.command("revoke")
@reporting_errors
def revoke(
    key_id: Annotated[int, typer.Argument(max=MAX_INDEX, help="Number of the key, see consent key list.")],
    *,
    tenant: TenantName = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key: it stops working within CONSENT_CREDENTIAL_CACHE_SECONDS."""
    with opened_for(tenant, database_url) as (deployment, owner):
        if not revoke_key(deployment, owner, key_id):
            complaints.print("There is no such live key of this tenant.")
            raise typer.Exit(FAILED)
        answer({"revoked": key_id}, as_json=as_json, text=f"Key {key_id} is revoked.")
