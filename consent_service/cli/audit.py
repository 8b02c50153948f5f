"""`consent audit`: export a pack for an auditor, and verify one offline."""

import json
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import (
    DownloadColumn,
    TransferSpeedColumn,
)

from consent_service.cli.output import (
    FAILED,
    UNUSABLE,
    AsJson,
    DatabaseUrl,
    TenantName,
    answer,
    complaints,
    external_id_of,
    key_of,
    moment_of,
    opened,
    progress_bar,
    reporting_errors,
    settings_with,
)
from consent_service.errors import InvalidInput
from consent_service.operations.parquet_views import verify_parquet
from consent_service.verifier.verify import (
    Fault,
    Pack,
    policy_of,
    printable,
    receipt_text,
    verify_pack,
    verify_receipt,
)

app = typer.Typer(help="Packs that an auditor checks without us.", no_args_is_help=True)
PackFile = Annotated[Path, typer.Argument(help="Audit pack, see docs/reference/audit-pack.md.")]
LogKey = Annotated[
    str | None, typer.Option("--key", help="The log's key as you know it: name+id+base64, or a file.")
]
Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help="Key of a witness who has to have cosigned; repeat.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="File of witnesses and quorum (C2SP tlog-policy).")
]
_LARGEST_MANIFEST = 1 << 24


@app.command("export")
@reporting_errors
def export(
    *,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    start: Annotated[str | None, typer.Option("--from", help="First moment, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Moment after the last, RFC 3339.")] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Only this external id's entries; - reads it from standard input."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Last pack, or its size: prove that this one continues it.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Fetch it from this service, with the key in CONSENT_API_KEY; resumable."),
    ] = None,
    tenant: TenantName = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write a signed pack with everything an auditor needs; the file appears when it is complete.

    What an earlier attempt began is completed.
    """
    if not out.name or out.is_dir():
        raise InvalidInput(f"Cannot write {out}: it is a folder; name a file.")
    if not out.absolute().parent.is_dir():
        raise InvalidInput(f"Cannot write {out}: there is no such folder.")
    external_id = None if subject is None else external_id_of(subject)
    if url is not None:
        written = _fetched(url, out, {"from": start, "until": until, "since": since}, external_id)
        answer({"file": str(out), "bytes": written}, as_json=as_json, text=f"{out}: {written} bytes.")
        return
    from consent_service.operations.complete_export import (  # noqa: PLC0415  # a verifier needs no database
        AuditRequest,
        complete_export,
    )

    settings = settings_with(database_url)
    with opened(settings) as deployment:
        owner = deployment.tenant_named(tenant or settings.tenant)
        request = AuditRequest(
            start=moment_of(start),
            until=moment_of(until),
            subject=None if external_id is None else owner.subject(external_id),
            since=_size(since),
        )
        tag = out.with_name(out.name + ".part.tag")
        with progress_bar("exporting") as progress:
            written = write_whole(out, complete_export(deployment, owner, request, tag, progress=progress))
        tag.unlink(missing_ok=True)
    answer({"file": str(out), "bytes": written}, as_json=as_json, text=f"{out}: {written} bytes.")


def _fetched(url: str, out: Path, query: Mapping[str, str | None], subject: str | None) -> int:
    params = {name: value for name, value in query.items() if value is not None}
    if "since" in params:
        params["since"] = str(_size(params["since"]))
    from consent_service.cli.download import Download  # noqa: PLC0415  # no other command needs a client

    download = Download(
        url=f"{url.rstrip('/')}/v1/audit/export",
        params=params,
        headers={} if subject is None else {"Consent-Subject": quote(subject, safe="")},
        out=out,
    )
    with progress_bar("fetching", DownloadColumn(), TransferSpeedColumn()) as progress:
        try:
            return download.fetch(progress)
        except OSError as error:
            raise InvalidInput(f"Cannot write {out}: {error.strerror}.") from None


def write_whole(path: Path, pieces: Iterator[bytes]) -> int:
    """Write a file for its owner only; under its name there is the whole file, or what was there before.

    Bytes that an earlier attempt wrote are read and compared, and written again only where they differ.
    """
    part = path.with_name(path.name + ".part")
    pieces = chain([next(pieces, b"")], pieces)  # what cannot be made leaves nothing behind
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)  # an old part may have been somebody else's idea
        with os.fdopen(descriptor, "r+b") as file:
            for piece in pieces:
                there = file.tell()
                if file.read(len(piece)) != piece:
                    file.seek(there)
                    file.write(piece)
                    file.seek(there + len(piece))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
            written = file.tell()
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"Cannot write {path}: {error.strerror}.") from None
    return written


@app.command("verify")
@reporting_errors
def verify(
    file: PackFile,
    *,
    key: LogKey = None,
    previous: Annotated[Path | None, typer.Option("--previous", help="An older pack to compare.")] = None,
    witness: Witnesses = None,
    policy: PolicyFile = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option("--certificate", help="Erasure certificate that has to be of this log; repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a pack offline: every signature, leaf, record, chain and status; exit code 1 on a fault."""
    try:
        asked = policy_of(witness or (), policy)
        certificates = [each.read_bytes().decode() for each in certificate or ()]
    except (ValueError, OSError) as error:
        raise InvalidInput(f"No witnesses or no certificate: {printable(error)}.") from None
    try:
        with progress_bar("verifying") as progress:
            result = verify_pack(
                file,
                vkey=key_of(key),
                previous=previous,
                policy=asked,
                certificates=certificates,
                progress=progress,
            )
        result = _with_own_copy_compared(file, verify_parquet(file, result))
    except Fault as fault:
        document = {
            "verified": False,
            "check": fault.check,
            "where": printable(fault.where),
            "index": fault.index,
            "fault": printable(fault.message),
        }
        at = "" if fault.index is None else f" (entry {fault.index})"
        text = f"NOT VERIFIED: {fault.check}: {document['where']}{at}: {document['fault']}"
        answer(document, as_json=as_json, text=text)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        complaints.print(f"Cannot read {file}: {error.strerror}.", highlight=False, markup=False)
        raise typer.Exit(UNUSABLE) from None
    answer(result, as_json=as_json, text=_text(result))


