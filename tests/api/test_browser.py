"""The browser's side of the API: what a publishable key and a subject token may do, and nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, require_tenant
from consent_service.settings import Settings
from tests.small_api import client_of, key_of, service_of

SHOP = "https://shop.example"


@pytest.fixture
def client(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """A browser on the shop's page; `client.headers["Authorization"]` has the publishable key."""
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(migrated_sqlite_url))
    with client_of(settings, Role.BROWSER, origins=[SHOP]) as client:
        client.headers["Origin"] = SHOP
        client.params = client.params.set("key", key_of(client))
        yield client


def decide(client: TestClient, token: str, choice: str, **headers: str) -> int:
    notice = client.get("/v1/notice").json()["digest"]
    body = {
        "notice": notice,
        "choices": {"coupons": choice},
        "method": "save",
        "source": "dialog",
        "language": "en",
    }
    answer = client.post("/v1/decisions", json=body, headers={"Authorization": f"Bearer {token}", **headers})
    return answer.status_code


def test_the_banner_comes_in_the_language_of_the_page(client: TestClient) -> None:
    answer = client.get("/v1/banner", params={"language": "fr,en"})

    assert answer.status_code == 200
    assert answer.headers["content-language"] == "fr"
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "Tout refuser" in answer.text


def test_an_unchanged_banner_is_not_sent_twice(client: TestClient) -> None:
    first = client.get("/v1/banner", params={"language": "en"})

    again = client.get(
        "/v1/banner", params={"language": "en"}, headers={"If-None-Match": first.headers["etag"]}
    )

    assert again.status_code == 304
    assert again.content == b""


def test_a_shops_backend_gets_the_banner_for_its_own_pages(client: TestClient) -> None:
    del client.headers["Origin"]

    answer = client.get("/v1/banner/markup", params={"language": "fr"})

    page = answer.json()
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert (page["language"], page["direction"]) == ("fr", "ltr")
    assert page["notice"] == client.get("/v1/notice").json()["digest"]
    assert page["purposes"]["coupons"] == {"version": 1, "days": 180}
    assert page["content"].startswith("<section ")
    assert page["style"] == client.get("/static/banner.css").text
    unchanged = {"If-None-Match": answer.headers["etag"]}
    again = client.get("/v1/banner/markup", params={"language": "fr"}, headers=unchanged)
    assert again.status_code == 304


def test_another_origin_gets_neither_banner_nor_subject(client: TestClient) -> None:
    foreign = {"Origin": "https://elsewhere.example"}

    banner = client.get("/v1/banner", headers=foreign)
    subject = client.post("/v1/subject/anonymous", json={}, headers=foreign)

    for answer in (banner, subject):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_a_secret_key_in_an_address_is_refused(client: TestClient, tmp_path: Path) -> None:
    service = service_of(client)
    tenant = require_tenant(service.deployment, "default")
    secret = create_api_key(service.deployment, tenant, Role.BACKEND).key

    answer = client.get("/v1/banner", params={"key": secret})

    assert answer.status_code == 403


def test_an_anonymous_subject_is_resumed_by_her_handle(client: TestClient) -> None:
    first = client.post("/v1/subject/anonymous", json={})
    decide(client, first.json()["token"], "granted")

    again = client.post("/v1/subject/anonymous", json={"handle": first.json()["handle"]})

    assert (first.status_code, again.status_code) == (201, 200)
    token = {"Authorization": f"Bearer {again.json()['token']}"}
    assert client.get("/v1/consents", headers=token).json()["consents"]["coupons"]["status"] == "given"


def test_two_anonymous_subjects_know_nothing_of_each_other(client: TestClient) -> None:
    one, other = (client.post("/v1/subject/anonymous", json={}).json() for _ in range(2))
    decide(client, one["token"], "granted")

    answer = client.get("/v1/decisions", headers={"Authorization": f"Bearer {other['token']}"})

    assert one["handle"] != other["handle"]
    assert answer.json() == {"decisions": []}


