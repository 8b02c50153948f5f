"""The keystore with the signing key goes away: 503 with Retry-After, nothing stored, then it goes on."""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from consent_service.errors import ConfigurationError
from consent_service.followers.keeper import keep_house
from consent_service.operations.manage_tenants import Role, create_api_key, create_tenant, require_tenant
from consent_service.operations.rotate_keys import end_epochs
from consent_service.operations.service import ConsentService
from consent_service.settings import Settings
from tests.installation import check_ledger
from tests.keystores.conftest import PIN, TOKEN, Line, OpenBaoServer, openbao, softhsm
from tests.service_api import ServiceApi, assert_problem

__all__ = ["openbao", "softhsm"]  # fixtures that belong to the keystores' own tests
RULES = 'path "transit/*" { capabilities = ["create", "read", "update"] }'


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Where the signing key is, how that goes away and how it comes back."""

    settings: dict[str, object]
    fail: Callable[[], object]
    mend: Callable[[], object]
    says: str


def openbao_behind_a_line(bao: OpenBaoServer) -> Signing:
    line = Line(bao.port)
    return Signing(
        settings=on_openbao(f"http://127.0.0.1:{line.port}", TOKEN),
        fail=line.cut,
        mend=line.mend,
        says="OpenBao does not answer",
    )


def openbao_whose_policy_changes(bao: OpenBaoServer) -> Signing:
    name = f"consent-{secrets.token_hex(4)}"
    policy = f"sys/policies/acl/{name}"
    bao.api("PUT", policy, {"policy": RULES})
    token = bao.api("POST", "auth/token/create", {"policies": [name]}).json()["auth"]["client_token"]
    return Signing(
        settings=on_openbao(bao.url, str(token)),
        fail=lambda: bao.api("PUT", policy, {"policy": 'path "transit/*" { capabilities = ["deny"] }'}),
        mend=lambda: bao.api("PUT", policy, {"policy": RULES}),
        says="does not sign",
    )


def on_openbao(url: str, token: str) -> dict[str, object]:
    where = f"openbao+{url}/transit/consent-{secrets.token_hex(4)}"
    return {"keystore": where, "keystore_secret": SecretStr(token)}


def token_that_is_away(library: str) -> Signing:
    tokens = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    where = f"pkcs11:token=shop;object=consent-{secrets.token_hex(4)}?module-path={library}"
    return Signing(
        settings={"keystore": where, "keystore_secret": SecretStr(PIN)},
        fail=lambda: tokens.rename(tokens.with_name("away")),
        mend=lambda: tokens.with_name("away").rename(tokens),
        says="PKCS#11 token does not answer",
    )


@pytest.fixture(params=["openbao away", "openbao refuses", "pkcs11 away"])
def signing(request: pytest.FixtureRequest) -> Iterator[Signing]:
    """Each keystore that signs: a test runs with every one of them."""
    if request.param == "pkcs11 away":
        yield token_that_is_away(request.getfixturevalue("softhsm"))
    elif request.param == "openbao away":
        yield openbao_behind_a_line(request.getfixturevalue("openbao"))
    else:
        yield openbao_whose_policy_changes(request.getfixturevalue("openbao"))


@pytest.fixture
def api(migrated_url: str, tmp_path: Path, signing: Signing) -> Iterator[ServiceApi]:
    """The application, whose logs are signed in the keystore."""
    with ServiceApi(
        home=tmp_path / "home", database_url=migrated_url, signing_in_keystore=True, **signing.settings
    ) as api:
        yield api
        api.sizes()


def test_while_the_signing_key_is_away_nothing_is_recorded_and_afterwards_everything_is(
    api: ServiceApi, signing: Signing
) -> None:
    assert api.decide("ana", {"coupons": "granted"}).status_code == 201

    for name in ("ben", "cleo"):  # Twice, for what comes back may fail again.
        before = api.heads()
        signing.fail()
        for answer in (
            api.decide("ana", {"coupons": "denied"}),
            api.decide(name),
            api.client.delete("/v1/subject", headers=api.headers("ana")),
        ):
            problem = assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert signing.says in problem["detail"]
        [line] = api.client.post(
            "/v1/decisions/batch", content=batch_line(api, name), headers=api.headers()
        ).text.splitlines()
        assert '"status":503' in line.replace(" ", "")
        assert api.heads() == before
        assert api.reasons("ana", "coupons") == ["granted"]
        assert api.reasons(name, "coupons") == ["never_asked"]
        assert api.get("/ready").status_code == 200

        signing.mend()

        assert api.decide(name, {"coupons": "granted"}).status_code == 201
        assert api.reasons(name, "coupons") == ["granted"]


def test_whose_token_is_refused_says_so_until_it_has_the_keys_that_another_process_made(
    migrated_url: str, tmp_path: Path, openbao: OpenBaoServer
) -> None:
    ours = openbao_whose_policy_changes(openbao)
    with ServiceApi(home=tmp_path / "home", database_url=migrated_url, **ours.settings) as api:
        assert api.decide("ana").status_code == 201
        basket = {"purchases": {"basket": ["bread"]}}
        assert api.client.patch("/v1/profile", json=basket, headers=api.headers("ana")).status_code == 200
        ours.fail()

        end_an_epoch_elsewhere(api.settings)
        newcomer = create_tenant_elsewhere(api.settings)

        for answer in (*uses_of_keys(api), api.get("/v1/notice", key=newcomer), api.get("/ready")):
            problem = assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "this process" in problem["detail"]
        assert api.reasons("ana", "coupons") == ["granted"]
        assert api.client.get("/v1/notice").status_code == 200

        ours.mend()

        assert [answer.status_code for answer in uses_of_keys(api)] == [201, 200, 200, 200, 200, 200]
        assert api.get("/v1/notice", key=newcomer).status_code == 404  # It has not published one.
        assert api.get("/ready").status_code == 200
        api.sizes()


def test_housekeeping_goes_on_for_tenants_whose_keys_are_in_memory(
    migrated_url: str, tmp_path: Path, openbao: OpenBaoServer
) -> None:
    ours = openbao_whose_policy_changes(openbao)
    with ServiceApi(home=tmp_path / "home", database_url=migrated_url, **ours.settings) as api:
        assert api.decide("ana").status_code == 201
        basket = {"purchases": {"basket": ["milk"]}}
        assert api.client.patch("/v1/profile", json=basket, headers=api.headers("ana")).status_code == 200
        ours.fail()
        create_tenant_elsewhere(api.settings)
        api.clock.advance(days=250)

        with pytest.raises(ConfigurationError):  # The epoch is over, and cannot be ended.
            keep_house(api.service)

        database = api.service.deployment.database
        with database.reading() as connection:
            for table in ("key_grant", "profile_value"):
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0  # noqa: S608 - a name
        if database.dialect == "sqlite":
            assert Path(f"{make_url(migrated_url).database}-wal").stat().st_size == 0
        ours.mend()
        keep_house(api.service)
        api.sizes()


def uses_of_keys(api: ServiceApi) -> list[httpx2.Response]:
    """Ask for what needs a tenant's newest keys: a grant, a write, reads, uses, and everything held."""
    return [
        api.decide("ben"),
        api.client.patch("/v1/profile", json={"purchases": {"basket": ["milk"]}}, headers=api.headers("ana")),
        api.get("/v1/profile?purpose=coupons", "ana"),
        api.post("/v1/profiles/query", {"purpose": "coupons", "subjects": ["ana"]}),
        api.get("/v1/uses", "ana"),
        api.get("/v1/personal-data", "ana"),
    ]


