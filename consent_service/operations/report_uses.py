"""Take the uses that a shop reports, and hand them to the recorder."""

from collections.abc import Sequence
from dataclasses import dataclass

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature, UseKind
from consent_service.errors import UnknownPurpose
from consent_service.operations.deployment import Deployment
from consent_service.operations.look_up import look_up
from consent_service.operations.record_uses import UsesRecorder
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.subject_store import find_known


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedUse:
    """One kind of use of one subject's data; without categories it is of all that the purpose uses."""

    subject: Subject
    purpose: str
    feature: str
    categories: Sequence[str] | None
    times: int


def report_uses(
    deployment: Deployment, recorder: UsesRecorder, tenant: Tenant, reported: Sequence[ReportedUse]
) -> int:
    """Note these uses and return how many were about somebody of whom something is held.

    A use is noted whether its purpose is open or not: what was done is shown. Raises `UnknownPurpose` for a
    purpose or category that the current notice does not have; nothing is noted then.
    """
    with deployment.reading(tenant) as scope:
        purposes = deployment.book(scope).catalogue.purposes
        subjects = {use.subject.blind_index: use.subject for use in reported}
        known = look_up(deployment, scope, tenant, list(subjects.values()), find_known)
    for use in reported:
        purpose = purposes.get(PurposeKey(use.purpose))
        if purpose is None or not set(use.categories or ()) <= set(purpose.categories):
            raise UnknownPurpose("The current notice has no such purpose, or not with such a category.")
    now = deployment.clock()
    noted = 0
    for use in reported:
        if use.subject.blind_index not in known:
            continue
        key = PurposeKey(use.purpose)
        categories = dict.fromkeys(
            use.categories or purposes[key].categories
        )  # One use, however often named.
        kinds = [
            UseKind(purpose=key, feature=Feature(use.feature), category=CategoryKey(category))
            for category in categories
        ]
        recorder.note(tenant, known[use.subject.blind_index][0], [(kind, use.times) for kind in kinds], now)
        noted += 1
    return noted
