"""A download that broke off goes on where it was: the same pack, byte for byte, or a whole new one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from consent_service.api.app import create_app
from consent_service.cli.main import app as cli
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.operations.rotate_keys import rotate_signing_key
from consent_service.verifier.verify import verify_pack
from tests.audit.conftest import KNOWN, fill
from tests.builders import a_notice
from tests.installation import Installation
from tests.servers import ConsentServer

PATH = "/v1/audit/export"


@pytest.fixture
def filled(migrated_url: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(home=tmp_path / "home", database_url=migrated_url) as installation:
        fill(installation)
        yield installation


@pytest.fixture
def client(filled: Installation) -> Iterator[TestClient]:
    """An auditor's, with a clock that moves between two requests."""

    def clock() -> object:
        filled.clock.advance(seconds=1)
        return filled.clock.now

    app = create_app(filled.settings, clock=clock)  # type: ignore[arg-type]  # a datetime it is
    key = create_api_key(filled.service.deployment, filled.tenant, Role.AUDITOR).key
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def rest(client: TestClient, tag: str, first: int, **more: str) -> tuple[int, bytes, str]:
    headers = {"Range": f"bytes={first}-", "If-Range": tag, **more}
    answer = client.get(PATH, headers=headers)
    return answer.status_code, answer.content, answer.headers.get("content-range", "")


