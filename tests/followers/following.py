"""A follower of the stream as anybody would write one, and a shop whose service runs in other processes."""

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2
from pydantic import SecretStr

from consent_service.domain.notice import Notice
from consent_service.operations.manage_tenants import Role, create_api_key, require_tenant
from consent_service.operations.publish_notice import PublishNotice
from consent_service.operations.service import ConsentService
from consent_service.operations.tenant import Tenant
from consent_service.settings import Settings
from tests.builders import a_notice
from tests.servers import PLAIN, ConsentServer, wait_until


class Event(NamedTuple):
    """One event as it came."""

    name: str
    id: int | None
    data: dict[str, Any]
    raw: bytes


class Following:
    """One connection to the stream. `patience` is how many seconds it waits for bytes."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        after: object = None,
        leaf: str | None = None,
        patience: float = 20.0,
        receive_buffer: int | None = None,
        path: str = "/v1/stream",
    ) -> None:
        address = httpx2.URL(url)
        self._socket = socket.socket()
        self._socket.settimeout(patience)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect((address.host, address.port))
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.sock = self._socket
        headers = {"Authorization": f"Bearer {key}"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        if leaf is not None:
            headers["Consent-Leaf"] = leaf
        connection.request("GET", path, headers=headers)
        self.response = connection.getresponse()

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.response.status

    def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        name, event_id, data, raw = "message", None, b"", b""
        while True:
            line = self.response.readline()
            if not line:
                return None
            raw += line
            field, _, value = line.rstrip(b"\n").partition(b": ")
            if field == b"event":
                name = value.decode()
            elif field == b"id":
                event_id = int(value)
            elif field == b"data":
                data = value
            elif not line.strip() and data:
                return Event(name, event_id, json.loads(data), raw)

    def until(self, name: str, **data: object) -> list[Event]:
        """All events up to one of this name with this data."""
        events = []
        while (event := self.next()) is not None:
            events.append(event)
            if event.name == name and data.items() <= event.data.items():
                return events
        raise AssertionError(f"the stream ended before {name} {data}: {events[-3:]}")

    def changes_until(self, index: int) -> list[Event]:
        """The changes up to the entry at `index`."""
        events: list[Event] = []
        while not events or events[-1].id != index:
            event = self.next()
            assert event is not None, f"the stream ended before entry {index}"
            events.append(event)
        return [event for event in events if event.name == "change"]

    def rest(self) -> list[Event]:
        """All events to the end of the stream, however it ends."""
        events = []
        with suppress(ConnectionError, http.client.IncompleteRead):
            while (event := self.next()) is not None:
                events.append(event)
        return events

    def close(self) -> None:
        """Hang up."""
        self.response.close()  # It holds the socket open.
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Place:
    """A database, with this process as one of those that serve it: others are started by `serve`."""

    def __init__(self, database_url: str, home: Path) -> None:
        self.home = home
        self._servers = 0
        self._key_ids: dict[str, int] = {}
        self.database_url = database_url
        self.service = ConsentService.open(Settings(home=home / "home", database_url=SecretStr(database_url)))
        self.key = self.new_key()
        self.notice = ""
        self.publish(a_notice())

    @property
    def tenant(self) -> Tenant:
        """The default tenant."""
        return require_tenant(self.service.deployment, "default")

    def new_key(self, role: Role = Role.BACKEND) -> str:
        """A fresh key."""
        created = create_api_key(self.service.deployment, self.tenant, role)
        self._key_ids[created.key] = created.id
        return created.key

    def key_id(self, key: str) -> int:
        """The number of a key."""
        return self._key_ids[key]

    def publish(self, notice: Notice) -> int:
        """Publish a notice and return its index."""
        published: Any = self.service.committer.submit_blocking(self.tenant, PublishNotice(notice=notice))
        self.notice = published.digest
        index: int = published.index
        return index

    def serve(
        self, *options: str, database_url: str | None = None, port: int | None = None, **settings: object
    ) -> ConsentServer:
        """Start a service process on this database; `settings` become CONSENT_ variables."""
        self._servers += 1
        logs = self.home / f"server-{self._servers}"
        logs.mkdir()
        variables = {f"CONSENT_{name.upper()}": str(value) for name, value in settings.items()}
        variables["CONSENT_KEY_FILE"] = str(self.home / "home" / "root.key")
        return ConsentServer(
            home=logs,
            database_url=database_url or self.database_url,
            options=options,
            port=port,
            environment=variables,
        )

    def follow(self, server: ConsentServer, after: object = None, **options: Any) -> Following:
        """Follow the stream of a server."""
        return Following(server.url, options.pop("key", self.key), after=after, **options)

    def decide(self, server: ConsentServer, subject: str, choices: Mapping[str, str]) -> int:
        """Record a decision at a server and return its index."""
        answer = self.post(server, "/v1/decisions", self.decision(choices), subject)
        assert answer.status_code == 201, answer.text
        index: int = answer.json()["index"]
        return index

    def decide_many(self, server: ConsentServer, subjects: Sequence[str], choices: Mapping[str, str]) -> int:
        """Record a decision of each subject and return the index of the last."""
        lines = [json.dumps({"subject": name, **self.decision(choices)}) for name in subjects]
        last = -1
        for start in range(0, len(lines), 1000):
            answer = httpx2.post(
                f"{server.url}/v1/decisions/batch",
                content="\n".join(lines[start : start + 1000]),
                headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-ndjson"},
                timeout=60,
                verify=PLAIN,
            )
            assert answer.status_code in {200, 201}, answer.text
            last = json.loads(answer.text.strip().splitlines()[-1])["index"]
        return last

    def decision(self, choices: Mapping[str, str]) -> dict[str, object]:
        """The body of a decision."""
        return {
            "notice": self.notice,
            "choices": dict(choices),
            "method": "save",
            "source": "banner",
            "language": "en",
        }

    def post(
        self, server: ConsentServer, path: str, body: object, subject: str | None = None
    ) -> httpx2.Response:
        """Send a request as the backend."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if subject is not None:
            headers["Consent-Subject"] = subject
        return httpx2.post(f"{server.url}{path}", json=body, headers=headers, timeout=20, verify=PLAIN)

    def reference(self, server: ConsentServer, subject: str) -> str:
        """What the stream calls a subject."""
        reference: str = self.post(server, "/v1/gate", {"purposes": ["coupons"]}, subject).json()["subject"]
        return reference

    def metric(self, server: ConsentServer, name: str) -> float:
        """The sum of a metric's samples."""
        lines = httpx2.get(f"{server.url}/metrics", timeout=10, verify=PLAIN).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def wait_for_metric(self, server: ConsentServer, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        wait_until(lambda: self.metric(server, name) == value, what=f"{name} to be {value:g}")

    def close(self) -> None:
        """Stop this process's service."""
        self.service.close()
