"""Keeps the house: sweeps what closed long ago, ends what is over, empties the write-ahead log.

What is over: epochs, and every hour a rotation of root or blind-index keys whose process was killed.
"""

import threading
import time
from itertools import count

from consent_service.errors import ConsentToolkitError
from consent_service.observability import KEEPER_RUNS, SWEPT, logger
from consent_service.operations.rotate_blind_index import finish_blind_index
from consent_service.operations.rotate_keys import end_due_epochs, finish_root
from consent_service.operations.service import ConsentService
from consent_service.operations.sweep_vault import sweep_vault

_INTERVAL_S = 60.0
_ROUNDS = 60
"""Rounds of which the first does what would be too much every minute."""
_LOCK = "keeper"


class Keeper:
    """A thread that does the chores every minute; of several processes on one database one does them.

    What fails (the keystore is down, the database is away) is logged and done the next time.
    """

    def __init__(self, service: ConsentService, *, interval: float = _INTERVAL_S) -> None:
        self._service = service
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the chore at hand, then stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rounds = count()
        while not self._stop.wait(self._interval):
            try:
                keep_house(self._service, hourly=next(rounds) % _ROUNDS == 0)
            except ConsentToolkitError as error:
                KEEPER_RUNS.labels("failed").inc()
                logger.warning("keeper", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001  # a bug of ours must not end all housekeeping
                KEEPER_RUNS.labels("failed").inc()
                logger.error("keeper", error=type(error).__name__, exc_info=error)


def keep_house(service: ConsentService, *, hourly: bool = True) -> bool:
    """Do every chore once, those of every hour with `hourly`; return whether it was our turn.

    Raises what the database or keystore says, and `SealBroken` as `finish_blind_index` does.
    """
    deployment = service.deployment
    with deployment.database.exclusively(_LOCK, wait=False) as held:
        if not held:
            return False
        started = time.perf_counter()
        deleted = 0
        for tenant in deployment.open_tenants():
            swept = sweep_vault(deployment, tenant)
            deleted += swept.rows
        SWEPT.inc(deleted)
        try:
            ended = end_due_epochs(deployment, service.committer)
        finally:  # Whatever the keystore says, what was deleted leaves the write-ahead log.
            deployment.database.truncate_wal()
        if (
            hourly
        ):  # A subject whose sealed id is damaged would be met again every minute; keystores are asked.
            if roots := finish_root(deployment, service.committer):
                logger.info("keys", finished="root", tenants=roots)
            finish_blind_index(deployment, service.committer)
        KEEPER_RUNS.labels("done").inc()
        seconds = round(time.perf_counter() - started, 3)
        logger.debug("keeper", deleted=deleted, epochs=ended, seconds=seconds)
    return True
