"""What has to hold of a ledger after a fault: nothing acknowledged is missing, nothing is there twice."""

from collections.abc import Sequence

from consent_service.domain.purpose import PurposeKey
from consent_service.ledger.merkle import leaf_hash, root_hash
from consent_service.ledger.record import DecisionRecord
from consent_service.operations.deployment import Deployment
from consent_service.operations.read_history import read_history
from consent_service.operations.tenant import Tenant
from consent_service.operations.verify_ledger import VerifiedLedger, verify_ledger
from consent_service.storage.ledger_store import read_leaves
from tests.faults.crowd import Acknowledged


def assert_nothing_is_lost(
    deployment: Deployment, tenant: Tenant, acknowledged: Sequence[Acknowledged]
) -> VerifiedLedger:
    """Verify the ledger, build its root anew from the leaves alone, find every acknowledged decision."""
    verified = verify_ledger(deployment, tenant)
    with deployment.reading(tenant) as scope:
        leaves = read_leaves(scope, 0, verified.size)
    assert root_hash([leaf_hash(leaf) for leaf in leaves]) == verified.root
    assert len({each.index for each in acknowledged}) == len(acknowledged)
    of_subject: dict[str, dict[int, str]] = {}
    for each in acknowledged:
        of_subject.setdefault(each.subject, {})[each.index] = each.choice
    for subject, told in of_subject.items():
        stored = {
            entry.index: entry.record.decision.choices[PurposeKey("coupons")].value
            for entry in read_history(deployment, tenant, tenant.subject(subject))
            if isinstance(entry.record, DecisionRecord)
        }
        assert told.items() <= stored.items()
    return verified
