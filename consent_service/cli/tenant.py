"""`consent tenant`: shops with a ledger of their own."""

from typing import Annotated

import typer

from consent_service.cli.output import AsJson, DatabaseUrl, answer, opened, reporting_errors, settings_with
from consent_service.errors import InvalidInput
from consent_service.operations.keep_evidence import set_evidence_policy
from consent_service.operations.manage_tenants import create_tenant, set_grace
from consent_service.vault.evidence import evidence_key_text

app = typer.Typer(help="Shops with a ledger of their own.", no_args_is_help=True)


@app.command("create")
@reporting_errors
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a tenant with its own keys and an empty ledger."""
    with opened(settings_with(database_url), begin=True) as deployment:
        tenant = create_tenant(deployment, name)
        document = {"tenant": tenant.name, "origin": tenant.origin, "vkey": tenant.signer.vkey}
        answer(
            document,
            as_json=as_json,
            text=f"Tenant {tenant.name}: log {tenant.origin}\nkey {tenant.signer.vkey}",
        )


@app.command("list")
@reporting_errors
def list_all(*, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the tenants with the origin and the verifier key of their logs, and their grace."""
    with opened(settings_with(database_url)) as deployment:
        tenants = [
            {
                "tenant": tenant.name,
                "origin": tenant.origin,
                "vkey": tenant.signer.vkey,
                "grace_days": deployment.grace_days(tenant),
            }
            for tenant in deployment.tenants()
        ]
        lines = [f"{tenant['tenant']}\t{tenant['vkey']}" for tenant in tenants]
        answer({"tenants": tenants}, as_json=as_json, text="\n".join(lines) or "No tenant yet.")


@app.command("grace")
@reporting_errors
def grace(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    days: Annotated[
        int | None, typer.Argument(help="Days; without them CONSENT_GRACE_DAYS holds again.", min=0)
    ] = None,
    *,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Set for how many days an expired or outdated grant keeps its keys, closed, for a late renewal."""
    with opened(settings_with(database_url)) as deployment:
        tenant = deployment.tenant_named(name)
        held = set_grace(deployment, tenant, days)
        answer(
            {"tenant": tenant.name, "grace_days": held},
            as_json=as_json,
            text=f"Closed grants of tenant {tenant.name} keep their keys for {held} days.",
        )


@app.command("evidence")
@reporting_errors
def evidence(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    *,
    key: Annotated[
        str | None, typer.Option("--key", help="Auditor's public key, as consent evidence keygen prints it.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Days that proof is kept.")] = 5 * 365,
    keep_nothing: Annotated[
        bool, typer.Option("--keep-nothing", help="Keep no proof, whatever CONSENT_EVIDENCE_KEY says.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Set to whom a tenant seals proof of erased consents; without options the settings hold again."""
    if keep_nothing and key is not None:
        raise InvalidInput("--key and --keep-nothing say opposite things.")
    choice = ("", days) if keep_nothing else None if key is None else (key, days)
    with opened(settings_with(database_url)) as deployment:
        tenant = deployment.tenant_named(name)
        policy = set_evidence_policy(deployment, tenant, choice)
        document = {
            "tenant": tenant.name,
            "evidence_key": None if policy is None else evidence_key_text(policy.key),
            "evidence_days": None if policy is None else policy.keep.days,
        }
        text = f"Tenant {tenant.name} keeps no proof of an erased subject's consents."
        if policy is not None:
            text = f"Tenant {tenant.name} keeps sealed proof of erased consents for {policy.keep.days} days."
        answer(document, as_json=as_json, text=text)
