"""Read profiles through one purpose: only its categories, and only while its gate is open."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, islice

from consent_service.domain.consent import SubjectState
from consent_service.domain.gate import Catalogue, evaluate_key
from consent_service.domain.profile import Attributes, FieldKey, ProfileValue, require_possible, wants
from consent_service.domain.purpose import CategoryKey, Purpose, PurposeKey
from consent_service.errors import PurposeClosed
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import absent_states, look_up
from consent_service.operations.tenant import Subject, Tenant
from consent_service.operations.update_profile import source_name
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import find_known
from consent_service.storage.vault_store import (
    PurposeGrant,
    SealedValue,
    ValueRow,
    find_values,
    purpose_grants,
)
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.places import ValuePlaces, value_place, value_tail
from consent_service.vault.seal import SealingKey, open_each, open_sealed
from consent_service.vault.values import decode_value, decode_values

_SUBJECTS_AT_ONCE = 250
"""What two statements read: more would save nothing, and hold more rows in memory before they are opened."""

_GRANTS_AT_ONCE = 64
"""Categories whose opened values are read as JSON in one call: a call costs as much as two values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one purpose may see of one subject; `index` is the ledger entry that allows it."""

    subject_id: int
    attributes: Attributes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileQuestion:
    """Whose profiles, through which purpose; `fields` wants some `category.field` or `category` only."""

    subjects: Sequence[Subject]
    purpose: PurposeKey
    fields: frozenset[str] | None = None
    gpc: bool = False


def read_profiles(
    deployment: Deployment, tenant: Tenant, question: ProfileQuestion
) -> list[Profile | PurposeClosed]:
    """Return a profile for each subject, or why the purpose is closed to her, in the order asked.

    What was derived for another purpose is there only while that one is open, too. Reads one snapshot, so
    that nothing is opened that was withdrawn before. Raises `SealBroken` when stored bytes were changed,
    truncated or moved, and `InvalidProfile` for fields of a category that no notice had; one that this
    purpose does not see, or that has no value, is only absent.
    """
    with deployment.reading(tenant) as scope:
        book = deployment.book(scope)
        if question.fields is not None:
            require_possible(question.fields, book.categories)
        catalogue = book.catalogue
        find = partial(find_known, only=[question.purpose])
        known = look_up(deployment, scope, tenant, question.subjects, find)
        states = {index: state for index, (_, state) in known.items()}
        strangers = [subject for subject in question.subjects if subject.blind_index not in known]
        states |= absent_states(scope, tenant, strangers)
        now = deployment.clock()
        verdicts = [
            evaluate_key(question.purpose, catalogue, states[subject.blind_index], now, gpc=question.gpc)
            for subject in question.subjects
        ]
        named = {
            known[subject.blind_index][0]: subject
            for subject, verdict in zip(question.subjects, verdicts, strict=True)
            if verdict.allowed
        }
        open_ids = [*named]
        opened: dict[int, Attributes] = {}
        for start in range(0, len(open_ids), _SUBJECTS_AT_ONCE):
            some = open_ids[start : start + _SUBJECTS_AT_ONCE]
            sealed = _Sealed(scope, some, catalogue.purposes[question.purpose])
            if sealed.derived:
                whole = look_up(deployment, scope, tenant, [named[i] for i in sealed.derived], find_known)
                sealed.keep_open(dict(whole.values()), catalogue, now, gpc=question.gpc)
            if sealed.foreign_to(tenant.keyring):
                tenant = deployment.refreshed(scope, tenant)
            opened.update(sealed.opened(tenant.keyring, question.fields))
    answers: list[Profile | PurposeClosed] = []
    for subject, verdict in zip(question.subjects, verdicts, strict=True):
        if verdict.index is None or not verdict.allowed:
            answers.append(PurposeClosed(question.purpose, verdict.reason.value))
            continue
        subject_id = known[subject.blind_index][0]
        answers.append(
            Profile(subject_id=subject_id, attributes=opened.get(subject_id, {}), index=verdict.index)
        )
    return answers


class _Sealed:
    """What one purpose holds of some subjects, still sealed."""

    def __init__(self, scope: TenantScope, subject_ids: Sequence[int], purpose: Purpose) -> None:
        self._purpose = purpose.key
        self._values: dict[tuple[int, CategoryKey], list[ValueRow]] = defaultdict(list)
        self.derived: dict[int, set[PurposeKey]] = defaultdict(set)
        """For which other purposes values of which subjects were derived."""
        for value in find_values(scope, subject_ids, purpose.categories):
            self._values[value[:2]].append(value)
            if value[3] and value[3] != purpose.key:
                self.derived[value[0]].add(PurposeKey(value[3]))
        self._grants = [
            grant for grant in purpose_grants(scope, subject_ids, purpose.key) if grant[:2] in self._values
        ]

    def keep_open(
        self, states: Mapping[int, SubjectState], catalogue: Catalogue, now: datetime, *, gpc: bool
    ) -> None:
        """Keep of what was derived for other purposes only that of purposes which are open now."""
        closed = {
            (subject_id, purpose)
            for subject_id, purposes in self.derived.items()
            for purpose in purposes
            if not evaluate_key(purpose, catalogue, states[subject_id], now, gpc=gpc).allowed
        }
        for place, values in self._values.items():
            self._values[place] = [value for value in values if (value[0], value[3]) not in closed]

    def foreign_to(self, keyring: TenantKeyring) -> bool:
        """Whether a key grant is of an epoch that this keyring does not have (yet)."""
        return any(version > keyring.version for _, _, version, _ in self._grants)

    def opened(self, keyring: TenantKeyring, fields: frozenset[str] | None) -> Mapping[int, Attributes]:
        """Return the values of each subject by category and field, those of `fields`."""
        subjects: dict[int, dict[CategoryKey, dict[FieldKey, ProfileValue]]] = defaultdict(dict)
        for start in range(0, len(self._grants), _GRANTS_AT_ONCE):
            grants = self._grants[start : start + _GRANTS_AT_ONCE]
            texts = self._texts(keyring, grants)
            values = iter(decode_values([*chain.from_iterable(texts)]))
            for (subject_id, category, _, _), own in zip(grants, texts, strict=True):
                opened = dict(islice(values, len(own)))
                if fields is not None:
                    opened = {
                        field: value for field, value in opened.items() if wants(fields, category, field)
                    }
                if opened:
                    subjects[subject_id][category] = opened
        return subjects

    def _texts(self, keyring: TenantKeyring, grants: Sequence[PurposeGrant]) -> list[list[bytes]]:
        """Return the opened values of each of the categories whose keys these grants hold."""
        named = [(str(subject_id), category, wrapped) for subject_id, category, _, wrapped in grants]
        secrets = keyring.unwrap_each(self._purpose, named)
        head_of = ValuePlaces(keyring.tenant).head
        return [
            open_each(
                SealingKey(secret),
                [
                    (sealed, value_tail(tag, source if index is None else source_name(source, index)))
                    for _, _, tag, source, index, sealed in self._values[grant[:2]]
                ],
                shared=head_of(subject, category),
            )
            for secret, grant, (subject, category, _) in zip(secrets, grants, named, strict=True)
        ]


def open_value(tenant: str, key: SealingKey, value: SealedValue) -> tuple[FieldKey, ProfileValue]:
    """Return field and value of one stored row; raise `SealBroken`."""
    place = value_place(
        tenant=tenant,
        subject=str(value.subject_id),
        category=value.category,
        field_tag=value.field_tag,
        source=source_name(value.source, value.source_index),
    )
    return decode_value(open_sealed(key, value.sealed, place))
