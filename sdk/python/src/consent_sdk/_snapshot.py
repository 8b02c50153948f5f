"""Load a copy with where everybody stands, from the service (`GET /v1/snapshot`)."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from consent_sdk._clock import read_date
from consent_sdk._stream import read_header, read_row, snapshot_request
from consent_sdk._transport import TurnedAway
from consent_sdk.protocol import OK, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from consent_sdk._copy import LocalCopy
    from consent_sdk._stream import State
    from consent_sdk._transport import HttpTransport

_READ_S = 10.0
_REF_LABEL = b"consent/v1/subject-ref\x00"
_REF_SIZE = 18
_LONGEST_LINE = 65_536


def load_snapshot(http: HttpTransport, copy: LocalCopy, *, connect: float) -> None:
    """Replace what the copy knows; raise `TurnedAway`, `Malformed` or what httpx2 raises."""
    with http.open(snapshot_request(), connect=connect, read=_READ_S) as response:
        if response.status_code != OK:
            raise TurnedAway(response.status_code, response.headers)
        copy.service_time(read_date(response.headers.get("date", "")))
        pieces = _lines(response.iter_bytes())
        header = read_header(next(pieces, b""))
        copy.load(header, _rows(pieces), ref_function(header.ref_key))


def ref_function(key: bytes) -> Callable[[str], str]:
    """Return the function that gives the opaque ref of an external id, as the service does."""

    def ref_of(external_id: str) -> str:
        message = _REF_LABEL + external_id.encode("utf-8", "surrogatepass")
        return "s_" + urlsafe_b64encode(hmac.digest(key, message, "sha256")[:_REF_SIZE]).decode()

    return ref_of


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
