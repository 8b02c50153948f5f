"""Read profiles through one purpose: only its categories, and only while its gate is open."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from consent_service.domain.consent import NOBODY, SubjectState
from consent_service.domain.gate import Catalogue, Verdict, evaluate_key
from consent_service.domain.profile import Attributes, FieldKey, ProfileValue, wants
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.errors import PurposeClosed
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up
from consent_service.operations.tenant import Subject, Tenant
from consent_service.operations.update_profile import source_name
from consent_service.storage.scope import TenantScope
from consent_service.storage.subject_store import find_known
from consent_service.storage.vault_store import KeyGrant, SealedValue, find_purpose_grants, find_values
from consent_service.vault.keyring import TenantKeyring
from consent_service.vault.places import ValuePlaces, value_place
from consent_service.vault.seal import SealingKey, open_sealed
from consent_service.vault.values import decode_value

_SUBJECTS_AT_ONCE = 50
"""Rows of more subjects would keep Python's garbage collector busy before they are opened and let go."""


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

    Reads one snapshot, so that nothing is opened that was withdrawn before. Raises `SealBroken` when stored
    bytes were changed, truncated or moved.
    """
    with deployment.reading(tenant) as scope:
        catalogue = deployment.book(scope).catalogue
        find = partial(find_known, only=[question.purpose])
        known = look_up(deployment, scope, tenant, question.subjects, find)
        verdicts = _verdicts(question, catalogue, known, deployment.clock())
        open_ids = [
            known[subject.blind_index][0]
            for subject, verdict in zip(question.subjects, verdicts, strict=True)
            if verdict.allowed
        ]
        opened: dict[int, Attributes] = {}
        for start in range(0, len(open_ids), _SUBJECTS_AT_ONCE):
            some = open_ids[start : start + _SUBJECTS_AT_ONCE]
            sealed = _Sealed.of(scope, some, catalogue, question.purpose)
            if sealed.foreign_to(tenant.keyring):
                tenant = deployment.refreshed(scope, tenant)
            for subject_id in some:
                opened[subject_id] = sealed.opened(tenant.keyring, subject_id, question)
    answers: list[Profile | PurposeClosed] = []
    for subject, verdict in zip(question.subjects, verdicts, strict=True):
        if verdict.index is None or not verdict.allowed:
            answers.append(PurposeClosed(question.purpose, verdict.reason.value))
            continue
        subject_id = known[subject.blind_index][0]
        answers.append(Profile(subject_id=subject_id, attributes=opened[subject_id], index=verdict.index))
    return answers


def _verdicts(
    question: ProfileQuestion,
    catalogue: Catalogue,
    known: Mapping[bytes, tuple[int, SubjectState]],
    now: datetime,
) -> list[Verdict]:
    return [
        evaluate_key(
            question.purpose,
            catalogue,
            known[subject.blind_index][1] if subject.blind_index in known else NOBODY,
            now,
            gpc=question.gpc,
        )
        for subject in question.subjects
    ]


class _Sealed:
    """The key grants and values of one purpose, still sealed."""

    def __init__(self, grants: Sequence[KeyGrant], values: Sequence[SealedValue]) -> None:
        self._grants = grants
        self._of_subject: dict[int, list[KeyGrant]] = defaultdict(list)
        self._of_category: dict[tuple[int, CategoryKey], list[SealedValue]] = defaultdict(list)
        for grant in grants:
            self._of_subject[grant.subject_id].append(grant)
        for value in values:
            self._of_category[value.subject_id, value.category].append(value)

    @classmethod
    def of(
        cls, scope: TenantScope, subject_ids: Sequence[int], catalogue: Catalogue, purpose: PurposeKey
    ) -> "_Sealed":
        categories = catalogue.purposes[purpose].categories
        grants = [
            grant
            for grant in find_purpose_grants(scope, subject_ids, purpose)
            if grant.category in categories
        ]
        return cls(grants, find_values(scope, subject_ids, categories))

    def foreign_to(self, keyring: TenantKeyring) -> bool:
        """Whether a key grant is of an epoch that this keyring does not have (yet)."""
        return any(grant.key_version > keyring.version for grant in self._grants)

    def opened(self, keyring: TenantKeyring, subject_id: int, question: ProfileQuestion) -> Attributes:
        """Return the values of one subject by category and field."""
        attributes: dict[CategoryKey, dict[FieldKey, ProfileValue]] = {}
        for grant in self._of_subject[subject_id]:
            values = self._of_category[subject_id, grant.category]
            if not values:
                continue
            secret = keyring.unwrap_for_purpose(
                grant.wrapped, subject=str(subject_id), category=grant.category, purpose=grant.purpose
            )
            opened = open_values(keyring.tenant, SealingKey(secret), values)
            if question.fields is not None:
                opened = {f: v for f, v in opened.items() if wants(question.fields, grant.category, f)}
            if opened:
                attributes[grant.category] = opened
        return attributes


def open_values(tenant: str, key: SealingKey, values: Sequence[SealedValue]) -> dict[FieldKey, ProfileValue]:
    """Return field and value of what one category key sealed, one at least; raise `SealBroken`."""
    places = ValuePlaces(tenant, str(values[0].subject_id), values[0].category)
    opened: dict[FieldKey, ProfileValue] = {}
    for _, _, tag, source, index, _, sealed in values:
        name = source if index is None else source_name(source, index)
        field, content = decode_value(open_sealed(key, sealed, places.of(tag, name)))
        opened[FieldKey(field)] = content
    return opened


def open_value(tenant: str, key: SealingKey, value: SealedValue) -> tuple[FieldKey, ProfileValue]:
    """Return field and value of one stored row; raise `SealBroken`."""
    place = value_place(
        tenant=tenant,
        subject=str(value.subject_id),
        category=value.category,
        field_tag=value.field_tag,
        source=source_name(value.source, value.source_index),
    )
    field, content = decode_value(open_sealed(key, value.sealed, place))
    return FieldKey(field), content
