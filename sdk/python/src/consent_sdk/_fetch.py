"""Ask the service about a subject that the copy does not know: once, however many threads wait."""

from __future__ import annotations

from threading import Event, Lock, Thread

from consent_sdk._transport import Unreachable
from consent_sdk.protocol import Malformed, gate_request, read_gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from queue import SimpleQueue

    from consent_sdk._asking import Asking
    from consent_sdk._clock import Clock
    from consent_sdk._copy import LocalCopy
    from consent_sdk._transport import HttpTransport
    from consent_sdk.verdict import Verdict

_MOST_WORKERS = 8
_ATTEMPTS = 3


class Flight:
    """One question under way. `verdicts` is None until the service answered, and when it did not.

    `began` is when the service was asked, in monotonic seconds: its answer may be as old as that.
    """

    __slots__ = ("_done", "_listeners", "began", "kept", "purposes", "subject", "verdicts")

    def __init__(self, subject: str, purposes: tuple[str, ...]) -> None:
        self.subject = subject
        self.purposes = purposes
        self.verdicts: Mapping[str, Verdict] | None = None
        self.began = 0.0
        self.kept = False
        self._done = Event()
        self._listeners: list[Callable[[], object]] = []

    @property
    def landed(self) -> bool:
        """Whether this has ended."""
        return self._done.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it came in time."""
        return self._done.wait(seconds)

    def when_done(self, listener: Callable[[], object]) -> None:
        """Call `listener` from another thread at the end, or at once if that was before."""
        self._listeners.append(listener)
        if self._done.is_set():
            listener()

    def land(self) -> None:
        """Tell everybody who waits."""
        self._done.set()
        for listener in self._listeners:
            listener()


class Fetcher:
    """A few threads, started when needed, that fetch rows into the copy."""

    def __init__(
        self, copy: LocalCopy, http: HttpTransport, asking: Asking, *, clock: Clock, timeout: float
    ) -> None:
        self._copy = copy
        self._clock = clock
        self._http = http
        self._asking = asking
        self._timeout = timeout
        self.after_fork()

    def after_fork(self) -> None:
        """Begin without threads and flights: those of the parent are not here."""
        from queue import SimpleQueue  # noqa: PLC0415  # too slow to import with the package

        self._lock = Lock()
        self._flights: dict[str, Flight] = {}
        self._queue: SimpleQueue[Flight | None] = SimpleQueue()
        self._workers = 0
        self._idle = 0

    def ask(self, subject: str, purpose: str) -> Flight:
        """Return the flight that asks about this subject, a new one unless one is under way."""
        with self._lock:
            flight = self._flights.get(subject)
            if flight is not None and purpose in flight.purposes:
                return flight
            purposes = tuple(self._copy.columns)
            if purpose not in purposes:
                purposes = (*purposes, purpose)
            flight = self._flights[subject] = Flight(subject, purposes)
            if self._idle > self._queue.qsize() or self._workers >= _MOST_WORKERS:
                self._queue.put(flight)
                return flight
            self._workers += 1
        try:
            Thread(target=self._work, args=(self._queue, flight), name="consent-fetch", daemon=True).start()
        except RuntimeError:  # no thread is to be had, as at the interpreter's end
            self._asking.say_once("thread", "No thread could be started to ask the consent service: denied.")
            with self._lock:
                self._workers = max(0, self._workers - 1)
            self._land(flight)
        return flight

    def forget(self, subject: str) -> None:
        """Let nobody who asks from now on wait for an answer that was asked for before."""
        with self._lock:
            self._flights.pop(subject, None)

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        with self._lock:
            workers, self._workers, self._idle = self._workers, 0, 0
        for _ in range(workers):
            self._queue.put(None)

    def _work(self, queue: SimpleQueue[Flight | None], first: Flight) -> None:
        flight: Flight | None = first
        while flight is not None:
            try:
                self._fly(flight)
            except Exception as error:  # noqa: BLE001  # whatever it is, others wait for this thread
                kind = type(error).__name__
                self._asking.say_once(f"fetch {kind}", "The consent service could not be asked (%s).", kind)
            finally:
                self._land(flight)
            with self._lock:
                self._idle += 1
            flight = queue.get()
            with self._lock:
                self._idle = max(0, self._idle - 1)

    def _land(self, flight: Flight) -> None:
        self._board_no_more(flight)
        flight.land()

    def _fly(self, flight: Flight) -> None:
        for _ in range(_ATTEMPTS):
            ticket, answer = self._copy.begin_fetch(), None
            flight.began = self._clock.monotonic()
            try:
                request = gate_request(flight.subject, flight.purposes)
                answer = read_gate(self._http.send(request, timeout=self._timeout))
            except (Unreachable, Malformed) as error:
                self._asking.unanswered(error)
            finally:
                self._board_no_more(flight)
                flight.kept = ticket is not None and self._copy.end_fetch(ticket, flight.subject, answer)
            if answer is None:
                return
            if ticket is None or flight.kept:
                flight.verdicts = answer.verdicts
                return

    def _board_no_more(self, flight: Flight) -> None:
        """Let who asks from now on ask anew: what the service said may be older than the question."""
        with self._lock:
            if self._flights.get(flight.subject) is flight:
                del self._flights[flight.subject]
