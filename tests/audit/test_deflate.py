"""A pack is the same evidence whatever compressed it, and says to a download what that was."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from consent_service.api.app import create_app
from consent_service.operations import pack_deflate
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.operations.repeat_export import new_mark
from consent_service.verifier.verify import verify_pack
from tests.audit.conftest import fill
from tests.audit.packs import export_to, members_of
from tests.installation import Installation


class Compressors:
    """Takes ISA-L from this process, as where the extra `audit` is not installed, and gives it back."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def take_isal(self) -> None:
        self._patch.setitem(sys.modules, "isal.isal_zlib", None)
        self.forget()

    def forget(self) -> None:
        pack_deflate._engine.cache_clear()
        pack_deflate.deflate_mark.cache_clear()


@pytest.fixture
def compressors() -> Iterator[Compressors]:
    with pytest.MonkeyPatch.context() as patch:
        compressors = Compressors(patch)
        compressors.forget()
        yield compressors
    compressors.forget()


@pytest.fixture
def filled(migrated_url: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(home=tmp_path / "home", database_url=migrated_url) as installation:
        fill(installation)
        yield installation


def test_zlib_and_isal_make_packs_of_the_same_contents(
    filled: Installation, compressors: Compressors, tmp_path: Path
) -> None:
    mark = new_mark(filled.service.deployment, filled.tenant)
    fast = export_to(tmp_path / "isal.zip", filled, AuditRequest(mark=mark))
    compressors.take_isal()
    plain = export_to(tmp_path / "zlib.zip", filled, AuditRequest(mark=mark))

    assert fast.read_bytes() != plain.read_bytes()
    contents, others = members_of(fast), members_of(plain)
    of_the_bytes = {"manifest.json", "manifest.note"}
    assert contents.keys() == others.keys()
    assert all(contents[name] == others[name] for name in contents.keys() - of_the_bytes)
    for pack in (fast, plain):
        assert verify_pack(pack, vkey=filled.tenant.signer.vkey)["verified"]


def test_a_download_begins_anew_where_another_compressor_would_go_on(
    filled: Installation, compressors: Compressors
) -> None:
    key = create_api_key(filled.service.deployment, filled.tenant, Role.AUDITOR).key
    with TestClient(create_app(filled.settings), headers={"Authorization": f"Bearer {key}"}) as client:
        tag = client.get("/v1/audit/export").headers["etag"]
        half = {"Range": "bytes=1000-", "If-Range": tag}
        same = client.get("/v1/audit/export", headers=half).status_code
        compressors.take_isal()
        other = client.get("/v1/audit/export", headers=half).status_code

    assert (same, other) == (206, 200)