def end_an_epoch_elsewhere(settings: Settings) -> None:
    """End every tenant's epoch, as another process does whose token OpenBao takes."""
    other = ConsentService.open(settings.model_copy(update={"keystore_secret": SecretStr(TOKEN)}))
    end_epochs(other.deployment, other.committer, other.deployment.tenants())
    other.close()


def create_tenant_elsewhere(settings: Settings) -> str:
    """Create a tenant in another process and return a key of its backend."""
    other = ConsentService.open(settings.model_copy(update={"keystore_secret": SecretStr(TOKEN)}))
    tenant = create_tenant(other.deployment, "newcomer")
    key = create_api_key(other.deployment, tenant, Role.BACKEND).key
    other.close()
    return key


def test_who_rotates_a_signing_key_in_openbao_changes_nothing(
    migrated_url: str, tmp_path: Path, openbao: OpenBaoServer
) -> None:
    settings = on_openbao(openbao.url, TOKEN)
    with ServiceApi(
        home=tmp_path / "home", database_url=migrated_url, signing_in_keystore=True, **settings
    ) as api:
        assert api.decide("ana").status_code == 201
        for name in openbao.api("LIST", "transit/keys").json()["data"]["keys"]:
            if name.endswith("-signing-1"):
                openbao.api("POST", f"transit/keys/{name}/rotate")

        assert api.decide("ben").status_code == 201

        api.sizes()
        vkeys = api.tenant.vkeys
    reopened = ConsentService.open(api.settings)
    assert require_tenant(reopened.deployment, "default").signer.vkey == vkeys[-1]
    check_ledger(reopened)
    reopened.close()


def batch_line(api: ServiceApi, subject: str) -> bytes:
    document = api.body({"coupons": "granted"}, subject=subject)
    return (json.dumps(document) + "\n").encode()
