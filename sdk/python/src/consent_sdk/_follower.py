"""Follow a source of changes on a thread of its own, for ever, whatever the network does."""

from __future__ import annotations

from threading import Event, Lock, Thread, current_thread
from time import monotonic

from consent_sdk._asking import chance
from consent_sdk._clock import read_date
from consent_sdk._intake import Intake
from consent_sdk._sse import BadStream
from consent_sdk._transport import TurnedAway
from consent_sdk.protocol import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from consent_sdk._asking import Asking
    from consent_sdk._copy import LocalCopy
    from consent_sdk._source import Source

_SHORTEST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.8
_LONGEST_ASKED_PAUSE_S = 30.0
_STEADY_S = 5.0
_LONGEST_AWAY_S = 86_400.0
"""Since the last lease ended: the service can say for a week whom an erasure was about, and not after it."""
_NO_ACCESS = frozenset({401, 403})


class Follower:
    """The thread. It ends only when it is told to, and is started again when it is found dead.

    `refused` says that the service did not take the key.
    """

    def __init__(
        self,
        copy: LocalCopy,
        source: Source,
        asking: Asking,
        notify: Callable[[list[str | None]], None],
        tell_state: Callable[[], None],
    ) -> None:
        self._tell_state = tell_state
        self._copy = copy
        self._source = source
        self._asking = asking
        self._clock = source.clock
        self._notify = notify
        self.after_fork()

    def after_fork(self) -> None:
        """Begin without a thread: the parent's is not here."""
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None
        self._source.after_fork()
        self.ready = Event()
        self.connections = 0
        self.refused = False

    def ensure(self) -> None:
        """Start the thread unless it runs or was stopped."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            thread = Thread(target=self._run, args=(self._stop,), name="consent-stream", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is to be had: whoever asks next tries again
                self._asking.say_once("thread", "No thread could be started to follow the consent service.")
                return
            self._thread = thread

    def stop(self) -> None:
        """End the thread and wait for it, a moment at most."""
        self._stop.set()
        thread = self._thread
        self._source.hang_up()
        if thread is not None and thread is not current_thread():
            thread.join(2.0)

    def _run(self, stop: Event) -> None:
        failures = 0
        while not stop.is_set():
            began, asked = self._clock.monotonic(), None
            try:
                self._follow()
            except TurnedAway as answer:
                asked = self._turned_away(answer)
            except (BadStream, Malformed) as error:
                self._asking.unanswered(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, only following on helps
                self._broken(type(error).__name__, stop)
            failures = 0 if self._clock.monotonic() - began > _STEADY_S else failures + 1
            self._rest(stop, pause(failures, asked))

    def _broken(self, kind: str, stop: Event) -> None:
        if not stop.is_set():  # else we hung up ourselves
            self._asking.say_once(f"stream {kind}", "The consent stream broke (%s).", kind)

    def _rest(self, stop: Event, seconds: float) -> None:
        """Wait until the next connection, and tell when the lease ends meanwhile."""
        deadline = monotonic() + seconds
        while not stop.is_set() and (left := deadline - monotonic()) > 0:
            self._tell_state()
            lease = self._copy.lease.until - self._clock.monotonic()
            stop.wait(min(left, lease + 0.001) if lease > 0 else left)
        self._tell_state()

    def _follow(self) -> None:
        ended = self._copy.lease.until
        if 0.0 < ended < self._clock.monotonic() - _LONGEST_AWAY_S:
            self._copy.forget()
        if self._copy.preload and self._copy.cursor is None:
            self._source.load(self._copy)
        self.connections += 1
        self._source.follow(self)

    @property
    def cursor(self) -> int | None:
        """The last entry that the copy saw, None for none."""
        return self._copy.cursor

    @property
    def leaf(self) -> str | None:
        """What tells that entry from another history's, if it is known."""
        return self._copy.leaf

    def begin(self, opened: float, date: str) -> Intake:
        """Return the intake of a connection asked for at `opened`, taken at the service's time `date`."""
        self.refused = False
        self._copy.service_time(read_date(date))
        self._copy.reconnect()
        patience = self._source.silence
        return Intake(self._copy, self._notify, opened=opened, heard=self._heard, patience=patience)

    def _heard(self) -> bool:
        if self._copy.live:
            self.ready.set()
        self._tell_state()
        return not self._stop.is_set()

    def _turned_away(self, answer: TurnedAway) -> float | None:
        """Note why; return the seconds the service asked to stay away, if it did."""
        self.refused = answer.status in _NO_ACCESS
        self._asking.unanswered(Malformed(f"status {answer.status} where a stream was asked for"))
        return answer.retry_after


def pause(failures: int, asked: float | None) -> float:
    """Return the seconds until the next connection: full jitter, and at least what the service asked for.

    The longest pause stays under the three seconds within which a client is to be back after an outage.
    """
    ceiling = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * (2 << min(failures, 16)))
    jitter = _SHORTEST_PAUSE_S + (ceiling - _SHORTEST_PAUSE_S) * chance()
    return jitter if asked is None else min(asked, _LONGEST_ASKED_PAUSE_S) + jitter
