"""Complete an export that was killed: the same pack again, whatever was recorded meanwhile (ADR 0065)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from consent_service.errors import PackChanged
from consent_service.operations.deployment import Deployment
from consent_service.operations.export_audit import export_audit
from consent_service.operations.repeat_export import AuditRequest, entity_tag, mark_of, new_mark
from consent_service.operations.tenant import Tenant

__all__ = ["AuditRequest", "complete_export"]


def complete_export(
    deployment: Deployment,
    tenant: Tenant,
    request: AuditRequest,
    tag: Path,
    *,
    progress: Callable[[int, int], None],
) -> Iterator[bytes]:
    """Yield the pack that the tag in a file is of; where it cannot be made again, one of now.

    The file is written anew before the first piece. Raises as `export_audit` does, and OSError.
    """
    known = mark_of(tenant, request, tag.read_text("ascii", "replace")) if tag.exists() else None
    mark = known or new_mark(deployment, tenant)
    pieces = export_audit(deployment, tenant, replace(request, mark=mark), progress=progress)
    try:
        next(pieces)
    except PackChanged:
        tag.unlink(missing_ok=True)
        pieces = export_audit(deployment, tenant, request, progress=progress)
    else:
        tag.write_text(entity_tag(tenant, request, mark), encoding="ascii")
    yield from pieces
