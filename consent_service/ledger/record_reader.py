"""Reads many records fast: what a decision's record shares with one read before is not read again.

`decode_record` writes every record anew to see that it is canonical. Here a record falls into texts that many
have in common (who acted, the choices, the words, the way) and into clocks, chain and subject. Texts from a
record that `decode_record` accepted mean the same in every other: no string in them hides a quote. What
is not plain ASCII is read the slow way.
"""

import re
from binascii import Error, a2b_base64, b2a_base64
from dataclasses import dataclass
from datetime import datetime

from consent_service.domain.decision import Decision
from consent_service.errors import InvalidEntry
from consent_service.ledger.record import (
    DecisionRecord,
    LinkRecord,
    decode_record,
    outcomes_text,
    parse_time,
)

_TEXT = rb'"[^"\\\x80-\xff]*"'
_MOMENT = rb'"([0-9TZ:.-]+)"'
_DECISION = re.compile(
    rb'(\{"actor":%b,"choices":\{[^{}\\\x80-\xff]*\},"consents":)(\{(?:%b:\{[^{}\\\x80-\xff]*\},?)*\}),"decided_at":%b,'
    rb'("evidence":(?:null|%b),"gpc":[a-z]+,"kind":"decision","language":%b,"method":%b,"notice":%b,"prev":)'
    rb'(?:null|"([A-Za-z0-9+/]{43}=)"),"recorded_at":%b,("source":%b,"subject":)"([A-Za-z0-9_-]+)","v":1\}'
    % (_TEXT, _TEXT, _MOMENT, _TEXT, _TEXT, _TEXT, _TEXT, _MOMENT, _TEXT)
)
_MOST_SHARED = 4096


@dataclass(slots=True, kw_only=True)
class ReadRecord:
    """A record of a subject as it stands: `outcomes` is the text of its consents, compared and not read.

    A decision's record has a `decision`, a link's has whom it `linked`; mutable because there are so many.
    """

    subject: str
    recorded_at: datetime
    prev: bytes | None
    outcomes: str
    decision: Decision | None = None
    linked: str | None = None


class RecordReader:
    """Remembers the texts that records share; `read` takes what `decode_record` takes, and nothing else."""

    def __init__(self) -> None:
        self._shared: dict[tuple[bytes, bytes, bytes], Decision] = {}

    def read(self, data: bytes) -> ReadRecord | None:
        """Return a subject's record, `None` for one about nobody; raise `InvalidEntry` as `decode_record`."""
        match = _DECISION.fullmatch(data)
        if match is None:
            return _read_slowly(data)
        before, outcomes, decided_at, middle, prev, recorded_at, after, subject = match.groups()
        shared = self._shared.get((before, middle, after))
        if shared is None:
            return self._learn(data, (before, middle, after))
        return ReadRecord(
            subject=subject.decode(),
            recorded_at=parse_time(recorded_at.decode()),
            prev=None if prev is None else _commitment(prev),
            outcomes=outcomes.decode(),
            decision=_decided(shared, parse_time(decided_at.decode())),
        )

    def _learn(self, data: bytes, texts: tuple[bytes, bytes, bytes]) -> ReadRecord | None:
        read = _read_slowly(data)
        if read is not None and read.decision is not None:
            if len(self._shared) >= _MOST_SHARED:
                self._shared.clear()
            self._shared[texts] = read.decision
        return read


def _read_slowly(data: bytes) -> ReadRecord | None:
    record = decode_record(data)
    if not isinstance(record, DecisionRecord | LinkRecord):
        return None
    return ReadRecord(
        subject=record.subject,
        recorded_at=record.recorded_at,
        prev=record.prev,
        outcomes=outcomes_text(record.consents),
        decision=record.decision if isinstance(record, DecisionRecord) else None,
        linked=record.linked if isinstance(record, LinkRecord) else None,
    )


def _decided(shared: Decision, decided_at: datetime) -> Decision:
    if shared.decided_at == decided_at:
        return shared
    return Decision(  # replace() takes twice as long.
        notice=shared.notice,
        choices=shared.choices,
        decided_at=decided_at,
        method=shared.method,
        source=shared.source,
        language=shared.language,
        actor=shared.actor,
        gpc=shared.gpc,
        evidence=shared.evidence,
    )


def _commitment(text: bytes) -> bytes:
    try:
        data = a2b_base64(text, strict_mode=True)
    except Error as error:
        raise InvalidEntry("A commitment in a record is not base64.") from error
    if b2a_base64(data, newline=False) != text:
        raise InvalidEntry("A commitment in a record is not in the form that we write.")
    return data
