"""Answers already given, by idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam

from consent_service.storage.scope import TenantScope, scoped_delete, scoped_select, table_of
from consent_service.storage.tables import IdempotencyRow

_row = table_of(IdempotencyRow)
_COLUMNS = ("key_digest", "request_digest", "index", "answer", "created_at_ms")
_OLD = (
    scoped_select(IdempotencyRow, "key_digest")
    .where(_row.c.created_at_ms < bindparam("before"))
    .with_for_update(skip_locked=True)
)
_PRUNE = scoped_delete(IdempotencyRow).where(_row.c.key_digest.in_(_OLD))
_FORGET = scoped_delete(IdempotencyRow).where(_row.c.index.in_(bindparam("indexes", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The answer that was given to the request with this key; digests are keyed."""

    key_digest: bytes
    request_digest: bytes
    index: int
    answer: str


def find_answers(
    scope: TenantScope, key_digests: Sequence[bytes], *, since_ms: int
) -> dict[bytes, StoredAnswer]:
    """Return the answers among these keys that were stored since a moment."""
    if not key_digests:
        return {}
    rows = scope.select_tuples(IdempotencyRow, _COLUMNS, among=("key_digest", key_digests))
    return {
        key_digest: StoredAnswer(
            key_digest=key_digest, request_digest=request_digest, index=index, answer=answer
        )
        for key_digest, request_digest, index, answer, created_at_ms in rows
        if created_at_ms >= since_ms
    }


def insert_answers(scope: TenantScope, answers: Sequence[StoredAnswer], *, created_at_ms: int) -> None:
    """Remember answers; one that is too old to be found gives way."""
    scope.upsert_tuples(
        IdempotencyRow,
        _COLUMNS,
        [
            (answer.key_digest, answer.request_digest, answer.index, answer.answer, created_at_ms)
            for answer in answers
        ],
    )


def prune_answers(scope: TenantScope, *, before_ms: int) -> int:
    """Forget answers given before a moment; return how many. Waits for nobody: some are left for later."""
    return scope.run(_PRUNE, before=before_ms).rowcount


def forget_answers(scope: TenantScope, indexes: Sequence[int]) -> None:
    """Forget the answers about these entries: part of an erasure."""
    if indexes:
        scope.run(_FORGET, indexes=list(indexes))
