"""`consent ledger follow`: watch a ledger from the outside, for ever, and raise the alarm."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from consent_service.cli.output import FAILED, AsJson, answer, complaints, reporting_errors
from consent_service.errors import InvalidInput, LogMisbehaved
from consent_service.operations.follow_log import LogMonitor
from consent_service.verifier.verify import Policy, policy_of, printable

_TIMEOUT_S = 15.0
_LARGEST_ANSWER = 1 << 20
_TOKEN_VARIABLE = "CONSENT_API_KEY"  # noqa: S105  # the name of a variable


@reporting_errors
def follow(
    url: Annotated[str, typer.Argument(help="The service, such as https://consent.shop.example.")],
    *,
    key: Annotated[str, typer.Option("--key", help="The log's key: name+id+base64.")],
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between looks.")] = 60.0,
    looks: Annotated[int | None, typer.Option("--looks", min=1, help="Stop after this many.")] = None,
    max_age: Annotated[
        float | None, typer.Option("--max-age", help="Seconds without an entry that are a fault.")
    ] = None,
    max_rate: Annotated[
        float | None, typer.Option("--max-rate", help="Entries a second between looks that are a fault.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Witnesses whose quorum has to follow (C2SP tlog-policy).")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="File that remembers what was seen.")] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="Address to POST a fault to.")] = None,
    proof: Annotated[Path, typer.Option("--proof", help="Where a proof of misbehaviour is written.")] = Path(
        "misbehaviour.txt"
    ),
    as_json: AsJson = False,
) -> None:
    """Watch a ledger: signature, consistency, freshness, rate, witnesses. A fault ends it with an alarm.

    With --looks the exit code is 1 also where the last look did not reach the log: nothing was checked.
    A log that is not public is read with the auditor's key in CONSENT_API_KEY.
    """
    for address in filter(None, (url, webhook)):
        if not address.startswith(("http://", "https://")):
            raise InvalidInput("An address begins with https:// or http://.")
    monitor = LogMonitor(lambda path: _get(url.rstrip("/") + path), key, state=state)
    try:
        asked = policy_of((), policy)
    except (ValueError, OSError) as error:
        raise InvalidInput(f"--policy names no witnesses: {printable(error)}.") from None
    limits = _Limits(max_age=max_age, max_rate=max_rate)
    waiting, done, reached = threading.Event(), 0, True
    try:
        while looks is None or done < looks:
            if done:
                waiting.wait(every)
            done += 1
            reached = _look(monitor, limits, asked, as_json=as_json)
    except LogMisbehaved as fault:
        kept = None if fault.proof is None else _kept(proof, fault.proof)
        document = {"fault": printable(fault), "log": key.partition("+")[0], "proof": kept}
        answer(document, as_json=as_json, text=f"FAULT: {document['fault']}")
        if webhook is not None:
            _post(webhook, document)
        raise typer.Exit(FAILED) from None
    if not reached:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What is a fault: seconds without an entry, entries a second."""

    max_age: float | None
    max_rate: float | None


def _look(monitor: LogMonitor, limits: _Limits, policy: Policy | None, *, as_json: bool) -> bool:
    """Say what is seen; return whether the log could be reached."""
    before, now = monitor.seen, time.time()
    cosigned = None
    try:
        seen = monitor.look(now, max_age=limits.max_age, max_rate=limits.max_rate)
        if policy is not None:
            cosigned = monitor.look_witnessed(policy, now, max_age=limits.max_age).checkpoint.size
    except OSError as error:
        complaints.print(f"The log could not be reached: {printable(error)}", highlight=False, markup=False)
        monitor.require_fresh(now, limits.max_age)
        return False
    grown = seen.checkpoint.size - (before.checkpoint.size if before else seen.checkpoint.size)
    seconds = max(1e-9, seen.first_seen - before.first_seen) if before and grown else 1.0
    document = {
        "size": seen.checkpoint.size,
        "new": grown,
        "per_second": round(grown / seconds, 3),
        "cosigned_size": cosigned,
    }
    witnessed = "" if cosigned is None else f", witnessed up to {cosigned}"
    text = f"{document['size']} entries, {grown} new, consistent{witnessed}"
    answer(document, as_json=as_json, text=text)
    return True


def _kept(path: Path, proof: bytes) -> str | None:
    """Return where a proof of misbehaviour is; without room for it the alarm is raised all the same."""
    try:
        path.write_bytes(proof)
    except OSError as error:
        complaints.print(f"The proof could not be kept: {printable(error)}", highlight=False, markup=False)
        return None
    return str(path)


def _get(url: str) -> bytes:
    token = os.environ.get(_TOKEN_VARIABLE)
    return asyncio.run(_ask("GET", url, headers={"Authorization": f"Bearer {token}"} if token else {}))


def _post(url: str, document: dict[str, str | None]) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        asyncio.run(_ask("POST", url, headers=headers, body=json.dumps(document).encode()))
    except OSError as error:
        complaints.print(f"The webhook failed: {printable(error)}", highlight=False, markup=False)


async def _ask(method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """Return what an address answers, all of it and in time; raise OSError for anything else."""
    answer = bytearray()
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True) as client,
            client.stream(
                method, url, headers={**headers, "Accept-Encoding": "identity"}, content=body
            ) as answered,
        ):
            if not answered.is_success:
                raise OSError(f"it answered {answered.status_code}")
            async for piece in answered.aiter_raw():
                answer += piece
                if len(answer) > _LARGEST_ANSWER:
                    raise OSError("its answer is too long")
    except TimeoutError:
        raise OSError(f"no whole answer in {_TIMEOUT_S:.0f} seconds") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    return bytes(answer)
