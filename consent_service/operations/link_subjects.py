"""Link an anonymous subject to a known one: the most protective choice of the two wins."""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.consent import SubjectState, link, unconfirmed
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import LinkRefused
from consent_service.ledger.entry import Kind
from consent_service.ledger.record import LinkRecord
from consent_service.operations.batch import Batch
from consent_service.operations.deployment import Deployment
from consent_service.operations.effect import outcomes_of
from consent_service.operations.look_up import look_up_one
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.subject_store import link_subject


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAnswer:
    """The entry of the link, the state it left, and what only the anonymous side had granted."""

    index: int
    state: SubjectState
    unconfirmed: tuple[PurposeKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSubjects:
    """An anonymous subject, to be linked to the known one she turned out to be."""

    anonymous: Subject
    known: Subject
    actor: str

    @property
    def subjects(self) -> Sequence[Subject]:
        """Both sides."""
        return (self.anonymous, self.known)

    @property
    def idempotency_keys(self) -> Sequence[bytes]:
        """None: linking the same two again is refused, so it happens once."""
        return ()

    def perform(self, batch: Batch) -> LinkAnswer:
        """Append the link; raise `LinkRefused` where the anonymous side decided nothing or one is linked."""
        anonymous = batch.subject(self.anonymous)
        if self.anonymous.external_id == self.known.external_id:
            raise LinkRefused("A subject is not linked to herself.")
        if anonymous is None:
            raise LinkRefused("The anonymous subject decided nothing, so there is nothing to link.")
        if anonymous.linked_to is not None:
            raise LinkRefused("The anonymous subject is linked already.")
        known = batch.require_subject(self.known)
        if known.linked_to is not None:  # Two linked to each other could never be erased.
            raise LinkRefused("The known subject is linked to another one herself: link to that one.")
        before = known.state
        known.stand(link(before, anonymous.state, index=batch.size, recorded_at=batch.now))
        record = LinkRecord(
            subject=known.ref,
            linked=anonymous.ref,
            actor=self.actor,
            consents=outcomes_of(known.state, known.state.consents),
            recorded_at=batch.now,
            prev=known.last_commitment,
        )
        index = batch.append(Kind.LINK, record.encode(), known)
        batch.keys.settle(known.id, known.state)
        anonymous.linked_to = known.id
        link_subject(batch.scope, anonymous=anonymous.id, known=known.id)
        return LinkAnswer(index=index, state=known.state, unconfirmed=unconfirmed(before, anonymous.state))


def is_linked(deployment: Deployment, tenant: Tenant, subject: Subject) -> bool:
    """Return whether a subject is linked to a known one, with whom alone she can be erased."""
    with deployment.reading(tenant) as scope:
        stored = look_up_one(deployment, scope, tenant, subject)
    return stored is not None and stored.linked_to is not None
