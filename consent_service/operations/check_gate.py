"""Answer gates: many callers' questions, one query, verdicts by the pure `evaluate`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consent_service.domain.gate import Verdict, evaluate_key
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.subject import SubjectRef
from consent_service.operations.coalescer import Coalescer
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import absent_states, look_up
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.ledger_store import read_head
from consent_service.storage.subject_store import decode_state, find_states

_READ_BATCH = 256
_READ_QUEUE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class GateQuestion:
    """May these purposes use this subject's data now? `None` is all there are or were.

    `gpc` is the signal of the request at hand.
    """

    tenant_id: int
    subject: Subject
    purposes: Sequence[PurposeKey] | None
    gpc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """A verdict for each purpose, as of the log at size `head`."""

    tenant_id: int
    ref: SubjectRef
    verdicts: Mapping[PurposeKey, Verdict]
    head: int


class GateReader:
    """Answers gate questions from the projection, never older than the question."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._coalescer: Coalescer[GateQuestion, GateAnswer] = Coalescer(
            "gate-reader", self.answer_all, batch_limit=_READ_BATCH, queue_limit=_READ_QUEUE
        )

    async def ask(self, question: GateQuestion) -> GateAnswer:
        """Return the verdicts; raise `Unavailable` where there is no answer (a caller must then deny)."""
        return await self._coalescer.ask(question)

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._coalescer.close()

    def answer_all(self, questions: Sequence[GateQuestion]) -> list[GateAnswer | Exception]:
        """Return an answer or an exception for each question, by one query a tenant."""
        by_tenant: dict[int, list[int]] = defaultdict(list)
        for position, question in enumerate(questions):
            by_tenant[question.tenant_id].append(position)
        answers: dict[int, GateAnswer | Exception] = {}
        for tenant_id, positions in by_tenant.items():
            try:
                tenant = self._deployment.tenant(tenant_id)
                found = self._answer_tenant(tenant, [questions[position] for position in positions])
                answers.update(zip(positions, found, strict=True))
            except Exception as error:  # noqa: BLE001  # each caller is told, and the others go on
                answers.update(dict.fromkeys(positions, error))
        return [answers[position] for position in range(len(questions))]

    def _answer_tenant(self, tenant: Tenant, questions: Sequence[GateQuestion]) -> list[GateAnswer]:
        with self._deployment.reading(tenant) as scope:
            head = read_head(scope)
            catalogue = self._deployment.book(scope, head).catalogue
            subjects = {question.subject.blind_index: question.subject for question in questions}
            states = look_up(self._deployment, scope, tenant, list(subjects.values()), find_states)
            strangers = [subject for index, subject in subjects.items() if index not in states]
            absent = absent_states(scope, tenant, strangers)
        now = self._deployment.clock()
        every = (*catalogue.purposes, *sorted(catalogue.retired))
        answers = []
        for question in questions:
            known = states.get(question.subject.blind_index)
            ref = tenant.ref(question.subject) if known is None else known[0]
            keys = every if question.purposes is None else question.purposes
            state = absent[question.subject.blind_index] if known is None else decode_state(known[1], keys)
            verdicts = {key: evaluate_key(key, catalogue, state, now, gpc=question.gpc) for key in keys}
            answers.append(GateAnswer(tenant_id=tenant.id, ref=ref, verdicts=verdicts, head=head.size))
        return answers
