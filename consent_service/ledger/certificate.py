"""An erasure certificate: a signed note that says what was destroyed, when, and at which entry.

    consent-erasure/v1
    <origin of the log>
    <index of the entry>
    <opaque reference of the erased subject, or ->
    <opening of the entry, base64>
    <record of the entry, canonical JSON>

The log's key signs it (C2SP signed-note). The leaf at the index commits to opening and record, so its holder
can show that the erasure is in the log. The service keeps no copy: the reference is only in the certificate
that was given to whoever asked. Those in an audit pack are signed anew and name nobody.
"""

import base64
import binascii
from dataclasses import dataclass

from consent_service.domain.subject import SubjectRef
from consent_service.errors import InvalidEntry, InvalidNote
from consent_service.ledger.entry import OPENING_SIZE, Kind, commitment, leaf
from consent_service.ledger.note import NoteSigner, NoteVerifier, open_note, sign_note
from consent_service.ledger.record import ErasureRecord, decode_record

_FORMAT = "consent-erasure/v1"
_LINES = 6
_NOBODY = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCertificate:
    """What an erasure certificate says; `subject` is None where it does not say of whom."""

    origin: str
    index: int
    subject: SubjectRef | None
    opening: bytes
    record: ErasureRecord

    def sign(self, signer: NoteSigner) -> str:
        """Return the signed note."""
        lines = (
            _FORMAT,
            self.origin,
            str(self.index),
            _NOBODY if self.subject is None else self.subject,
            base64.b64encode(self.opening).decode("ascii"),
            self.record.encode().decode(),
        )
        return sign_note("".join(f"{line}\n" for line in lines), signer).decode()

    def leaf(self) -> bytes:
        """Return the leaf that has to be in the log at `index`."""
        return leaf(self.origin, Kind.ERASURE, commitment(self.opening, self.record.encode()))


def open_certificate(certificate: str, verifier: NoteVerifier) -> ErasureCertificate:
    """Return what a certificate says; raise `InvalidNote` unless the log's key signed exactly this form."""
    lines = open_note(certificate.encode(), verifier).split("\n")
    if len(lines) != _LINES + 1 or lines[:2] != [_FORMAT, verifier.name]:
        raise InvalidNote("This is not an erasure certificate, or one of a later version.")
    try:
        opening = base64.b64decode(lines[4], validate=True)
        record = decode_record(lines[5].encode())
        index = int(lines[2])
    except (ValueError, binascii.Error, InvalidEntry) as error:
        raise InvalidNote("An erasure certificate has a line that cannot be read.") from error
    if len(opening) != OPENING_SIZE or not isinstance(record, ErasureRecord) or str(index) != lines[2]:
        raise InvalidNote("An erasure certificate has a line that cannot be read.")
    subject = None if lines[3] == _NOBODY else SubjectRef(lines[3])
    return ErasureCertificate(origin=lines[1], index=index, subject=subject, opening=opening, record=record)
