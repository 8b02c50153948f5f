"""`consent subject` and `consent evidence`: erasure, and what is kept of it for legal claims."""

import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from consent_service.cli.output import (
    MAX_INDEX,
    STANDARD_INPUT,
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    external_id_of,
    opened_for,
    reporting_errors,
    say,
)
from consent_service.errors import ConfigurationError, InvalidInput
from consent_service.operations.committer import Committer
from consent_service.operations.erase_subject import EraseSubject, ErasureAnswer
from consent_service.operations.keep_evidence import evidence_policy, read_proof
from consent_service.vault.evidence import evidence_key_text

subjects = typer.Typer(help="Rights of the person.", no_args_is_help=True)
evidence = typer.Typer(help="Sealed proof of erased subjects' consents.", no_args_is_help=True)
_OWNER_ONLY = 0o600


@subjects.callback()
def _subject() -> None:
    """Keep `erase` a sub-command: others join it."""


@subjects.command("erase")
@reporting_errors
def erase(*, tenant: TenantName = None, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Erase the subject whose identifier is the first line of standard input, and print the certificate.

    The identifier is no argument: those are shown to everybody on the machine.
    """
    external_id = external_id_of(STANDARD_INPUT)
    with opened_for(tenant, database_url) as (deployment, owner):
        committer = Committer(deployment)
        try:
            request = EraseSubject(
                subject=owner.subject(external_id), evidence=evidence_policy(deployment, owner)
            )
            erased = committer.submit_blocking(owner, request)
        finally:
            committer.close()
        deployment.database.truncate_wal()
    if not isinstance(erased, ErasureAnswer):
        raise TypeError("an erasure was answered as something else")
    document = {"certificate": erased.certificate, "index": erased.index}
    answer(document, as_json=as_json, text=erased.certificate)


@evidence.command("keygen")
@reporting_errors
def keygen(
    out: Annotated[Path, typer.Argument(help="File for the private key; it must not exist.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make an auditor's key pair: the private key into a file, the public one for CONSENT_EVIDENCE_KEY."""
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with out.open("xb") as file:
            out.chmod(_OWNER_ONLY)
            file.write(pem)
    except FileExistsError:
        raise InvalidInput(f"{out} exists: choose another file.") from None
    public = evidence_key_text(key.public_key())
    answer({"public": public}, as_json=as_json, text=public)


@evidence.command("open")
@reporting_errors
def open_proof(
    index: Annotated[
        int, typer.Argument(min=0, max=MAX_INDEX, help="Ledger index of the erasure, as on its certificate.")
    ],
    *,
    key: Annotated[Path, typer.Option("--key", help="File of the auditor's private key.")],
    tenant: TenantName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print, as JSON, the proof that was kept of an erased subject's consents: what she decided, when."""
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError):
        raise ConfigurationError(f"{key} is not a private key file in PEM.") from None
    if not isinstance(private, X25519PrivateKey):
        raise ConfigurationError(f"{key} is not an X25519 key.")
    with opened_for(tenant, database_url) as (deployment, owner):
        say(json.dumps(read_proof(deployment, owner, index, private), ensure_ascii=False, indent=2))
