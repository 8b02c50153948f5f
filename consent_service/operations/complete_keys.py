"""Give tenants of an earlier program the key that it derived and this one keeps."""

from consent_service.operations.tenant import BLIND_INDEX, REFERENCE, Roots
from consent_service.storage.engine import Database
from consent_service.storage.ledger_store import lock_head
from consent_service.storage.scope import TenantScope
from consent_service.storage.tenant_store import (
    WrappedKey,
    insert_wrapped_keys,
    list_tenants,
    wrapped_keys,
)
from consent_service.vault.blind_index import derived_reference_key


def complete_keys(database: Database, roots: Roots, *, now_ms: int) -> None:
    """Store the reference key of each tenant that has none: what its first blind-index key gives.

    Subjects keep the references they had. Raises `WrongKey` where the root keys do not fit.
    """
    with database.reading() as connection:
        tenants = [
            stored
            for stored in list_tenants(connection)
            if REFERENCE not in {key.purpose for key in wrapped_keys(connection, stored.id)}
        ]
    for stored in tenants:
        with database.writing() as connection:
            lock_head(TenantScope(connection, stored.id))  # Two services may start at once.
            keys = {(key.purpose, key.version): key for key in wrapped_keys(connection, stored.id)}
            first = keys.get((BLIND_INDEX, 1))
            if first is None or (REFERENCE, 1) in keys:
                continue
            secret = derived_reference_key(roots.unwrap(stored.origin, first))
            wrapped = roots.wrap(stored.origin, REFERENCE, 1, secret)
            key = WrappedKey(purpose=REFERENCE, version=1, wrapped=wrapped)
            insert_wrapped_keys(connection, stored.id, [key], created_at_ms=now_ms)
