"""Make a pack again, byte for byte, so that an interrupted download goes on where it broke off (ADR 0065).

Every byte of a pack follows from the ledger at one size, the cosignatures there were, and one moment. Those
three are its mark; the entity tag carries the mark to the caller and back, so that nothing is kept for it.
"""

import hashlib
import hmac
import re
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from consent_service.errors import PackChanged
from consent_service.ledger.canonical import canonical_json
from consent_service.ledger.record import (
    ErasureRecord,
    KeyRecord,
    Record,
    decode_record,
    format_time,
    parse_time,
)
from consent_service.operations.deployment import Deployment
from consent_service.operations.pack_deflate import deflate_mark
from consent_service.operations.tenant import Subject, Tenant
from consent_service.storage.cosignature_store import checkpoint_at, last_cosignature
from consent_service.storage.ledger_store import Head, read_head, stream_public_records
from consent_service.storage.scope import TenantScope

_TAG = re.compile(r'"(\d{1,18})\.(\d{1,18})\.([0-9TZ:.\-]{24})\.([0-9a-f]{32})"', re.ASCII)
_LABEL = b"consent/pack-tag/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackMark:
    """What a pack is made of: the log's size, how many cosignatures there were, and when it was made."""

    size: int
    cosignatures: int
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """What a pack is to hold: `start` and `until` are moments of recording, `since` the last pack's size.

    With a `mark`, the pack is the one that was made then.
    """

    start: datetime | None = None
    until: datetime | None = None
    subject: Subject | None = None
    since: int | None = None
    mark: PackMark | None = None


def new_mark(deployment: Deployment, tenant: Tenant) -> PackMark:
    """Return the mark of a pack that is made now."""
    with deployment.reading(tenant) as scope:
        size, cosignatures = read_head(scope).size, last_cosignature(scope)
    return PackMark(size=size, cosignatures=cosignatures, made_at=deployment.clock())


def entity_tag(tenant: Tenant, request: AuditRequest, mark: PackMark) -> str:
    """Return the strong entity tag (RFC 9110, section 8.8.3) of the pack of this mark."""
    stated = f"{mark.size}.{mark.cosignatures}.{format_time(mark.made_at)}"
    return f'"{stated}.{_code(tenant, request, stated)}"'


def mark_of(tenant: Tenant, request: AuditRequest, tag: str) -> PackMark | None:
    """Return the mark in an entity tag of ours for the same request, `None` for any other text."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    stated = f"{found[1]}.{found[2]}.{found[3]}"
    if not hmac.compare_digest(_code(tenant, request, stated), found[4]):
        return None
    return PackMark(size=int(found[1]), cosignatures=int(found[2]), made_at=parse_time(found[3]))


def head_of(scope: TenantScope, mark: PackMark) -> Head:
    """Return the head that the ledger had; raise `PackChanged` if a pack of then would have other bytes now.

    Erasures take records away, and a new key signs from its entry on.
    """
    head, note = read_head(scope), checkpoint_at(scope, mark.size)
    with closing(stream_public_records(scope, mark.size)) as later:
        changed = any(_changes_packs(decode_record(each.body)) for each in later)
    if note is None or mark.size > head.size or changed:
        raise PackChanged("This pack cannot be made again as it was: begin anew.")
    published = head.notice_index if head.notice_index is not None and head.notice_index < mark.size else None
    return Head(
        size=mark.size,
        frontier=head.frontier,
        checkpoint=note,
        notice_index=published,
        next_subject_id=head.next_subject_id,
    )


def _changes_packs(record: Record) -> bool:
    return isinstance(record, ErasureRecord) or (isinstance(record, KeyRecord) and record.vkey is not None)


def _code(tenant: Tenant, request: AuditRequest, stated: str) -> str:
    """Return a code over a mark, the request and the programs that write a pack's bytes.

    Without the code a caller could have a pack signed that says it was made at another time.
    """
    document = canonical_json(
        {
            "mark": stated,
            "origin": tenant.origin,
            "vkey": tenant.signer.vkey,
            "start": None if request.start is None else request.start.isoformat(),
            "until": None if request.until is None else request.until.isoformat(),
            "subject": None if request.subject is None else request.subject.blind_index.hex(),
            "since": request.since,
            "software": [version("consent-service"), deflate_mark(), _pyarrow()],
        }
    )
    return hmac.digest(tenant.token_key, _LABEL + document, hashlib.sha256).hex()[:32]


def _pyarrow() -> str:
    try:
        return version("pyarrow")
    except PackageNotFoundError:
        return ""
