"""What a client decides with: copy, stream, fetches, listeners, and what a fork does to them."""

from __future__ import annotations

import logging  # noqa: F401  # its hooks around a fork have to be there before ours: see below
import os
import sys
from time import monotonic
from weakref import WeakSet

from consent_sdk._clock import Clock
from consent_sdk._copy import MOST_COLUMNS, LocalCopy
from consent_sdk._fetch import Fetcher
from consent_sdk._follower import Follower
from consent_sdk._frozen import Frozen
from consent_sdk._importing import IMPORTING
from consent_sdk.errors import ConfigurationError, UnknownPurpose
from consent_sdk.protocol import is_purpose
from consent_sdk.verdict import Reason, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from consent_sdk._asking import Asking
    from consent_sdk._fetch import Flight
    from consent_sdk._relay import NatsAddress
    from consent_sdk._source import Source
    from consent_sdk._transport import HttpTransport

_LONGEST_TIME_S = 1e9
"""Far more is more than a socket can wait."""
_LONGEST_WAIT_S = 60.0


class Options(Frozen):
    """How a client follows; times in seconds."""

    __slots__ = (
        "cache_size",
        "clock",
        "follow",
        "max_staleness",
        "miss_timeout",
        "preload",
        "relay",
        "timeout",
    )

    max_staleness: float
    preload: bool
    cache_size: int
    follow: bool
    timeout: float
    miss_timeout: float
    relay: NatsAddress | None
    clock: Clock

    def __init__(self, **values: object) -> None:
        self._init(**values)
        times: tuple[object, ...] = (self.max_staleness, self.timeout, self.miss_timeout)
        if not all(isinstance(each, (int, float)) and 0 <= each <= _LONGEST_TIME_S for each in times):
            raise ConfigurationError("max_staleness, timeout and miss_timeout are seconds, not endless ones.")
        if not self.max_staleness > 0 or not self.cache_size >= 1 or not self.timeout > 0:
            raise ConfigurationError("max_staleness, timeout and cache_size must be positive.")
        if self.preload and not self.follow:
            raise ConfigurationError("A preloaded copy needs the stream.")


class Status(Frozen):
    """How a client stands: for a readiness probe, a metric, a person. Names nobody.

    `state` is live, not_ready, stale, direct (no stream wanted) or closed; `cursor` the last ledger index
    seen; `lease` the seconds for which the copy may still be used; `subjects` how many it holds;
    `connections` how often the stream was opened.
    """

    __slots__ = ("connections", "cursor", "lease", "state", "subjects")

    state: str
    cursor: int | None
    lease: float
    subjects: int
    connections: int

    def __init__(self, **values: object) -> None:
        self._init(**values)


