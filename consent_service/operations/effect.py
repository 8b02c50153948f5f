"""What a decision leaves of a subject's state: for those without entries who decide alike, found out once.

An import job sends one decision for hundreds of new subjects. It is checked, applied and spelled for the
first of them; for the others it leaves the same, at another index.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring

from consent_service.domain.consent import Consent, DecisionEntry, SubjectState, apply
from consent_service.domain.purpose import Purpose, PurposeKey
from consent_service.ledger.record import DecisionForm, Outcome, format_time
from consent_service.operations.key_moves import FirstGrant, first_grants
from consent_service.operations.notice_book import PublishedNotice
from consent_service.storage.subject_store import StateForm


class Effect:
    """What a decision that may be recorded leaves of a state, as the entry at some index.

    Of the state of somebody without entries it leaves the same at any other index.
    """

    __slots__ = ("_answer", "_decision", "_grants", "_index", "_state_form", "form", "published", "state")

    def __init__(self, published: PublishedNotice, before: SubjectState, entry: DecisionEntry) -> None:
        decision = entry.decision
        self.published = published
        self.state = apply(before, entry)
        outcomes = outcomes_of(self.state, decision.choices)
        self.form = DecisionForm.of(decision, outcomes, entry.recorded_at)
        self._answer = _answer_text(entry.recorded_at, outcomes)
        self._decision = decision
        self._index = entry.index
        self._grants: Sequence[FirstGrant] | None = None
        self._state_form: StateForm | None = None

    def answer(self, index: int) -> str:
        """Return the JSON of the answer to the entry at `index`."""
        return f'{{"index":{index},{self._answer}'

    @property
    def moved(self) -> Mapping[PurposeKey, Purpose]:
        """The purposes that rest on this entry now."""
        consents, purposes = self.state.consents, self.published.notice.purposes
        return {key: purposes[key] for key in self._decision.choices if consents[key].index == self._index}

    def first_state(self, index: int) -> tuple[SubjectState, StateForm | None]:
        """Return what a first decision leaves as the entry at `index`; its form pays from the second on."""
        if index == self._index:
            return self.state, None
        if self._state_form is None:
            self._state_form = StateForm.of(self.state)
        return _resting_on(self.state, index), self._state_form

    def first_grants(self) -> Sequence[FirstGrant]:
        """Return the key grants that follow from a first decision."""
        if self._grants is None:
            self._grants = first_grants(self.state, self.published.notice.purposes)
        return self._grants


def outcomes_of(state: SubjectState, purposes: Mapping[PurposeKey, object]) -> dict[PurposeKey, Outcome]:
    """Return status and validity of these purposes as `state` has them."""
    consents = state.consents
    return {key: Outcome(consents[key].status, consents[key].valid_until) for key in purposes}


def _resting_on(state: SubjectState, index: int) -> SubjectState:
    return SubjectState(
        consents={
            key: Consent(status, version, since, decided_at, valid_until, index, gpc, by_signal)
            for key, (status, version, since, decided_at, valid_until, _, gpc, by_signal) in (
                state.consents.items()
            )
        }
    )


def _answer_text(recorded_at: datetime, outcomes: Mapping[PurposeKey, Outcome]) -> str:
    consents = ",".join([f"{encode_basestring(key)}:{outcome.text()}" for key, outcome in outcomes.items()])
    return f'"recorded_at":"{format_time(recorded_at)}","consents":{{{consents}}}}}'
