"""Tickets to watch one subject: for a browser's `EventSource`, which can send no header.

A ticket stands in a URL, so it is sealed, lasts an hour or two, and opens nothing but the news that something
about its subject changed. It is the same all hour (AES-SIV, RFC 5297), so that clients keep their connection.
"""

import base64
import binascii
import hmac
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from consent_service.domain.subject import SubjectRef
from consent_service.errors import Unauthenticated, UnknownTenant
from consent_service.operations.deployment import Deployment
from consent_service.operations.tenant import Tenant

_LABEL = b"consent/v1/watch-ticket"
_HOUR_S = 3600
_HOUR_SIZE = 4
_LONGEST = 256


def issue_ticket(tenant: Tenant, ref: SubjectRef, now: datetime) -> str:
    """Return the ticket of this hour for this subject."""
    sealed = _seal(tenant).encrypt(_hour(now).to_bytes(_HOUR_SIZE, "big") + ref.encode(), _aad(tenant))
    return f"{tenant.id}.{base64.urlsafe_b64encode(sealed).decode('ascii').rstrip('=')}"


def open_ticket(deployment: Deployment, ticket: str) -> tuple[Tenant, SubjectRef]:
    """Return whom a ticket lets watch; raise `Unauthenticated` for one that is not ours or too old."""
    refusal = Unauthenticated("This ticket is not ours, or too old: evaluate again.")
    number, _, text = ticket.partition(".")
    if len(ticket) > _LONGEST or not number.isascii() or not number.isdigit():
        raise refusal
    try:
        tenant = deployment.tenant(int(number))
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        opened = _seal(tenant).decrypt(sealed, _aad(tenant))
    except (UnknownTenant, ValueError, binascii.Error, InvalidTag) as error:
        raise refusal from error
    hour = int.from_bytes(opened[:_HOUR_SIZE], "big")
    if not 0 <= _hour(deployment.clock()) - hour <= 1:
        raise refusal
    return tenant, SubjectRef(opened[_HOUR_SIZE:].decode())


def _seal(tenant: Tenant) -> AESSIV:
    return AESSIV(hmac.digest(tenant.token_key, _LABEL, "sha512"))


def _aad(tenant: Tenant) -> list[bytes]:
    return [tenant.origin.encode()]


def _hour(now: datetime) -> int:
    return int(now.timestamp()) // _HOUR_S
