"""Cases for certificates of erasures: with a subject, without, and those that must not open."""

from dataclasses import replace
from datetime import UTC, datetime

from consent_service.domain.subject import SubjectRef
from consent_service.ledger.certificate import ErasureCertificate
from consent_service.ledger.entry import commitment
from consent_service.ledger.note import sign_note
from consent_service.ledger.record import ErasureRecord
from tests.vectors.signed_cases import LOG, OLD_LOG, ORIGIN, Case, a_seed

_GOOD = ErasureCertificate(
    origin=ORIGIN,
    index=7,
    subject=None,
    opening=a_seed("opening of an erasure"),
    record=ErasureRecord(
        destroyed={"records": 3, "subjects": 1, "key_grants": 2, "values": 0},
        recorded_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    ),
)


def certificate_vectors() -> list[Case]:
    """Certificates with what they say of index, subject and commitment, for a vkey and an origin."""
    record = replace(_GOOD.record, evidence_until=datetime(2031, 11, 21, 12, tzinfo=UTC))
    text = _GOOD.sign(LOG).rpartition("\n\n")[0] + "\n"
    lines = text.split("\n")
    changed = {
        "another log": [lines[0], "consent.example/other", *lines[2:]],
        "another format": ["consent-erasure/v2", *lines[1:]],
        "an index with a sign": [*lines[:2], "+7", *lines[3:]],
        "an index with a zero before it": [*lines[:2], "07", *lines[3:]],
        "no index": [*lines[:2], "", *lines[3:]],
        "a short opening": [*lines[:4], "AAAA", *lines[5:]],
        "an opening in another spelling": [*lines[:4], lines[4].rstrip("="), *lines[5:]],
        "a record with spaces": [*lines[:5], lines[5].replace(":", ": "), *lines[6:]],
        "a record of another kind": [*lines[:5], lines[5].replace("erasure", "notice"), *lines[6:]],
        "a line more": [*lines[:6], "more", *lines[6:]],
        "a line less": [*lines[:4], *lines[5:]],
    }
    good = _GOOD.sign(LOG)
    return [
        _case("nobody in particular", good, _GOOD),
        *(
            _case(name, each.sign(LOG), each)
            for name, each in {
                "a subject": replace(_GOOD, subject=SubjectRef("s_Zm9yZ290dGVu")),
                "with sealed evidence": replace(_GOOD, record=record),
                "the first entry": replace(_GOOD, index=0),
            }.items()
        ),
        *(_case(name, sign_note("\n".join(each), LOG).decode()) for name, each in changed.items()),
        _case("another key", _GOOD.sign(OLD_LOG)),
        _case("a changed count", good.replace('"records":3', '"records":4')),
        _case("no signature", text),
        _case("nothing", ""),
    ]


def _case(name: str, certificate: str, says: ErasureCertificate | None = None) -> Case:
    return {
        "name": name,
        "certificate": certificate,
        "vkey": LOG.vkey,
        "origin": ORIGIN,
        "valid": says is not None,
        "index": None if says is None else says.index,
        "subject": None if says is None else says.subject,
        "commitment": None if says is None else commitment(says.opening, says.record.encode()).hex(),
    }
