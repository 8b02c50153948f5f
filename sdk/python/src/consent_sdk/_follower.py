"""Follow the stream on a thread of its own, for ever, whatever the network does."""

from __future__ import annotations

from threading import Event, Lock, Thread, current_thread
from time import monotonic

from consent_sdk._asking import chance
from consent_sdk._sse import BadStream, EventReader
from consent_sdk._stream import read_event, read_header, read_row, snapshot_request, stream_request
from consent_sdk.protocol import OK, Answer, Malformed, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx2

    from consent_sdk._asking import Asking
    from consent_sdk._clock import Clock
    from consent_sdk._copy import LocalCopy
    from consent_sdk._stream import State
    from consent_sdk._transport import HttpTransport

_SHORTEST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.8
_LONGEST_ASKED_PAUSE_S = 30.0
_STEADY_S = 5.0
_CONNECT_S = 2.0
_SNAPSHOT_READ_S = 10.0
_NOT_FOUND = 404
_NO_ACCESS = frozenset({401, 403})


class Intake:
    """What a connection's bytes do to the copy; shared with the fake."""

    def __init__(self, copy: LocalCopy, notify: Callable[[list[str | None]], None], *, opened: float) -> None:
        self._copy = copy
        self._notify = notify
        self._opened = opened
        self._reader = EventReader()

    def take(self, chunk: bytes, *, received: float) -> bool:
        """Apply one read; return whether to read on. Raises `BadStream` and `Malformed`."""
        said = [message for event in self._reader.feed(chunk) if (message := read_event(event)) is not None]
        if not said:
            return True
        follows, touched = self._copy.take(said, received=received, opened=self._opened)
        if touched:
            self._notify(touched)
        return follows


class Follower:
    """The thread. It ends only when it is told to, and is started again when it is found dead.

    `tried` says that the first connection has come to its end, `absent` that the service has no stream,
    `refused` that it did not take the key.
    """

    def __init__(
        self,
        copy: LocalCopy,
        http: HttpTransport,
        asking: Asking,
        clock: Clock,
        notify: Callable[[list[str | None]], None],
        tell_state: Callable[[], None],
    ) -> None:
        self._tell_state = tell_state
        self._copy = copy
        self._http = http
        self._asking = asking
        self._clock = clock
        self._notify = notify
        self.silence = 3.0
        self.after_fork()

    def after_fork(self) -> None:
        """Begin without a thread: the parent's is not here."""
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None
        self._response: httpx2.Response | None = None
        self.ready = Event()
        self.connections = 0
        self.tried = False
        self.absent = False
        self.refused = False

    def ensure(self) -> None:
        """Start the thread unless it runs or was stopped."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = Thread(target=self._run, args=(self._stop,), name="consent-stream", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it, a moment at most."""
        self._stop.set()
        thread, response = self._thread, self._response
        if response is not None:
            _hang_up(response)
        if thread is not None and thread is not current_thread():
            thread.join(2.0)

    def _run(self, stop: Event) -> None:
        failures = 0
        while not stop.is_set():
            began, asked = self._clock.monotonic(), None
            try:
                asked = self._follow()
            except (BadStream, Malformed) as error:
                self._asking.unanswered(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, only following on helps
                self._asking.say_once(
                    f"stream {type(error).__name__}", "The consent stream broke (%s).", type(error).__name__
                )
            self.tried = True
            failures = 0 if self._clock.monotonic() - began > _STEADY_S else failures + 1
            self._rest(stop, pause(failures, asked))

    def _rest(self, stop: Event, seconds: float) -> None:
        """Wait until the next connection, and tell when the lease ends meanwhile."""
        deadline = monotonic() + seconds
        while not stop.is_set() and (left := deadline - monotonic()) > 0:
            self._tell_state()
            lease = self._copy.lease.until - self._clock.monotonic()
            stop.wait(min(left, lease + 0.001) if lease > 0 else left)
        self._tell_state()

    def _follow(self) -> float | None:
        """Follow one connection to its end; return the seconds the service asked to stay away, if it did."""
        if self._copy.preload and self._copy.cursor is None:
            asked = self._load()
            if self._copy.cursor is None:
                return asked
        opened = self._clock.monotonic()
        self.connections += 1
        with self._http.open(
            stream_request(self._copy.cursor), connect=_CONNECT_S, read=self.silence
        ) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != OK or kind != "text/event-stream":
                return self._refused(response)
            self._note_time(response)
            self.refused = False
            self._response = response
            try:
                intake = Intake(self._copy, self._notify, opened=opened)
                for chunk in response.iter_raw():
                    follows = intake.take(chunk, received=self._clock.monotonic())
                    if self._copy.live:
                        self.ready.set()
                    self._tell_state()
                    if self._stop.is_set() or not follows:
                        break
            finally:
                self._response = None
        return None

    def _load(self) -> float | None:
        """Load a snapshot; return the seconds the service asked to stay away, if it did."""
        with self._http.open(snapshot_request(), connect=_CONNECT_S, read=_SNAPSHOT_READ_S) as response:
            if response.status_code != OK:
                return self._refused(response)
            self._note_time(response)
            lines = response.iter_bytes()
            pieces = _lines(lines)
            header = read_header(next(pieces, b""))
            self._copy.load(header, _rows(pieces), ref_function(header.ref_key))
        return None

    def _refused(self, response: httpx2.Response) -> float | None:
        self.absent = response.status_code == _NOT_FOUND
        self.refused = response.status_code in _NO_ACCESS
        self._asking.unanswered(Malformed(f"status {response.status_code} where a stream was asked for"))
        return retry_after(
            Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, b"")
        )

    def _note_time(self, response: httpx2.Response) -> None:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415  # too slow to import with the package

        try:
            date = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return
        if date.tzinfo is not None:
            self._copy.service_time(date.timestamp())


