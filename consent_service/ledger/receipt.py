"""A receipt: one decision with everything that proves it, for the subject to take home.

`Evidence` is what a verifier needs and nothing else; `Receipt` adds what people and other programs want to
read, in the forms of `receipt_forms`. Both are values: who asks decides the moment and the address.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from consent_service.domain.decision import language_shown
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import Purpose, PurposeKey, Texts
from consent_service.errors import InvalidEntry, InvalidProof
from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.checkpoint import Checkpoint
from consent_service.ledger.entry import Kind, commitment, parse_leaf
from consent_service.ledger.note import NoteVerifier
from consent_service.ledger.proof import TlogProof
from consent_service.ledger.record import DecisionRecord, Outcome, decode_record

EVIDENCE_VERSION = 1
_MEMBERS = frozenset({"v", "origin", "vkey", "index", "leaf", "opening", "record", "notice", "proof"})
_UUID_LABEL = b"consent/receipt-id/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What proves one decision: leaf, opening, record, the notice's words, and a C2SP tlog-proof.

    `vkey` is the key that the log says is its own: a verifier compares it with one from another source.
    """

    origin: str
    vkey: str
    index: int
    leaf: bytes
    opening: bytes
    record: bytes
    notice: bytes
    proof: bytes

    def document(self) -> dict[str, JsonValue]:
        """Return the JSON form; record, notice and leaf are strings, so that their bytes survive."""
        return {
            "v": EVIDENCE_VERSION,
            "origin": self.origin,
            "vkey": self.vkey,
            "index": self.index,
            "leaf": self.leaf.decode(),
            "opening": self.opening.hex(),
            "record": self.record.decode(),
            "notice": self.notice.decode(),
            "proof": self.proof.decode(),
        }

    @classmethod
    def parse(cls, document: JsonValue) -> Self:
        """Return what `document` wrote, unverified; raise `InvalidEntry` for anything else."""
        if not isinstance(document, dict) or document.keys() != _MEMBERS:
            raise InvalidEntry("The evidence of a receipt has other members than we write.")
        index = document["index"]
        texts = {key: value for key, value in document.items() if isinstance(value, str)}
        try:
            if document["v"] != EVIDENCE_VERSION or type(index) is not int:
                raise InvalidEntry("The evidence of a receipt has an unknown version.")
            return cls(
                origin=texts["origin"],
                vkey=texts["vkey"],
                index=index,
                leaf=texts["leaf"].encode(),
                opening=bytes.fromhex(texts["opening"]),
                record=texts["record"].encode(),
                notice=texts["notice"].encode(),
                proof=texts["proof"].encode(),
            )
        except (KeyError, ValueError):
            raise InvalidEntry("The evidence of a receipt is malformed.") from None

    def verify(self, verifier: NoteVerifier) -> Checkpoint:
        """Return the checkpoint that vouches for this decision, checked offline under a trusted key.

        (1) the log's key signed the checkpoint, and the leaf is in the tree under it at the index;
        (2) the leaf commits to this record under this opening;
        (3) the notice's words are those that the record names.

        Raises `InvalidNote`, `InvalidProof` or `InvalidEntry`.
        """
        proof = TlogProof.parse(self.proof)
        if proof.index != self.index:
            raise InvalidProof("The proof is of another entry.")
        checkpoint = proof.verify(self.leaf, verifier, origin=self.origin)  # (1)
        leaf = parse_leaf(self.leaf)
        if leaf.origin != self.origin or leaf.kind is not Kind.DECISION:
            raise InvalidEntry("The leaf is another log's, or not that of a decision.")
        if commitment(self.opening, self.record) != leaf.commitment:  # (2)
            raise InvalidEntry("The leaf does not commit to this record.")
        record = decode_record(self.record)
        words = hashlib.sha256(self.notice).hexdigest()
        if not isinstance(record, DecisionRecord) or record.decision.notice != words:  # (3)
            raise InvalidEntry("The words are not those that the decision was made under.")
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One decision, ready to be shown: `issued_at` is the moment it is asked for.

    `preferences_url` is where a choice is changed; `storage_country` an ISO 3166-1 code, if known.
    """

    evidence: Evidence
    record: DecisionRecord
    notice: Notice
    published_at: datetime
    issued_at: datetime
    preferences_url: str
    storage_country: str | None = None

    @property
    def language(self) -> str:
        """The declared language of the notice in which the words were shown."""
        shown = language_shown(self.record.decision.language, self.notice)
        return shown or self.notice.languages[0]

    def text(self, texts: Texts) -> str:
        """Return one of the notice's texts as it was shown."""
        return texts[self.language]

    def outcomes(self) -> list[tuple[Purpose, Outcome]]:
        """Return the purposes decided about, in the notice's order, with what the decision left behind."""
        outcomes = self.record.consents
        return [(self.notice.purposes[key], outcomes[key]) for key in self.notice.purposes if key in outcomes]

    def identifier(self, purpose: PurposeKey | None = None) -> str:
        """Return the UUID of this receipt, or of its consent record for one purpose.

        A version 4 UUID whose random bits come from the entry's random opening: the same every time, and
        unguessable without it.
        """
        label = _UUID_LABEL + self.evidence.opening + (purpose or "").encode()
        return str(uuid.UUID(bytes=hashlib.sha256(label).digest()[:16], version=4))
