"""What a relay says on NATS: names, headers, bytes (ADR 0073). No name holds personal data.

    consent.<tenant>.feed.entry   each entry's events as the stream sends them; kept in consent-<tenant>
    consent.<tenant>.feed.head    heads and resets; not kept
    consent.<tenant>.hello        a follower sends a nonce and gets a head with the relay's time

Every message carries a MAC under the tenant's relay key, over its kind and all that it depends on.
"""

import json
from dataclasses import dataclass, field

from consent_service.operations.tenant import Tenant
from consent_service.vault.relay_mac import relay_key, relay_mac

MESSAGE_ID, EXPECTED_LAST = "Nats-Msg-Id", "Nats-Expected-Last-Sequence"
RUN, LEAF, MAC = "Consent-Run", "Consent-Leaf", "Consent-Mac"
LONGEST_NONCE = 64


@dataclass(frozen=True, slots=True)
class Relayed:
    """One tenant's names and key; `run` is the one life of a relay that speaks."""

    tenant: str
    log: str
    run: str
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, tenant: Tenant, run: str) -> "Relayed":
        """Return those of this tenant."""
        return cls(tenant.name, tenant.origin, run, relay_key(tenant.reference_key))

    @property
    def stream(self) -> str:
        """The JetStream stream that keeps the entries: sequence number = index + 1."""
        return f"consent-{self.tenant}"

    @property
    def entries(self) -> str:
        """Where entries are published."""
        return f"consent.{self.tenant}.feed.entry"

    @property
    def heads(self) -> str:
        """Where heads and resets are published."""
        return f"consent.{self.tenant}.feed.head"

    @property
    def hello(self) -> str:
        """Where followers ask."""
        return f"consent.{self.tenant}.hello"

    def may_answer(self, reply: str) -> bool:
        """Whether a follower of this tenant may want its answer there: nowhere else can it be sent."""
        return reply.startswith(f"consent.{self.tenant}.inbox.")

    def entry_headers(self, index: int, events: bytes, leaf: bytes) -> dict[str, str]:
        """Return the headers of an entry: JetStream takes it only as the next one, and only once.

        `leaf` is the hash of its leaf.
        """
        return {
            MESSAGE_ID: f"{self.log}/{index}",
            EXPECTED_LAST: str(index),
            RUN: self.run,
            LEAF: leaf.hex(),
            MAC: relay_mac(self._key, b"entry", self.log.encode(), events),
        }

    def head_headers(self, event: bytes) -> dict[str, str]:
        """Return the headers of a head or a reset."""
        return {
            RUN: self.run,
            MAC: relay_mac(self._key, b"head", self.log.encode(), self.run.encode(), event),
        }

    def hello_headers(self, nonce: bytes, event: bytes) -> dict[str, str]:
        """Return the headers of the answer to the follower that sent this nonce."""
        return {MAC: relay_mac(self._key, b"hello", self.log.encode(), nonce, event)}

    def hello_event(self, index: int, *, at: float, now: float, history: str) -> bytes:
        """Return a head that says whose it is: at `now` seconds of the run it was known since `at`."""
        body = {"index": index, "at": round(at, 3), "now": round(now, 3), "run": self.run, "history": history}
        return f"event: head\ndata: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