def test_two_handles_in_one_body_are_refused(client: TestClient) -> None:
    handles = f'{{"handle": "{"a" * 43}", "handle": "{"b" * 43}"}}'

    answer = client.post(
        "/v1/subject/anonymous", content=handles, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/malformed-body")


@pytest.mark.parametrize("handle", ["", "x", "../../etc", "a" * 44, 7])
def test_a_handle_that_is_none_is_refused(client: TestClient, handle: object) -> None:
    assert client.post("/v1/subject/anonymous", json={"handle": handle}).status_code == 422


def test_a_subject_token_of_one_shop_is_refused_on_another_page(client: TestClient) -> None:
    token = client.post("/v1/subject/anonymous", json={}).json()["token"]

    status = decide(client, token, "granted", Origin="https://elsewhere.example")

    assert status == 403


@pytest.mark.parametrize("name", ["banner", "account", "consent-mode", "embeds", "shopify", "segment"])
def test_a_script_under_its_hashed_name_never_changes(client: TestClient, name: str) -> None:
    from consent_service.api.routers.browser import static_hash  # noqa: PLC0415  # only this test needs it

    plain = client.get(f"/static/{name}.js")
    hashed = client.get(f"/static/{name}.{static_hash(name + '.js')}.js")

    assert plain.content == hashed.content
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" not in plain.headers["cache-control"]
    assert "immutable" in hashed.headers["cache-control"]


@pytest.mark.parametrize("name", ["nothing.js", "banner.0000000000000000.js", "..%2Fwords.py", "integrity"])
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_the_words_are_there_for_every_page(client: TestClient) -> None:
    answer = client.get(
        "/v1/words", params={"language": "de"}, headers={"Origin": "https://elsewhere.example"}
    )

    assert answer.json()["accept"] == "Alle annehmen"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_global_privacy_control_is_announced(client: TestClient) -> None:
    assert client.get("/.well-known/gpc.json").json()["gpc"] is True


OF_THE_PAGE = {
    "Sec-Fetch-Dest": "script",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "cross-site",
    "Referer": f"{SHOP}/",
    "Accept-Language": "fr-CH, fr;q=0.9",
}


def test_the_script_of_a_shops_page_brings_the_layout_in_its_language(client: TestClient) -> None:
    plain = client.get("/banner.js")
    packed = client.get("/banner.js", headers=OF_THE_PAGE)
    again = client.get("/banner.js", headers={**OF_THE_PAGE, "If-None-Match": packed.headers["etag"]})

    fragment = client.get("/v1/banner", params={"language": "fr"}).text
    layout = json.dumps(fragment, ensure_ascii=False)
    assert packed.text == f"{plain.text.removesuffix('()' + chr(10))}({layout},/^,?fr\\b[^&]*$/i)\n"
    assert packed.headers["cache-control"] == "private, max-age=300"
    assert {"Referer", "Origin", "Accept-Language", "Sec-GPC"} <= set(packed.headers["vary"].split(", "))
    assert again.status_code == 304


@pytest.mark.parametrize(
    "changed",
    [
        {"Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Dest": "empty"},
        {"Referer": "https://elsewhere.example/"},
        {"Referer": "no address"},
        {"Referer": ""},
    ],
)
def test_whoever_may_have_pinned_the_script_or_is_nobody_gets_the_published_one(
    client: TestClient, changed: dict[str, str]
) -> None:
    answer = client.get("/banner.js", headers={**OF_THE_PAGE, **changed})

    assert answer.content == client.get("/static/banner.js").content
    assert answer.headers["cache-control"] == "public, max-age=3600"


def test_an_origin_of_two_tenants_gets_the_published_script(client: TestClient) -> None:
    service = service_of(client)
    other = create_tenant(service.deployment, "other")
    create_api_key(service.deployment, other, Role.BROWSER, origins=[SHOP])

    assert client.get("/banner.js", headers=OF_THE_PAGE).headers["cache-control"].startswith("public")


@pytest.mark.parametrize("path", ["/banner.js", "/v1/banner", "/static/page.css"])
def test_what_browsers_load_is_compressed_where_they_take_that(client: TestClient, path: str) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    small = client.get(path, headers={"Accept-Encoding": "br, gzip;q=0.9"})

    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.content) / 1.9
    assert small.content == plain.content
    assert "Accept-Encoding" in small.headers["vary"]


def test_the_published_hashed_names_are_those_that_are_served(client: TestClient) -> None:
    published = client.get("/static/integrity.json").json()

    for facts in published.values():
        assert "immutable" in client.get(f"/static/{facts['hashed']}").headers["cache-control"]
