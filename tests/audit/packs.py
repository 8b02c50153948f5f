"""Packs for tests: one made from a filled ledger, and ways to make another of its members."""

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_service.ledger.canonical import JsonValue
from consent_service.ledger.note import NoteSigner
from consent_service.operations.export_audit import AuditRequest, export_audit
from consent_service.operations.pack_file import PackFile
from consent_service.operations.tenant import Tenant
from consent_service.verifier.verify import MANIFEST, SIGNATURE
from tests.installation import Installation


def export_to(
    path: Path, installation: Installation, request: AuditRequest, tenant: Tenant | None = None
) -> Path:
    """Write a pack of the installation's ledger."""
    pieces = export_audit(installation.service.deployment, tenant or installation.tenant, request)
    path.write_bytes(b"".join(pieces))
    return path


def members_of(pack: Path) -> dict[str, bytes]:
    """Return the members by name, in order."""
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def members_of_bytes(data: bytes) -> dict[str, bytes]:
    """Return the members of a pack in memory."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Mapping[str, bytes], signer: NoteSigner, **changes: JsonValue) -> bytes:
    """Return a pack of these members, signed anew: what a dishonest operator with the key can make."""
    manifest: dict[str, JsonValue] = json.loads(members[MANIFEST])
    manifest.update(changes)
    file = PackFile()
    pieces: list[bytes] = []
    for name, data in members.items():
        if name not in {MANIFEST, SIGNATURE}:
            pieces += file.member(name, [data])
    pieces += file.close(manifest, signer)
    return b"".join(pieces)


def a_foreign_signer(origin: str) -> NoteSigner:
    """Return another key under the same name."""
    return NoteSigner.from_private(origin, Ed25519PrivateKey.generate())


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return an ordinary ZIP file of these members."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def entries_of(members: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return the entries of a small pack."""
    return [json.loads(line) for line in members["entries/000000.ndjson"].splitlines()]