@app.command("receipt")
@reporting_errors
def verify_one(
    file: Annotated[Path, typer.Argument(help="Receipt as JSON-LD, Kantara JSON, text, HTML or PDF.")],
    *,
    key: LogKey = None,
    witness: Witnesses = None,
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a receipt offline: signature, place in the log, decision and words; exit code 1 on a fault."""
    try:
        text = receipt_text(file.read_bytes())
        result = verify_receipt(text, vkey=key_of(key), policy=policy_of(witness or (), policy))
    except Fault as fault:
        document = {"verified": False, "check": fault.check, "fault": printable(fault.message)}
        answer(document, as_json=as_json, text=f"NOT VERIFIED: {fault.check}: {document['fault']}")
        raise typer.Exit(FAILED) from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"Cannot read {file} or an option: {printable(error)}.") from None
    said = ", ".join(f"{purpose} {choice}" for purpose, choice in result["choices"].items())
    text = f"Verified: entry {result['index']} of {printable(result['origin'])}: {said}"
    answer(result, as_json=as_json, text=text)


def _with_own_copy_compared(file: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return the result with a remark where the verifier in the pack is not the one that ran."""
    ours = files("consent_service.verifier").joinpath("verify.py").read_bytes()
    with Pack(file) as pack:
        if "verify.py" not in pack.members or pack.read("verify.py", _LARGEST_MANIFEST) == ours:
            return result
    remark = "The verify.py in the pack is not this program: of another version, or changed."
    return {**result, "remarks": [*result["remarks"], remark]}


def _text(result: dict[str, Any]) -> str:
    checked = ", ".join(f"{count} {what}" for what, count in result["checked"].items())
    lines = [
        f"Verified: entries {result['from']} to {result['size']} of {printable(result['origin'])}",
        f"root {result['root']}",
        f"key {printable(result['vkey'])}",
        checked,
        *(f"Note: {printable(remark)}" for remark in result["remarks"]),
    ]
    return "\n".join(lines)


def _size(since: str | None) -> int | None:
    """Return the size of the last pack, given as a number or as the pack itself."""
    if since is None or since.isdigit():
        return None if since is None else int(since)
    try:
        with Pack(Path(since)) as pack:
            size = json.loads(pack.read("manifest.json", _LARGEST_MANIFEST))["to"]
    except (OSError, Fault, ValueError, KeyError, TypeError):
        raise InvalidInput("--since is the last pack or its size.") from None
    if not isinstance(size, int):
        raise InvalidInput("--since is the last pack or its size.")
    return size
