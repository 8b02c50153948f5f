"""Send our checkpoints to the witnesses of the policy, and keep the cosignatures that verify (ADR 0064).

One thread, off the path of every decision, looks at the ledgers every few seconds; of several processes on
one database one sends. A witness is given a few seconds and a few kilobytes; one that fails is left alone for
a while that doubles with every failure.
"""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from consent_service.errors import ConsentToolkitError, InvalidNote
from consent_service.observability import COSIGN_LAG, COSIGN_REQUESTS, COSIGNED_AT, logger
from consent_service.operations.collect_cosignatures import (
    LARGEST_ANSWER,
    Submission,
    add_checkpoint_request,
    checked_cosignature,
    cosigned_size,
    due_submission,
    keep_cosignatures,
)
from consent_service.operations.deployment import Deployment
from consent_service.storage.cosignature_store import StoredCosignature

_LOCK = "witnesses"
_DEADLINE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_MOST_DOUBLINGS = 16


class _Refused(Exception):
    """A witness did not cosign; `outcome` is the word for it."""

    def __init__(self, outcome: str, why: str) -> None:
        self.outcome = outcome
        super().__init__(why)


@dataclass(slots=True, eq=False)
class _Watcher:
    """A witness as we know it: its name in the policy, its key, where it listens, how it does."""

    name: str
    vkey: str
    address: str
    failures: int = 0
    not_before: float = 0.0

    def rest(self, now: float) -> None:
        """Leave it alone for a while, at random so that many logs do not come back at once."""
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        self.not_before = now + pause * random.uniform(0.5, 1.0)  # noqa: S311  # no secret


class Witnesses:
    """A thread that has the ledgers' checkpoints cosigned, if the policy names witnesses with addresses."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._interval = deployment.settings.cosign_seconds
        policy = deployment.policy
        self._watchers = [
            _Watcher(name, vkey, policy.addresses[name].rstrip("/"))
            for name, vkey in (policy.witnesses.items() if policy else ())
            if policy is not None and name in policy.addresses
        ]
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)
        if self._watchers:
            self._thread.start()

    def close(self) -> None:
        """Leave the requests at hand and stop."""
        self._stop.set()
        if self._watchers:
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()
        self._loop.close()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _run(self) -> None:
        while not self._stop.wait(self._interval * random.uniform(0.75, 1.25)):  # noqa: S311  # no secret
            try:
                self._loop.run_until_complete(self._round())
            except asyncio.CancelledError:
                return
            except ConsentToolkitError as error:
                logger.warning("witnesses", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001  # nothing else would send checkpoints from then on
                logger.error("witnesses", error=type(error).__name__, exc_info=error)

    async def _round(self) -> None:
        """Have every ledger's latest checkpoint cosigned, if it is our turn."""
        with self._deployment.database.exclusively(_LOCK, wait=False) as held:
            if not held:
                return
            lags = dict.fromkeys((watcher.name for watcher in self._watchers), 0)
            timeout = httpx2.Timeout(_DEADLINE_S)
            headers = {"Accept-Encoding": "identity", "User-Agent": "consent-service"}
            async with httpx2.AsyncClient(timeout=timeout, headers=headers) as client:
                for tenant in self._deployment.open_tenants():
                    submission = due_submission(self._deployment, tenant)
                    if submission is not None:
                        await self._submit(client, submission, lags)
            for name, lag in lags.items():
                COSIGN_LAG.labels(name).set(lag)

    async def _submit(self, client: httpx2.AsyncClient, submission: Submission, lags: dict[str, int]) -> None:
        """Ask every witness that has not seen this checkpoint, all at once, and keep what is good."""
        sizes = {
            each.name: cosigned_size(self._deployment, submission.tenant, each.vkey)
            for each in self._watchers
        }
        asked = [
            each
            for each in self._watchers
            if sizes[each.name] < submission.size and each.not_before <= time.monotonic()
        ]
        answers = await asyncio.gather(
            *(self._ask(client, submission, each, sizes[each.name]) for each in asked)
        )
        kept = [cosignature for cosignature in answers if cosignature is not None]
        keep_cosignatures(self._deployment, submission.tenant, kept)
        done = {cosignature.vkey for cosignature in kept}
        for each in self._watchers:
            lags[each.name] += 0 if each.vkey in done else submission.size - sizes[each.name]

    async def _ask(
        self, client: httpx2.AsyncClient, submission: Submission, watcher: _Watcher, old_size: int
    ) -> StoredCosignature | None:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                answer = await self._cosigned(client, submission, watcher, old_size)
            now = time.time()
            cosignature = checked_cosignature(submission, watcher.vkey, answer, now)
        except _Refused as error:
            self._failed(watcher, error.outcome, str(error))
        except InvalidNote as error:
            self._failed(watcher, "invalid", str(error))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            self._failed(watcher, "unreachable", type(error).__name__)
        else:
            watcher.failures, watcher.not_before = 0, 0.0
            COSIGN_REQUESTS.labels(watcher.name, "cosigned").inc()
            COSIGNED_AT.labels(watcher.name).set(cosignature.cosigned_at)
            return cosignature
        return None

    def _failed(self, watcher: _Watcher, outcome: str, why: str) -> None:
        watcher.rest(time.monotonic())
        COSIGN_REQUESTS.labels(watcher.name, outcome).inc()
        say = logger.error if outcome == "conflict" else logger.warning
        say("witness", witness=watcher.name, outcome=outcome, why=why, failures=watcher.failures)

    async def _cosigned(
        self, client: httpx2.AsyncClient, submission: Submission, watcher: _Watcher, old_size: int
    ) -> bytes:
        """Return a witness's cosignature lines; once, begin again at the size that it says it saw."""
        status, answer = await self._post(client, submission, watcher, old_size)
        if status == httpx2.codes.CONFLICT:
            seen = _size(answer)
            if seen > submission.size:
                raise _Refused("conflict", f"It saw {seen} entries: more than this ledger has.")
            if seen == old_size:
                raise _Refused("conflict", f"It saw another root at size {seen}.")
            status, answer = await self._post(client, submission, watcher, seen)
        if status != httpx2.codes.OK:
            outcome = "conflict" if status in _CONTRADICTIONS else "refused"
            raise _Refused(outcome, f"It answered {status}.")
        return answer

    async def _post(
        self, client: httpx2.AsyncClient, submission: Submission, watcher: _Watcher, old_size: int
    ) -> tuple[int, bytes]:
        body = add_checkpoint_request(self._deployment, submission, old_size)
        answer = bytearray()
        async with client.stream("POST", f"{watcher.address}/add-checkpoint", content=body) as response:
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > LARGEST_ANSWER:
                    raise _Refused("invalid", "Its answer is too long.")
            return response.status_code, bytes(answer)


_CONTRADICTIONS: Sequence[int] = (httpx2.codes.CONFLICT, httpx2.codes.UNPROCESSABLE_CONTENT)
"""Answers that say: this checkpoint does not continue the one that I cosigned."""


def _size(answer: bytes) -> int:
    text = answer.removesuffix(b"\n")
    if not text.isdigit() or len(text) > 19 or (text[:1] == b"0" and text != b"0"):  # noqa: PLR2004  # below 2^63
        raise _Refused("invalid", "It named no size that it saw.")
    return int(text)
