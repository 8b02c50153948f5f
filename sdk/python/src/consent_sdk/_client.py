"""What both clients are: a gatekeeper, a reporter of uses, and everything that needs no waiting."""

from __future__ import annotations

from consent_sdk._asking import Asking, environment
from consent_sdk._clock import Clock
from consent_sdk.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, TypeVar

    from consent_sdk._gatekeeper import Options, Status
    from consent_sdk._transport import HttpTransport
    from consent_sdk.verdict import Verdict

    Listener = TypeVar("Listener", bound=Callable[[str | None], object])
    StateListener = TypeVar("StateListener", bound=Callable[[str], object])

_STREAMS = frozenset({"sse", "off"})


class Client:
    """The part of `ConsentClient` and `AsyncConsentClient` that is the same. Not made by itself."""

    def __init__(self, http: HttpTransport, options: Options, *, strict: bool) -> None:
        from consent_sdk._gatekeeper import Gatekeeper  # noqa: PLC0415  # with the first client
        from consent_sdk._uses import UseReporter  # noqa: PLC0415  # as above

        self._asking = Asking(strict=strict)
        self._keeper = Gatekeeper(http, self._asking, options)
        self._uses = UseReporter(http, self._asking, timeout=options.timeout)
        self._keeper.also_after_fork(self._uses.after_fork)
        self._options = options
        # What the hot path looks at, one step away.
        self._now = options.clock.monotonic
        self._lease = self._keeper.copy.lease
        self._columns = self._keeper.copy.columns
        self._limits = self._keeper.copy.conclusions.limits
        self._recent = self._keeper.copy.conclusions.recent
        self._recall = self._keeper.copy.recall

    @classmethod
    def from_env(cls) -> Self:
        """Return a client configured by `CONSENT_URL`, `CONSENT_API_KEY` and the optional variables.

        Raises `ConfigurationError` for a missing or unreadable one.
        """
        return cls(**environment())  # type: ignore[arg-type]  # a subclass's arguments

    def report_use(self, subject: str, purpose: str, *, feature: str) -> None:
        """Report, in the background, that a feature used the subject's data now: the subject can see it."""
        self._uses.report(subject, purpose, feature)

    def on_change(self, listener: Listener) -> Listener:
        """Call `listener` with the subject whenever consents change, with None when anybody's may have.

        So that a shop can purge what it cached. It is told of the subjects that this process asked about,
        on the thread that follows the stream, which waits: be quick. Returns the listener, so it can be a
        decorator.
        """
        self._keeper.listen(listener)
        return listener

    def _known(self, subject: str, purpose: str) -> Verdict | None:
        """Return the verdict that follows from the copy at once."""
        if self._now() < self._lease.sure:
            try:
                recent = self._recent[purpose].get(subject)
            except Exception:  # noqa: BLE001  # no subject, no purpose, whatever their hashes do
                recent = None
            if recent is not None:
                return recent
        return self._recall(subject, purpose)

    def on_state(self, listener: StateListener) -> StateListener:
        """Call `listener` with live, stale, not_ready or refused (the key is) as the stream comes and goes.

        On the thread that follows the stream. Returns the listener, so it can be a decorator.
        """
        self._keeper.listen_state(listener)
        return listener

    @property
    def healthy(self) -> bool:
        """Whether decisions rest on a live copy: what a readiness probe should ask."""
        return self._keeper.healthy

    @property
    def status(self) -> Status:
        """How this client stands."""
        return self._keeper.status

    def __reduce__(self) -> NoReturn:
        """Say why no client is copied, or sent to another process: its threads and connections stay here."""
        name = type(self).__name__
        raise TypeError(f"A {name} cannot be copied or pickled: make one in each process, as by from_env().")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status.state}>"


def some_options(stream: str, clock: Clock | None, **values: object) -> Options:
    """Return checked options; raise `ConfigurationError`."""
    from consent_sdk._gatekeeper import Options  # noqa: PLC0415  # with the first client

    relay = None
    if stream.startswith(("nats://", "tls://")):
        from consent_sdk._relay import NatsAddress  # noqa: PLC0415  # an extra's

        relay = NatsAddress(stream)
    elif stream not in _STREAMS:
        raise ConfigurationError("stream must be sse, off, or the address of NATS: nats://… or tls://….")
    return Options(follow=stream != "off", relay=relay, clock=clock or Clock(), **values)
