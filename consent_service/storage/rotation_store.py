"""What a rotation reads and writes: wrapped keys of older versions, and the tenant keys themselves."""

from collections.abc import Sequence

from sqlalchemy import bindparam

from consent_service.errors import SealBroken
from consent_service.storage.scope import (
    TenantScope,
    scoped_delete,
    scoped_select,
    scoped_update,
    table_of,
)
from consent_service.storage.tables import KeyGrantRow, SubjectKeyRow, TenantKeyRow
from consent_service.storage.tenant_store import WrappedKey
from consent_service.storage.vault_store import GRANT_COLUMNS, KeyGrant, SubjectKey, grants_of

_grant, _own_key, _tenant_key = table_of(KeyGrantRow), table_of(SubjectKeyRow), table_of(TenantKeyRow)

_OF_KEY = (_tenant_key.c.purpose == bindparam("kind"), _tenant_key.c.version == bindparam("at"))
_REWRAP_TENANT_KEY = (
    scoped_update(TenantKeyRow)
    .where(*_OF_KEY, _tenant_key.c.wrapped == bindparam("old"))
    .values(wrapped=bindparam("new"))
)
_DELETE_TENANT_KEYS = scoped_delete(TenantKeyRow).where(
    _tenant_key.c.purpose == bindparam("kind"), _tenant_key.c.version < bindparam("before")
)
_EPOCH = (
    scoped_select(TenantKeyRow, "version", "created_at_ms", "wraps")
    .where(_tenant_key.c.purpose == bindparam("kind"))
    .order_by(_tenant_key.c.version.desc())
    .limit(1)
)
_ANNOUNCED = (
    scoped_select(TenantKeyRow, "index")
    .where(_tenant_key.c.purpose == bindparam("kind"), _tenant_key.c.index.is_not(None))
    .order_by(_tenant_key.c.version)
)
_ANNOUNCEMENTS = scoped_select(TenantKeyRow, "purpose", "version", "index").order_by(
    _tenant_key.c.purpose, _tenant_key.c.version
)
_OLD_GRANTS = scoped_select(KeyGrantRow, *GRANT_COLUMNS).where(
    _grant.c.subject_id >= bindparam("first"),
    _grant.c.subject_id <= bindparam("last"),
    _grant.c.key_version < bindparam("version"),
)
_REWRAPPED = ("key_version", "wrapped")
_OLD_SUBJECT_KEYS = (
    scoped_select(SubjectKeyRow, "subject_id", "key_version", "wrapped")
    .where(
        _own_key.c.subject_id >= bindparam("first"),
        _own_key.c.subject_id <= bindparam("last"),
        _own_key.c.key_version < bindparam("version"),
    )
    .order_by(_own_key.c.subject_id)  # The order in which those who count uses lock them.
)
_ANY_OLD_GRANT = (
    scoped_select(KeyGrantRow, "subject_id").where(_grant.c.key_version < bindparam("version")).limit(1)
)
_ANY_OLD_SUBJECT_KEY = (
    scoped_select(SubjectKeyRow, "subject_id").where(_own_key.c.key_version < bindparam("version")).limit(1)
)


def rewrap_tenant_key(scope: TenantScope, old: WrappedKey, wrapped: bytes) -> None:
    """Store a key of the tenant under another root key, unless somebody changed it meanwhile."""
    scope.run(_REWRAP_TENANT_KEY, kind=old.purpose, at=old.version, old=old.wrapped, new=wrapped)


def delete_tenant_keys_before(scope: TenantScope, purpose: str, version: int) -> None:
    """Delete the versions of a key of the tenant that are older than this one."""
    scope.run(_DELETE_TENANT_KEYS, kind=purpose, before=version)


def announced_at(scope: TenantScope, purpose: str) -> list[int]:
    """Return the entries that announced the versions of a key, oldest first."""
    return [index for (index,) in scope.run(_ANNOUNCED, kind=purpose)]


def announcements(scope: TenantScope) -> list[tuple[str, int, int | None]]:
    """Return kind, version and announcing entry of every key that the tenant has; its first have none."""
    return [(purpose, version, index) for purpose, version, index in scope.run(_ANNOUNCEMENTS)]


def epoch_of(scope: TenantScope, purpose: str) -> tuple[int, int, int]:
    """Return version, beginning (milliseconds) and wraps of the newest key of this kind."""
    row = scope.run(_EPOCH, kind=purpose).first()
    if row is None:
        raise SealBroken(f"The tenant has no {purpose} key.")
    return row.version, row.created_at_ms, row.wraps


def old_grants(scope: TenantScope, first: int, last: int, version: int) -> list[KeyGrant]:
    """Return the key grants of subjects from `first` to `last` under older tenant keys than `version`."""
    return grants_of(scope.run(_OLD_GRANTS, first=first, last=last, version=version))


def rewrap_grants(scope: TenantScope, rewrapped: Sequence[tuple[KeyGrant, bytes]], version: int) -> None:
    """Store key grants under tenant key `version`, except those that changed or went meanwhile."""
    rows = [
        (version, wrapped, grant.subject_id, grant.purpose, grant.category, grant.key_version)
        for grant, wrapped in rewrapped
    ]
    found_by = ("subject_id", "purpose", "category", "key_version")
    scope.update_tuples(KeyGrantRow, _REWRAPPED, rows, found_by=found_by, in_order=True)


def old_subject_keys(scope: TenantScope, first: int, last: int, version: int) -> list[SubjectKey]:
    """Return the own keys of subjects from `first` to `last` under older tenant keys than `version`."""
    rows = scope.run(_OLD_SUBJECT_KEYS, first=first, last=last, version=version)
    return [SubjectKey(subject_id=s, key_version=v, wrapped=w) for s, v, w in rows]


def rewrap_subject_keys(
    scope: TenantScope, rewrapped: Sequence[tuple[SubjectKey, bytes]], version: int
) -> None:
    """Store subjects' own keys under tenant key `version`, except those that changed or went meanwhile."""
    rows = [(version, wrapped, key.subject_id, key.key_version) for key, wrapped in rewrapped]
    found_by = ("subject_id", "key_version")
    scope.update_tuples(SubjectKeyRow, _REWRAPPED, rows, found_by=found_by, in_order=True)


def wraps_before(scope: TenantScope, version: int) -> bool:
    """Say whether anything is still wrapped under an older tenant key than `version`."""
    return any(
        scope.run(statement, version=version).first() is not None
        for statement in (_ANY_OLD_GRANT, _ANY_OLD_SUBJECT_KEY)
    )