class Gatekeeper:
    """Decides for one client. Nothing here raises but what strict mode asks for."""

    def __init__(self, http: HttpTransport, asking: Asking, options: Options) -> None:
        self.copy = LocalCopy(
            options.clock,
            capacity=options.cache_size,
            max_staleness=options.max_staleness,
            preload=options.preload,
        )
        self.asking = asking
        self.options = options
        self.closed = False
        self._pid = os.getpid()
        self._http = http
        self._listeners: list[Callable[[str | None], object]] = []
        self._state_listeners: list[Callable[[str], object]] = []
        self._after_fork: list[Callable[[], None]] = []
        self.fetcher = Fetcher(self.copy, http, asking, clock=options.clock, timeout=options.timeout)
        self.follower = Follower(self.copy, _source(http, options), asking, self.notify, self.tell_state)

    def start(self) -> None:
        """Begin to follow, unless that is not wanted, or is better left to the processes to come."""
        _ALIVE.add(self)
        if self.options.follow and not _will_fork_unannounced():
            self.follower.ensure()

    def close(self) -> None:
        """Deny from now on, and end the threads."""
        self.closed = True
        self.copy.close()
        self.follower.stop()
        self.fetcher.close()

    def notice_fork(self) -> None:
        """Begin anew after a fork without Python's hooks (uWSGI): called before any lock is taken."""
        if os.getpid() != self._pid:
            self.after_fork()

    def after_fork(self) -> None:
        """Deny at once in a forked child, and begin anew."""
        self._pid = os.getpid()
        IMPORTING.after_fork_in_child()
        self.copy.after_fork()
        self._http.after_fork()
        self.fetcher.after_fork()
        self.follower.after_fork()
        for begin_anew in self._after_fork:
            begin_anew()
        if self.options.follow and not self.closed:
            self.follower.ensure()

    def also_after_fork(self, begin_anew: Callable[[], None]) -> None:
        """Call this in a forked child too."""
        self._after_fork.append(begin_anew)

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait until there is a lease, `timeout` seconds at most; return whether there is."""
        self.notice_fork()
        if self.healthy or self.closed:
            return self.healthy
        if self.options.follow:
            self.follower.ensure()
        deadline = monotonic() + timeout
        while not self.copy.live and (left := deadline - monotonic()) > 0:
            # Set again at every proof, so that what is cleared here too late costs a second at most.
            self.follower.ready.clear()
            self.follower.ready.wait(min(left, _LONGEST_WAIT_S))
        return self.copy.live

    def require_purpose(self, purpose: str) -> None:
        """Raise `UnknownPurpose` for what cannot be the key of a purpose."""
        if not is_purpose(purpose):
            raise UnknownPurpose(purpose)

    def bind(self, purpose: str, slow: Callable[[str, str], Verdict]) -> Callable[[str], bool]:
        """Return the gate of one purpose: the hot path. Raises `UnknownPurpose` for what cannot be one.

        It takes no lock and one look at the clock: (1) a lease; (2) the limit of this subject and purpose;
        (3) what has no answer here goes the `slow` way.
        """
        self.require_purpose(purpose)
        column = self.copy.column(purpose)
        if column is None:
            self.asking.unknown_purpose(purpose)
        lease, limits = self.copy.lease, self.copy.conclusions.limits
        now_at = self.options.clock.monotonic
        place = MOST_COLUMNS if column is None else column

        def gate(subject: str) -> bool:
            now = now_at()
            if now < lease.until:  # (1)
                try:
                    limit = limits[subject][place]  # (2)
                except Exception:  # noqa: BLE001  # nothing known; or no subject, whatever its hash does
                    return slow(subject, purpose).reason is Reason.GRANTED
                if now < limit:
                    return True
                if limit <= 0.0:
                    return False
            return slow(subject, purpose).reason is Reason.GRANTED  # (3)

        return gate

    def decide(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict, waiting for the service where it has to be asked, a moment at most."""
        answer = self.conclude(subject, purpose)
        if isinstance(answer, Verdict):
            return answer
        answer.wait(self.options.miss_timeout)
        return self.landed(answer, purpose)

    def conclude(self, subject: str, purpose: str) -> Verdict | Flight:
        """Return the verdict, or the flight to wait for."""
        self.notice_fork()
        misuse = self.asking.refuse_misuse(subject, purpose)
        if misuse is not None:
            return misuse
        verdict = self.copy.verdict(subject, purpose)
        if verdict is None:
            return self.fetcher.ask(subject, purpose)
        if verdict.reason in (Reason.STALE, Reason.NOT_READY):
            if self.closed:
                return Verdict.of(Reason.UNAVAILABLE)
            self.follower.ensure()
            if verdict.reason is Reason.NOT_READY and not self.options.preload:
                return self.fetcher.ask(subject, purpose)
        return self._judged(verdict, purpose)

    async def decide_async(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict as `decide` does, without holding up the event loop."""
        answer = self.conclude(subject, purpose)
        if isinstance(answer, Verdict):
            return answer
        await _landing(answer, self.options.miss_timeout)
        return self.landed(answer, purpose)

    def decide_at_once(self, subject: str, purpose: str) -> Verdict:
        """Return the verdict without waiting; who is not known yet is denied, and asked about meanwhile."""
        answer = self.conclude(subject, purpose)
        if isinstance(answer, Verdict):
            return answer
        self.asking.say_once(
            "at once", "A gate was asked, without waiting, about a subject not known yet: denied. Await it."
        )
        return self.landed(answer, purpose)

    def landed(self, flight: Flight, purpose: str) -> Verdict:
        """Return the verdict at the end of a flight, or of the wait for it: what came too late denies."""
        if self.closed:
            return Verdict.of(Reason.UNAVAILABLE)
        verdict = self.copy.verdict(flight.subject, purpose, again=False) if flight.kept else None
        fresh = self.options.clock.monotonic() - flight.began < self.options.max_staleness
        if verdict is None and flight.verdicts is not None and fresh:
            verdict = flight.verdicts.get(purpose)
        if verdict is None:
            asked_in_vain = self.copy.live or flight.landed
            return Verdict.of(Reason.UNAVAILABLE) if asked_in_vain else self.copy.closed
        return self._judged(verdict, purpose)

    def expect(self, subject: str, index: int) -> None:
        """Believe nothing older than a decision that this client recorded: entry `index`."""
        self.copy.expect(subject, index)
        self.fetcher.forget(subject)

    def notify(self, touched: list[str | None]) -> None:
        """Tell the listeners whose consents changed."""
        for listener in tuple(self._listeners):
            for subject in touched:
                try:
                    listener(subject)
                except Exception as error:  # noqa: BLE001  # a shop's mistake must not end the stream
                    kind = type(error).__name__
                    self.asking.say_once(f"listener {kind}", "A listener to changes raised %s.", kind)

    def listen(self, listener: Callable[[str | None], object]) -> None:
        """Call `listener` at every change from now on."""
        self._listeners.append(listener)

    def listen_state(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the state whenever the follower looks at it."""
        self._state_listeners.append(listener)

    def tell_state(self) -> None:
        """Tell the listeners the state as the follower finds it."""
        state = "live" if self.copy.live else self.copy.closed.reason.value
        if state != "live" and self.follower.refused:
            state = "refused"
        for listener in tuple(self._state_listeners):
            try:
                listener(state)
            except Exception as error:  # noqa: BLE001  # as above
                kind = type(error).__name__
                self.asking.say_once(f"state {kind}", "A listener to states raised %s.", kind)

    @property
    def healthy(self) -> bool:
        """Whether decisions rest on something: a live lease, or none wanted."""
        self.notice_fork()
        return not self.closed and (self.copy.live or not self.options.follow)

    @property
    def status(self) -> Status:
        """Return how this client stands."""
        state = "live" if self.copy.live else self.copy.closed.reason.value
        if self.closed or not self.options.follow:
            state = "closed" if self.closed else "direct"
        return Status(
            state=state,
            cursor=self.copy.cursor,
            lease=max(0.0, self.copy.lease.until - self.options.clock.monotonic()),
            subjects=len(self.copy),
            connections=self.follower.connections,
        )

    def _judged(self, verdict: Verdict, purpose: str) -> Verdict:
        return self.asking.unknown_purpose(purpose) if verdict.reason is Reason.PURPOSE_UNKNOWN else verdict


def _source(http: HttpTransport, options: Options) -> Source:
    # Heartbeats come every second: whoever allows less time than that would hang up on each of them.
    silence = min(3.0, max(1.6, options.max_staleness * 0.6))
    if options.relay is None:
        from consent_sdk._over_http import OverHttp  # noqa: PLC0415  # with the first client

        return OverHttp(http, options.clock, silence=silence)
    from consent_sdk._over_nats import OverNats  # noqa: PLC0415  # an extra's

    return OverNats(options.relay, http, options.clock, silence=silence)


def _will_fork_unannounced() -> bool:
    """Whether this is uWSGI's first process, which forks its workers without waiting for Python's hooks.

    A thread that imports or logs at that moment would leave them its locks, held for ever.
    """
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and not uwsgi.worker_id()


async def _landing(flight: Flight, timeout: float) -> None:  # noqa: ASYNC109  # a wait that ends quietly
    """Wait for a flight, `timeout` seconds at most."""
    from asyncio import get_running_loop, wait  # noqa: PLC0415  # too slow to import with the package

    loop = get_running_loop()
    done = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def tell_from_thread() -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    flight.when_done(tell_from_thread)
    await wait((done,), timeout=timeout)


_ALIVE: WeakSet[Gatekeeper] = WeakSet()


def _after_fork() -> None:
    for gatekeeper in list(_ALIVE):
        gatekeeper.after_fork()


if hasattr(os, "register_at_fork"):
    # A fork takes the lock of `logging` after it has waited for our imports, which log; in the child that
    # lock is made anew before our threads start, which would wait for the old one for ever.
    os.register_at_fork(
        before=IMPORTING.before_fork,
        after_in_parent=IMPORTING.after_fork_in_parent,
        after_in_child=_after_fork,
    )
