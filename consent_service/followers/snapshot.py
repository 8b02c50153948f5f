"""Where everybody stands at one moment, line by line: how a client that follows the stream begins (ADR 0071).

A snapshot is read from the database once, into a temporary file without a name, and sent from there to
everybody who asks within the next seconds: after a publication or a restart all clients ask at once.
"""

import asyncio
import json
import os
import tempfile
import time
import weakref
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import IO

from consent_service.domain.consent import SubjectState
from consent_service.domain.gate import Verdict, evaluate_key
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.errors import ConsentToolkitError, Unavailable
from consent_service.followers.changes import encode_consents, leaf_name
from consent_service.ledger.merkle import leaf_hash
from consent_service.observability import logger
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant
from consent_service.storage.change_store import read_erased, stream_states
from consent_service.storage.ledger_store import read_head, read_leaves
from consent_service.storage.subject_store import decode_state

SHARED_S = 2.0
"""How long after its beginning a snapshot is given to others who ask."""

_BUFFER = 65_536
_ROWS_AT_ONCE = 100
_REST_S = 0.002
_LOOK_S = 0.01


def snapshot_lines(deployment: Deployment, tenant: Tenant) -> Iterator[bytes]:
    """Yield a header, a line for each subject and an end with their number, from one database snapshot.

    Whoever was erased within a week and has not come back has a line, too: as the stream told of her.
    """
    count = 0
    with deployment.reading(tenant) as scope:
        head = read_head(scope)
        book = deployment.book(scope, head)
        catalogue, now = book.catalogue, deployment.clock()
        last = read_leaves(scope, head.size - 1, head.size)
        header = {
            "head": head.size,
            "leaf": next((leaf_name(leaf_hash(leaf)) for leaf in last), None),
            "notice": None if book.current is None else book.current.digest,
            "purposes": {key: purpose.version for key, purpose in catalogue.purposes.items()},
            "retired": sorted(catalogue.retired),
            "ref_key": b64encode(tenant.reference_key).decode("ascii"),
        }
        yield json.dumps(header, separators=(",", ":")).encode() + b"\n"
        erased = {ref: None for _, ref in read_erased(scope, 0, head.size)}
        for ref, stored in stream_states(scope):
            erased.pop(ref, None)
            state = decode_state(stored)
            verdicts = {key: evaluate_key(key, catalogue, state, now) for key in state.consents}
            count += 1
            yield _line(ref, verdicts)
        every, gone = (*catalogue.purposes, *sorted(catalogue.retired)), SubjectState(erased=True)
        verdicts = {key: evaluate_key(key, catalogue, gone, now) for key in every}
        for ref in erased:
            count += 1
            yield _line(ref, verdicts)
    yield f'{{"end":true,"count":{count}}}\n'.encode()


def _line(ref: SubjectRef, verdicts: Mapping[PurposeKey, Verdict]) -> bytes:
    return f'{{"subject":"{ref}","consents":{encode_consents(verdicts)}}}\n'.encode()


class _Shared:
    """A snapshot that is being written, or was: readers follow the file as it grows."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.done = False
        self.error: ConsentToolkitError | None = None
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=_BUFFER)  # noqa: SIM115  # closed with its last reader
        weakref.finalize(self, self._file.close)

    def write(self, deployment: Deployment, tenant: Tenant) -> None:
        try:
            for number, line in enumerate(snapshot_lines(deployment, tenant)):
                self._file.write(line)
                if number % _ROWS_AT_ONCE == 0:
                    time.sleep(_REST_S)  # Decisions go first: they share this process.
        except ConsentToolkitError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001  # whoever waits for the rest must hear of it
            logger.error("snapshot", error=type(error).__name__, exc_info=error)
            self.error = Unavailable("The snapshot broke off; try again.")
        self._file.flush()
        self.done = True

    async def read(self) -> AsyncGenerator[bytes, None]:
        position = 0
        while True:
            done = self.done
            data = os.pread(self._file.fileno(), _BUFFER, position)
            if data:
                position += len(data)
                yield data
            elif self.error is not None:
                raise self.error
            elif done:
                return
            else:
                await asyncio.sleep(_LOOK_S)


class Snapshots:
    """Gives snapshots; those who ask within two seconds share one."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._shared: dict[int, _Shared] = {}
        self._writing: set[asyncio.Future[None]] = set()

    async def read(self, tenant: Tenant) -> AsyncGenerator[bytes, None]:
        """Yield a snapshot's bytes, never older than two seconds when asked for; raise what went wrong."""
        shared = self._shared.get(tenant.id)
        if shared is None or time.monotonic() - shared.begun > SHARED_S:
            shared = self._shared[tenant.id] = _Shared()
            loop = asyncio.get_running_loop()
            writing = loop.run_in_executor(None, shared.write, self._deployment, tenant)
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
            loop.call_later(SHARED_S, self._expire, tenant.id, shared)
        async with aclosing(shared.read()) as pieces:
            async for piece in pieces:
                yield piece

    def forget(self, tenant_id: int) -> None:
        """Share none that was begun before now: a notice has changed what it says."""
        self._shared.pop(tenant_id, None)

    def _expire(self, tenant_id: int, shared: _Shared) -> None:
        if self._shared.get(tenant_id) is shared:
            del self._shared[tenant_id]
