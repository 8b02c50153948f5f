"""Follow the service's own stream: server-sent events over HTTP."""

from __future__ import annotations

from consent_sdk._source import CONNECT_S, Source
from consent_sdk._stream import stream_request
from consent_sdk._transport import TurnedAway
from consent_sdk.protocol import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    import httpx2

    from consent_sdk._follower import Follower


class OverHttp(Source):
    """Connections to `GET /v1/stream`."""

    _response: httpx2.Response | None

    def follow(self, follower: Follower) -> None:
        """Follow one connection to its end; raise `TurnedAway`, `BadStream`, `Malformed`, httpx2's errors."""
        opened = self.clock.monotonic()
        request = stream_request(follower.cursor, follower.leaf)
        with self._http.open(request, connect=CONNECT_S, read=self.silence) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != OK or kind != "text/event-stream":
                raise TurnedAway(response.status_code, response.headers)
            self._response = response
            try:
                intake = follower.begin(opened, response.headers.get("date", ""))
                for chunk in response.iter_raw():
                    if not intake.take(chunk, received=self.clock.monotonic()):
                        break
            finally:
                self._response = None

    def hang_up(self) -> None:
        """Let `follow` return, from another thread."""
        if self._response is not None:
            _hang_up(self._response)

    def after_fork(self) -> None:
        """Leave the parent its connection."""
        self._response = None


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
