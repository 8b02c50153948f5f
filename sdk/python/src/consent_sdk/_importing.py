"""Imports on threads of our own, which no fork may find half done: a child could never use such a module."""

from __future__ import annotations

import os
from _thread import allocate_lock

_LONGEST_S = 10.0


class _Importing:
    """Held while a thread imports; a fork waits until nobody does."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._pid = os.getpid()
        self._waited_for = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for imports under way; not for ever, for one may wait for the thread that forks."""
        self._waited_for = self._lock.acquire(timeout=_LONGEST_S)

    def after_fork_in_parent(self) -> None:
        """Let imports go on."""
        if self._waited_for:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew, once."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = allocate_lock()


IMPORTING = _Importing()