def test_the_rest_of_a_pack_is_the_same_bytes_after_the_shop_went_on(
    filled: Installation, client: TestClient
) -> None:
    whole = client.get(PATH)
    tag, data = whole.headers["etag"], whole.content
    filled.decide("somebody-new", {"coupons": "granted"})
    filled.publish(a_notice({"purposes/coupons/version": 3}))
    filled.decide("another-visitor", {"coupons": "granted"})
    filled.link("another-visitor", "somebody-new")

    for first in (0, 1, len(data) // 2, len(data) - 1):
        wanted = f"bytes {first}-{len(data) - 1}/{len(data)}"
        assert rest(client, tag, first) == (206, data[first:], wanted)
    beyond = rest(client, tag, len(data))
    assert (beyond[0], beyond[2]) == (416, f"bytes */{len(data)}")
    assert client.get(PATH).headers["etag"] != tag


def test_one_subjects_pack_goes_on_until_a_visitor_is_linked(
    filled: Installation, client: TestClient
) -> None:
    hers = {"Consent-Subject": KNOWN}
    whole = client.get(PATH, headers=hers)
    tag, data = whole.headers["etag"], whole.content
    filled.decide(KNOWN, {"coupons": "granted"})
    filled.decide("another", {"coupons": "granted"})

    assert rest(client, tag, 9, **hers)[:2] == (206, data[9:])
    filled.link("another", KNOWN)
    assert rest(client, tag, 9, **hers)[0] == 200
    assert rest(client, tag, 9)[0] == 200


def test_after_an_erasure_the_answer_is_a_whole_new_pack(
    filled: Installation, client: TestClient, tmp_path: Path
) -> None:
    tag = client.get(PATH).headers["etag"]
    erasure = EraseSubject(subject=filled.tenant.subject("customer-9"))
    filled.service.committer.submit_blocking(filled.tenant, erasure)

    status, data, _ = rest(client, tag, 100)

    pack = tmp_path / "pack.zip"
    pack.write_bytes(data)
    assert status == 200
    assert verify_pack(pack, vkey=filled.tenant.signer.vkey)["checked"]["erased"] > 2


def test_after_a_new_signing_key_the_answer_is_a_whole_new_pack(
    filled: Installation, client: TestClient
) -> None:
    tag = client.get(PATH).headers["etag"]
    rotate_signing_key(filled.service.deployment, filled.service.committer, filled.tenant)

    assert rest(client, tag, 100)[0] == 200


def test_no_tag_but_ours_for_this_question_names_a_pack(filled: Installation, client: TestClient) -> None:
    tag = client.get(PATH).headers["etag"]
    earlier = (filled.clock.now - timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    size, cosignatures, _ = tag.strip('"').split(".", 2)
    backdated = f'"{size}.{cosignatures}.{earlier}.{tag[-33:-1]}"'

    for other in (backdated, tag.strip('"'), f"W/{tag}", '"x"', "Sat, 28 Nov 2026 10:00:00 GMT", ""):
        assert rest(client, other, 10)[0] == 200, other
    for ranges in ("bytes=5-9", "bytes=-5", "bytes=1-,2-", "items=1-", "bytes=01-"):
        answer = client.get(PATH, headers={"Range": ranges, "If-Range": tag})
        assert answer.status_code == 200
    assert client.get(f"{PATH}?since=3", headers={"Range": "bytes=5-", "If-Range": tag}).status_code == 200


class Cutter:
    """A proxy that lets only so many bytes of each answer through, then hangs up."""

    def __init__(self, port: int, limits: list[int]) -> None:
        self._port = port
        self._limits = limits
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._limits:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            limit = self._limits.pop(0)
            with (
                suppress(OSError),  # the caller hung up first
                caller,
                socket.create_connection(("127.0.0.1", self._port)) as service,
            ):
                service.sendall(caller.recv(65_536))
                while limit > 0 and (data := service.recv(min(limit, 4096))):
                    limit -= len(data)
                    caller.sendall(data)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


@dataclass
class Shop:
    """A filled installation on SQLite that is not running, and an auditor's key."""

    home: Path
    url: str
    key: str
    vkey: str
    out: Path

    def export(self, address: str, *, key: str | None = None) -> Result:
        """Fetch a pack by the command line."""
        runner = CliRunner(env={"CONSENT_API_KEY": key or self.key})
        return runner.invoke(cli, ["audit", "export", "--url", address, "--out", str(self.out)])

    def beside(self, ending: str) -> Path:
        return self.out.with_name(self.out.name + ending)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    home, url = tmp_path / "home", f"sqlite:///{tmp_path / 'consent.db'}"
    with Installation(home=home, database_url=url) as installation:
        fill(installation)
        key = create_api_key(installation.service.deployment, installation.tenant, Role.AUDITOR).key
        vkey = installation.tenant.signer.vkey
    return Shop(home, url, key, vkey, tmp_path / "pack.zip")


def test_the_command_goes_on_after_connections_that_broke(shop: Shop) -> None:
    with ConsentServer(home=shop.home, database_url=shop.url) as server:
        cutter = Cutter(server.port, [9_000, 700, 6_000, 1, 1 << 30])
        fetched = shop.export(f"http://127.0.0.1:{cutter.port}")
        cutter.close()
        refused = shop.export(server.url, key="ck_wrong")

    assert (fetched.exit_code, refused.exit_code) == (0, 2), fetched.output
    assert verify_pack(shop.out, vkey=shop.vkey)["verified"]
    assert not shop.beside(".part").exists()


def test_the_command_goes_on_after_both_sides_were_killed_and_the_shop_went_on(shop: Shop) -> None:
    with ConsentServer(home=shop.home, database_url=shop.url) as server:
        headers = {"Authorization": f"Bearer {shop.key}"}
        whole = httpx2.get(f"{server.url}{PATH}", headers=headers, timeout=60)
        server.kill()
    shop.beside(".part").write_bytes(whole.content[:5_000])  # what a killed command leaves
    shop.beside(".part.tag").write_text(whole.headers["etag"])
    with Installation(home=shop.home, database_url=shop.url) as installation:
        installation.clock.advance(days=10)
        for number in range(30):
            installation.decide(f"meanwhile-{number}", {"coupons": "denied"})

    with ConsentServer(home=shop.home, database_url=shop.url) as server:
        resumed = shop.export(server.url)

    assert resumed.exit_code == 0, resumed.output
    assert shop.out.read_bytes() == whole.content
    assert verify_pack(shop.out, vkey=shop.vkey)["verified"]
    assert shop.out.stat().st_mode & 0o777 == 0o600
    assert not shop.beside(".part.tag").exists()


@pytest.mark.parametrize("held", [b"", b"\xff\xfe", b"a\nb", b'W/"weak"', b'"\xe9"'])
def test_a_download_whose_tag_is_none_begins_anew(shop: Shop, held: bytes) -> None:
    shop.beside(".part").write_bytes(b"of another file")
    shop.beside(".part.tag").write_bytes(held)

    with ConsentServer(home=shop.home, database_url=shop.url) as server:
        fetched = shop.export(server.url)

    assert fetched.exit_code == 0, fetched.output
    assert verify_pack(shop.out, vkey=shop.vkey)["verified"]


def test_a_service_that_tags_its_packs_with_anything_is_fetched_from(shop: Shop) -> None:
    tags = [b'"h\xe9"', b"", b'"ok"']
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for tag in tags:
                caller, _ = listener.accept()
                with caller:
                    caller.recv(65_536)
                    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: " + tag + b"\r\n\r\nhello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        codes = [shop.export(f"http://127.0.0.1:{listener.getsockname()[1]}").exit_code for _ in tags]
        thread.join(10)

    assert codes == [0, 0, 0]
    assert shop.out.read_bytes() == b"hello"


@pytest.mark.parametrize("address", ["shop.example", "ftp://shop.example", "http://", "http://a\x00b"])
def test_an_address_that_is_none_is_refused_and_not_asked_again(tmp_path: Path, address: str) -> None:
    run = CliRunner().invoke(cli, ["audit", "export", "--url", address, "--out", str(tmp_path / "pack.zip")])

    assert run.exit_code == 2
    assert "such as https://host" in run.stderr
    assert list(tmp_path.iterdir()) == []
