"""`consent audit scan`: many packs at once, by their Parquet views."""

import tempfile
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from consent_service.cli.output import (
    FAILED,
    UNUSABLE,
    AsJson,
    answer,
    complaints,
    key_of,
    progress_bar,
    reporting_errors,
)
from consent_service.operations.scan_packs import Engine, Scan, ScannedPack, scan_packs
from consent_service.operations.scan_with_duckdb import DuckdbEngine
from consent_service.operations.scan_with_spark import SparkEngine
from consent_service.verifier.verify import printable


class EngineName(StrEnum):
    """What hashes and counts."""

    DUCKDB = "duckdb"
    SPARK = "spark"


_ENGINES: dict[EngineName, Callable[[], Engine]] = {
    EngineName.DUCKDB: DuckdbEngine,
    EngineName.SPARK: SparkEngine,
}


@reporting_errors
def scan(
    packs: Annotated[list[Path], typer.Argument(help="Audit packs, of one log or of many.")],
    *,
    engine: Annotated[
        EngineName, typer.Option(help="DuckDB on this machine, or Apache Spark on many (needs Java).")
    ] = EngineName.DUCKDB,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="A log's key as you know it, or a file; repeatable.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", help="Folder for the unpacked views; with Spark, one that every machine sees."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fold the trees of many packs and count what people chose; exit code 1 when a pack has a fault."""
    running = _ENGINES[engine]()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="consent-scan-", dir=work) as folder,
            progress_bar("scanning") as progress,
        ):
            found = scan_packs(
                packs,
                running,
                folder=Path(folder),
                vkeys=[key_of(each) or "" for each in key or ()],
                progress=progress,
            )
    except OSError as error:
        complaints.print(
            f"Cannot read {printable(error.filename)}: {error.strerror}.", highlight=False, markup=False
        )
        raise typer.Exit(UNUSABLE) from None
    finally:
        running.close()
    answer(_document(found, engine), as_json=as_json, text=_text(found))
    if not found.verified:
        raise typer.Exit(FAILED)


def _document(found: Scan, engine: EngineName) -> dict[str, Any]:
    outcomes = [
        {
            "origin": found.packs[each.pack].origin,
            "purpose": each.purpose,
            "status": each.status,
            "month": each.month,
            "count": each.count,
        }
        for each in found.outcomes
    ]
    packs = [_pack(pack) for pack in found.packs]
    return {"verified": found.verified, "engine": engine.value, "packs": packs, "outcomes": outcomes}


def _pack(pack: ScannedPack) -> dict[str, Any]:
    if pack.fault is not None:
        fault = pack.fault
        return {
            "file": str(pack.file),
            "verified": False,
            "origin": printable(pack.origin),
            "check": fault.check,
            "where": printable(fault.where),
            "index": fault.index,
            "fault": printable(fault.message),
        }
    return {
        "file": str(pack.file),
        "verified": True,
        "origin": pack.origin,
        "key_pinned": pack.key_pinned,
        "from": pack.first,
        "size": pack.size,
        "root": pack.root,
    }


def _text(found: Scan) -> str:
    lines = [f"{printable(pack.file)}: {_verdict(pack)}" for pack in found.packs]
    counts: Counter[tuple[str, str]] = Counter()
    for each in found.outcomes:
        counts[each.purpose, each.status] += each.count
    lines += [
        f"{printable(purpose)}: {count} {status}" for (purpose, status), count in sorted(counts.items())
    ]
    return "\n".join(lines)


def _verdict(pack: ScannedPack) -> str:
    fault = pack.fault
    if fault is None:
        return f"verified, entries {pack.first} to {pack.size} of {printable(pack.origin)}"
    return f"NOT VERIFIED: {fault.check}: {printable(fault.where)}: {printable(fault.message)}"
