"""A small relay, made after docs/reference/relay.md: it says what a live service records, or worse."""

import asyncio
import hmac
import json
import threading
import time
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256

import nats
from live_service import RELAY_KEY, RELAY_LOG, LiveService, ref_of, wait_for
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

HEARTBEAT = 0.1
ENTRY, HEAD, HELLO = "consent.shop.feed.entry", "consent.shop.feed.head", "consent.shop.hello"
STREAM = "consent-shop"


def mac(*parts: bytes) -> str:
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return b64encode(hmac.digest(RELAY_KEY, message, "sha256")).decode()


class LiveRelay:
    """`trouble` is what it does wrong: None, or one of `TROUBLES`. It begins again whenever NATS ends."""

    def __init__(self, service: LiveService, url: str) -> None:
        self.trouble: str | None = None
        self.asked = 0
        self._service = service
        self._url = url
        self._stopped = False
        self._history = "1"
        self._position = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stopped = True
        self._thread.join()

    def start_over(self) -> None:
        """Publish everything anew, as after a restored backup."""
        self._history += "1"
        self.restart()

    def restart(self) -> None:
        """Begin another run."""
        before, self._restart = self._run_id, True
        wait_for(lambda: self._run_id != before)

    def _run(self) -> None:
        while not self._stopped:
            with suppress(NatsError, OSError, TimeoutError):
                asyncio.run(self._work())
            time.sleep(0.05)

    async def _work(self) -> None:
        connection = await nats.connect(self._url, allow_reconnect=False, connect_timeout=1, error_cb=_ignore)
        try:
            await self._relay(connection)
        finally:
            await asyncio.wait({asyncio.ensure_future(connection.close())}, timeout=1)

    async def _relay(self, connection: Client) -> None:
        self._began = time.monotonic()
        self._run_id = sha256(str(self._began).encode()).hexdigest()[:16]
        self._restart = False
        self._position = await self._open(connection.jetstream(timeout=1))
        hailed: asyncio.Queue[Msg] = asyncio.Queue()
        await connection.subscribe(HELLO, cb=hailed.put)
        beat = 0.0
        while not self._stopped and not self._restart and not connection.is_closed:
            at = time.monotonic()
            for index in range(self._position, len(self._service.entries)):
                await self._publish(connection, index)
            self._position = len(self._service.entries)
            if self.trouble != "silent":
                while not hailed.empty():
                    await self._answer(connection, hailed.get_nowait(), at)
                if at >= beat:
                    await self._beat(connection, at)
                    beat = at + HEARTBEAT
            await asyncio.sleep(0.005)

    async def _open(self, jetstream: JetStreamContext) -> int:
        with suppress(NotFoundError):
            found = await jetstream.stream_info(STREAM)
            if (found.config.metadata or {}).get("history") == self._history:
                return found.state.last_seq
            await jetstream.delete_stream(STREAM)
        metadata = {"history": self._history}
        await jetstream.add_stream(name=STREAM, subjects=[ENTRY], allow_direct=True, metadata=metadata)
        return 0

    async def _publish(self, connection: Client, index: int) -> None:
        subject, states = self._service.entries[index]
        body = json.dumps({"subject": ref_of(subject), "consents": states})
        event = f"id: {index}\nevent: change\ndata: {body}\n\n".encode()
        if self.trouble == "lossy":
            return
        times = 2 if self.trouble == "repeating" else 1
        for _ in range(times):
            await self._send(connection, ENTRY, event, mac(b"entry", RELAY_LOG.encode(), event))
        if self.trouble == "reordering" and index:
            subject, states = self._service.entries[index - 1]
            body = json.dumps({"subject": ref_of(subject), "consents": states})
            event = f"id: {index - 1}\nevent: change\ndata: {body}\n\n".encode()
            await self._send(connection, ENTRY, event, mac(b"entry", RELAY_LOG.encode(), event))

    async def _beat(self, connection: Client, at: float) -> None:
        made = at - self._began - (60 if self.trouble == "late" else 0)
        head = f'event: head\ndata: {{"index":{self._position - 1},"at":{made:.3f}}}\n\n'.encode()
        if self.trouble == "truncating":
            head = head[:-1]
        log = b"elsewhere" if self.trouble == "another tenant's" else RELAY_LOG.encode()
        proof = mac(b"head", log, self._run_id.encode(), head)
        await self._send(connection, HEAD, head, "AAAA" if self.trouble == "forging" else proof)

    async def _answer(self, connection: Client, message: Msg, at: float) -> None:
        self.asked += 1
        now = time.monotonic() - self._began
        body = {
            "index": self._position - 1,
            "at": at - self._began,
            "now": now + (0 if self.trouble != "late" else 60),
            "run": self._run_id,
            "history": self._history,
        }
        event = f"event: head\ndata: {json.dumps(body)}\n\n".encode()
        if self.trouble == "truncating":
            event = event[:-1]
        nonce = b"another" if self.trouble in ("forging", "another tenant's") else message.data
        proof = mac(b"hello", RELAY_LOG.encode(), nonce, event)
        await connection.publish(message.reply, event, headers={"Consent-Mac": proof})

    async def _send(self, connection: Client, subject: str, event: bytes, proof: str) -> None:
        headers = {"Consent-Run": self._run_id, "Consent-Mac": proof}
        await connection.publish(subject, event, headers=headers)


TROUBLES = ("silent", "truncating", "forging", "another tenant's", "late")


async def _ignore(_error: Exception) -> None:
    return
