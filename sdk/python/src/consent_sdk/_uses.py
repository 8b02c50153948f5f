"""Report uses in the background, in batches: what a feature does must not wait for its book-keeping."""

from __future__ import annotations

from threading import Event, Lock, Thread

from consent_sdk._profile import use_of, uses_request
from consent_sdk._transport import Unreachable
from consent_sdk.errors import InvalidSubject
from consent_sdk.protocol import TRY_AGAIN, encode_subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from consent_sdk._asking import Asking
    from consent_sdk._profile import Use
    from consent_sdk._transport import HttpTransport

_MOST_WAITING = 10_000
_BATCH = 1000
_EVERY_S = 1.0
_GOOD = 300


class UseReporter:
    """Counts uses and sends them each second, from a thread that the first use starts.

    What waits is bounded: past 10,000 kinds of uses further ones are lost, which is said once.
    """

    def __init__(self, http: HttpTransport, asking: Asking, *, timeout: float) -> None:
        self._http = http
        self._asking = asking
        self._timeout = timeout
        self.after_fork()

    def after_fork(self) -> None:
        """Begin empty: the parent reports what was waiting."""
        self._waiting: dict[Use, int] = {}
        self._lock = Lock()
        self._sending = Lock()
        self._wake = Event()
        self._thread: Thread | None = None
        self._closed = False

    def report(self, subject: str, purpose: str, feature: str) -> None:
        """Count a use."""
        try:
            encode_subject(subject)
        except InvalidSubject:
            if self._asking.strict:
                raise
            return
        use = use_of(subject, purpose, feature)
        if use is None:
            return
        with self._lock:
            self._count(use, 1)
            if self._thread is None and not self._closed:
                thread = Thread(target=self._run, name="consent-uses", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread is to be had: the next use tries again
                    self._asking.say_once("thread of uses", "No thread could be started to report uses.")
                    return
                self._thread = thread

    def flush(self) -> bool:
        """Send what waits; return whether everything was taken."""
        with self._sending:
            while batch := self._next():
                if not self._send(batch):
                    with self._lock:
                        for use, times in batch.items():
                            self._count(use, times)
                    return False
            return True

    def close(self) -> None:
        """Send what waits, once, and end the thread."""
        self._closed = True
        self._wake.set()
        self.flush()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_EVERY_S)
            self.flush()

    def _count(self, use: Use, times: int) -> None:
        if use in self._waiting or len(self._waiting) < _MOST_WAITING:
            self._waiting[use] = self._waiting.get(use, 0) + times
        else:
            self._asking.say_once(
                "uses", "Uses are reported faster than the service takes them: some are lost."
            )

    def _next(self) -> dict[Use, int]:
        with self._lock:
            return dict(self._waiting.popitem() for _ in range(min(_BATCH, len(self._waiting))))

    def _send(self, batch: dict[Use, int]) -> bool:
        """Return whether the batch is done with: taken, or refused for good (which is said once)."""
        try:
            answer = self._http.send(uses_request(batch), timeout=self._timeout)
        except Unreachable as error:
            self._asking.unanswered(error)
            return False
        if answer.status >= _GOOD and answer.status not in TRY_AGAIN:
            self._asking.say_once("refused", "The service refused a report of uses (%s).", str(answer.status))
        return answer.status not in TRY_AGAIN
