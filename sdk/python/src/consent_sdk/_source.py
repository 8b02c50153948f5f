"""Where changes come from, as the follower sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from consent_sdk._importing import IMPORTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from consent_sdk._clock import Clock
    from consent_sdk._copy import LocalCopy
    from consent_sdk._follower import Follower
    from consent_sdk._transport import HttpTransport

CONNECT_S = 2.0


class Source(ABC):
    """What `OverHttp` and `OverNats` are; a connection that is silent for `silence` seconds has ended."""

    def __init__(self, http: HttpTransport, clock: Clock, *, silence: float) -> None:
        self.clock = clock
        self._http = http
        self.silence = silence
        self.after_fork()

    def load(self, copy: LocalCopy) -> None:
        """Load a snapshot, from the service; raise as `load_snapshot`."""
        with IMPORTING:
            from consent_sdk._snapshot import load_snapshot  # noqa: PLC0415  # preloading only

        load_snapshot(self._http, copy, connect=CONNECT_S)

    @abstractmethod
    def follow(self, follower: Follower) -> None:
        """Follow one connection to its end, or raise."""

    @abstractmethod
    def hang_up(self) -> None:
        """Let `follow` return, from another thread."""

    @abstractmethod
    def after_fork(self) -> None:
        """Leave the parent its connection."""
