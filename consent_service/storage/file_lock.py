"""An exclusive lock on a file, waited for until a deadline: flock itself knows no time limit."""

import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType

from consent_service.errors import DatabaseUnavailable


class FileLock:
    """Held inside the `with` block; raises `DatabaseUnavailable` where it is not to be had by then.

    `deadline` is of the monotonic clock. Whoever waits is woken at once: a thread waits in flock, and gives
    the lock back when it comes too late.
    """

    def __init__(self, path: Path, deadline: float) -> None:
        self._path = path
        self._deadline = deadline
        self._descriptor = -1
        self._settling = threading.Lock()
        self._held = threading.Event()
        self._given_up = False

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"its lock file: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()

    def _wait(self) -> None:
        threading.Thread(target=self._wait_in_flock, name="file-lock", daemon=True).start()
        self._held.wait(max(0.0, self._deadline - time.monotonic()))
        with self._settling:
            if not self._held.is_set():
                self._given_up = True
                raise DatabaseUnavailable("another process is writing")

    def _wait_in_flock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._settling:
            if self._given_up:
                os.close(self._descriptor)
            else:
                self._held.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)  # Closing the descriptor gives the lock back.
