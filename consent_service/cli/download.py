"""Fetch an audit pack from a service, and go on after whatever broke the download off."""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2

from consent_service.errors import InvalidInput, Unavailable

_TIMEOUT_S = 600.0  # the service makes the part anew that is here already before it sends the rest
_ATTEMPTS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)|bytes \*/(\d+)", re.ASCII)
_STRONG = re.compile(r'"[!#-~]+"', re.ASCII)
_TOKEN_VARIABLE = "CONSENT_API_KEY"  # noqa: S105  # the name of a variable

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file to fetch: from an address with parameters and headers, into `out`.

    Until it is whole it is `out`.part, and `out`.part.tag says of which pack.
    """

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    out: Path

    def fetch(self, progress: Progress) -> int:
        """Fetch the file and return its size; what is here of it already is not fetched again.

        Raises `InvalidInput` where the service refuses, `Unavailable` where it does not answer.
        """
        part, tag = self._beside(".part"), self._beside(".part.tag")
        with httpx2.Client(timeout=httpx2.Timeout(30.0, read=_TIMEOUT_S)) as client:
            for attempt in range(_ATTEMPTS):
                try:
                    self._once(client, part, tag, progress)
                    break
                except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
                    raise InvalidInput("--url is the service's address, such as https://host.") from None
                except (httpx2.TransportError, _Busy) as error:
                    if attempt == _ATTEMPTS - 1:
                        raise Unavailable(
                            f"The download broke off ({type(error).__name__}): run it again to go on."
                        ) from None
                    time.sleep(2.0**attempt / 4)
        size = part.stat().st_size
        part.replace(self.out)
        tag.unlink(missing_ok=True)
        return size

    def _beside(self, ending: str) -> Path:
        return self.out.with_name(self.out.name + ending)

    def _once(self, client: httpx2.Client, part: Path, tag: Path, progress: Progress) -> None:
        headers, have = {**self.headers, "Accept-Encoding": "identity"}, 0
        if os.environ.get(_TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {os.environ[_TOKEN_VARIABLE]}"
        held = _strong(tag.read_text(encoding="latin-1")) if part.exists() and tag.exists() else ""
        if held:
            have = part.stat().st_size
            headers |= {"Range": f"bytes={have}-", "If-Range": held}
        with client.stream("GET", self.url, params=dict(self.params), headers=headers) as answer:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            if answer.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE and found and found[3]:
                if int(found[3]) == have:
                    return  # it was whole, and only its name was missing
                part.unlink()
                raise _Busy
            if answer.status_code in {httpx2.codes.SERVICE_UNAVAILABLE, httpx2.codes.CONFLICT}:
                raise _Busy
            if answer.status_code == httpx2.codes.PARTIAL_CONTENT and found and int(found[1] or -1) == have:
                self._append(answer, part, progress, int(found[2]))
            elif answer.status_code == httpx2.codes.OK:
                part.unlink(missing_ok=True)
                tag.write_text(_strong(answer.headers.get("etag", "")), encoding="ascii")
                self._append(answer, part, progress, None)
            else:
                raise InvalidInput(f"The service answers {answer.status_code} to this export.")

    def _append(self, answer: httpx2.Response, part: Path, progress: Progress, total: int | None) -> None:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)  # an old part may have been somebody else's idea
        with os.fdopen(descriptor, "ab") as file:
            for piece in answer.iter_raw():
                file.write(piece)
                progress(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())


def _strong(tag: str) -> str:
    """Return an entity tag by which a download can go on (RFC 9110, section 8.8.3), nothing for another."""
    return tag if _STRONG.fullmatch(tag) else ""


class _Busy(Exception):
    """Ask again in a moment."""
