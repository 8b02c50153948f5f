"""The page after an erasure: what went, what stays for a while, and the certificate to take home."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from consent_service.ledger.receipt_forms.wording import wording_for
from consent_service.operations.erase_subject import ErasureAnswer
from consent_service.operations.notice_book import PublishedNotice
from consent_service.web.layout import contact_address, pages
from consent_service.web.words import Words, best_language, direction, words

_COUNTED: Final = {"records": "history", "values": "data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedPage:
    """What the page shows; `origin` names the log, and an epoch lasts `epoch_days`."""

    published: PublishedNotice
    wanted: str
    erasure: ErasureAnswer
    origin: str
    epoch_days: int

    def render(self) -> tuple[str, str]:
        """Return the language taken and the page."""
        notice, record = self.published.notice, self.erasure.record
        language = best_language(self.wanted, notice.languages)
        spoken, (_, labels) = words(language), wording_for(language)
        text = (
            pages()
            .get_template("erased.html")
            .render(
                notice=notice,
                language=language,
                direction=direction(language),
                words=spoken,
                contact=contact_address(notice),
                when=spoken.moment(record.recorded_at),
                stays=what_stays(self.epoch_days, record.evidence_until, spoken),
                places=[
                    (labels.subject, self.erasure.ref),
                    (labels.entry, f"{self.erasure.index}, {self.origin}"),
                ],
                counts=self._counts(spoken),
                proof=labels.proof,
                certificate=self.erasure.certificate,
                file=f"data:text/plain;charset=utf-8,{quote(self.erasure.certificate)}",
            )
        )
        return language, text

    def _counts(self, spoken: Words) -> list[tuple[str, str]]:
        destroyed = self.erasure.record.destroyed
        counts = [(spoken[word], str(destroyed[name])) for name, word in _COUNTED.items()]
        if days := destroyed["days_of_uses"]:
            counts.append((spoken["uses"], spoken.lasting(f"P{days}D")))
        if linked := destroyed["subjects"] - 1:
            counts.append((spoken["linked"], str(linked)))
        return counts


def what_stays(epoch_days: int, sealed_until: datetime | None, spoken: Words) -> list[str]:
    """Return what an erasure leaves for a while: backups until an epoch's end, and proof that is sealed."""
    lines = [spoken.say("copies", time=spoken.lasting(f"P{epoch_days}D"))]
    if sealed_until is not None:
        lines.append(spoken.say("sealed", when=spoken.day(sealed_until)))
    return lines