def pause(failures: int, asked: float | None) -> float:
    """Return the seconds until the next connection: full jitter, and at least what the service asked for.

    The longest pause stays under the three seconds within which a client is to be back after an outage.
    """
    ceiling = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * (2 << min(failures, 16)))
    jitter = _SHORTEST_PAUSE_S + (ceiling - _SHORTEST_PAUSE_S) * chance()
    return jitter if asked is None else min(asked, _LONGEST_ASKED_PAUSE_S) + jitter


def ref_function(key: bytes) -> Callable[[str], str]:
    """Return the function that gives the opaque ref of an external id, as the service does."""
    import hmac  # noqa: PLC0415  # only preloading needs it
    from base64 import urlsafe_b64encode  # noqa: PLC0415  # as above

    def ref_of(external_id: str) -> str:
        message = _REF_LABEL + external_id.encode("utf-8", "surrogatepass")
        return "s_" + urlsafe_b64encode(hmac.digest(key, message, "sha256")[:_REF_SIZE]).decode()

    return ref_of


_REF_LABEL = b"consent/v1/subject-ref\x00"
_REF_SIZE = 18
_LONGEST_LINE = 65_536


def _rows(lines: Iterator[bytes]) -> Iterator[tuple[str, Mapping[str, State]]]:
    """Yield the rows of a snapshot; raise `Malformed` unless it is complete."""
    for count, line in enumerate(lines):
        row = read_row(line)
        if not isinstance(row, int):
            yield row
        elif row == count:
            return
        else:
            raise Malformed("a snapshot with rows missing")
    raise Malformed("a snapshot without its end")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            raise Malformed("a line without an end")


def _hang_up(response: httpx2.Response) -> None:
    """Wake the thread that reads this response."""
    from socket import SHUT_RDWR, socket  # noqa: PLC0415  # httpx2 imported it already

    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(connection, socket):
        try:
            connection.shutdown(SHUT_RDWR)
        except OSError:
            return
