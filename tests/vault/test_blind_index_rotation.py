"""Replacing the key under which subjects are found: nobody is lost or doubled, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text

from consent_service.domain.profile import parse_changes
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import PurposeClosed, SealBroken
from consent_service.followers.keeper import keep_house
from consent_service.operations.check_gate import GateQuestion
from consent_service.operations.committer import Committer
from consent_service.operations.deployment import KEYS_LOCK, Deployment
from consent_service.operations.export_audit import AuditRequest, export_audit
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.read_profile import Profile, ProfileQuestion, read_profiles
from consent_service.operations.rotate_blind_index import rotate_blind_index
from consent_service.operations.tenant import Subject, Tenant
from consent_service.operations.update_profile import update_profile
from consent_service.verifier.verify import verify_pack
from tests.service_api import ServiceApi
from tests.shop import Shop
from tests.vault.rotations import SIZE, customers_come_and_go, die_rotating, settle, versions

NAMES = [f"customer-{number}" for number in range(20)]


def rotate(shop: Shop) -> None:
    deployment = shop.service.deployment
    rotate_blind_index(deployment, shop.service.committer, deployment.tenants())


def indexes(shop: Shop) -> set[bytes]:
    with shop.service.deployment.database.reading() as connection:
        return set(connection.execute(text("SELECT blind_index FROM subject")).scalars())


def refs(shop: Shop) -> dict[str, str]:
    return {name: shop.tenant.ref(shop.subject(name)) for name in NAMES}


def gate(shop: Shop, tenant: Tenant, subject: Subject) -> tuple[str, str]:
    question = GateQuestion(tenant_id=tenant.id, subject=subject, purposes=[PurposeKey("coupons")])
    [answer] = shop.service.gate.answer_all([question])
    assert not isinstance(answer, Exception)
    return answer.ref, answer.verdicts[PurposeKey("coupons")].reason.value


def test_everybody_is_found_under_the_new_key_and_keeps_her_reference(shop: Shop, tmp_path: Path) -> None:
    settle(shop, NAMES)
    before, known, size = indexes(shop), refs(shop), shop.check_ledger().size

    rotate(shop)

    assert versions(shop, "blind_index") == [2]
    assert not indexes(shop) & before
    assert refs(shop) == known
    assert shop.check_ledger().size == size + 1  # The ledger says that there is a new key.
    pack = tmp_path / "pack.zip"
    pack.write_bytes(b"".join(export_audit(shop.service.deployment, shop.tenant, AuditRequest())))
    assert verify_pack(pack, vkey=shop.tenant.signer.vkey)["size"] == size + 1
    assert all(shop.read(name, "coupons") == SIZE for name in NAMES)
    data = read_personal_data(
        shop.service.deployment, shop.service.uses, shop.tenant, shop.subject("customer-7")
    )
    assert (data.external_id, data.ref) == ("customer-7", known["customer-7"])
    shop.deny("customer-7", "coupons")
    assert shop.rows("subject") == len(NAMES)


def test_a_process_that_knows_the_key_of_before_finds_everybody_and_makes_nobody_twice(shop: Shop) -> None:
    settle(shop, ["ana", "ben"])
    other = Deployment.open(shop.settings, clock=lambda: shop.now)
    committer = Committer(other)

    rotate_blind_index(other, committer, other.tenants())

    committer.close()
    other.close()
    stale, ana, new = shop.tenant, shop.subject("ana"), shop.subject("new")
    assert ana.blind_index not in indexes(shop)
    assert gate(shop, stale, ana) == (stale.ref(ana), "granted")
    assert gate(shop, stale, new) == (stale.ref(new), "never_asked")
    profiles = [ProfileQuestion(subjects=[subject], purpose=PurposeKey("coupons")) for subject in (ana, new)]
    [[open_one], [closed]] = [read_profiles(shop.service.deployment, stale, each) for each in profiles]
    assert isinstance(open_one, Profile)
    assert open_one.attributes == SIZE
    assert isinstance(closed, PurposeClosed)
    update_profile(shop.service.deployment, stale, ana, parse_changes({"household": {"size": 3}}))
    for subject, choice in ((ana, "denied"), (new, "granted")):
        decision = replace(shop.decision("-", {"coupons": choice}), subject=subject)
        shop.service.committer.submit_blocking(stale, decision)
    assert gate(shop, stale, ana) == (stale.ref(ana), "withdrawn")
    assert gate(shop, stale, new) == (stale.ref(new), "granted")
    assert shop.rows("subject") == 3
    assert shop.subject("new").blind_index in indexes(shop)


def test_a_rotation_killed_in_every_step_loses_nobody_and_the_keeper_finishes_it(shop: Shop) -> None:
    """Each run ends itself, as by `kill -9`, one step later than the last; a service goes on meanwhile."""
    settle(shop, NAMES)
    known, stale = refs(shop), {name: shop.subject(name) for name in NAMES}

    for step in ("move", "retire"):
        die_rotating(shop, "blind-index", step)

        assert versions(shop, "blind_index") == [1, 2]
        answers = {name: gate(shop, shop.tenant, stale[name]) for name in NAMES}
        assert answers == {name: (known[name], "granted") for name in NAMES}
        settle(shop, [NAMES[0], NAMES[-1], f"late-{step}"])
        shop.check_ledger()
    assert keep_house(shop.service, hourly=False)
    assert versions(shop, "blind_index") == [1, 2]
    assert keep_house(shop.service)
    shop.reopen()
    assert versions(shop, "blind_index") == [2]
    assert shop.rows("subject") == len(NAMES) + 2
    assert all(shop.read(name, "coupons") == SIZE for name in [*NAMES, "late-move", "late-retire"])
    assert refs(shop) == known


def test_the_keeper_begins_no_rotation_and_leaves_one_that_goes_on_alone(shop: Shop) -> None:
    settle(shop, ["ana"])
    with shop.service.deployment.database.exclusively(KEYS_LOCK):
        shop.pass_time(timedelta(days=31))
        keep_house(shop.service)
        assert (versions(shop, "blind_index"), versions(shop, "vault")) == ([1], [1])

    keep_house(shop.service)

    assert (versions(shop, "blind_index"), versions(shop, "vault")) == ([1], [2])


def test_decisions_reads_and_new_subjects_go_on_meanwhile(shop: Shop) -> None:
    settle(shop, NAMES)
    new = count()
    joined: list[str] = []

    def join() -> None:
        joined.append(f"new-{next(new)}")
        shop.grant(joined[-1], "coupons")

    with customers_come_and_go(shop, NAMES, join):
        for _ in range(2):
            rotate(shop)

    assert versions(shop, "blind_index") == [3]
    assert shop.rows("subject") == len(NAMES) + len(joined)
    assert all(shop.read(name, "coupons") == SIZE for name in NAMES)


def test_a_subject_whose_sealed_id_is_damaged_is_still_found_until_she_is_erased(tampered_shop: Shop) -> None:
    shop = tampered_shop
    settle(shop, ["ana", "ben"])
    shop.run("UPDATE subject SET sealed_id = :damaged WHERE id = 1", damaged=b"damaged")

    with pytest.raises(SealBroken, match="1 subjects were not moved"):
        rotate(shop)

    assert versions(shop, "blind_index") == [1, 2]
    assert [shop.read(name, "coupons") for name in ("ana", "ben")] == [SIZE, SIZE]
    shop.erase("ana")
    rotate(shop)
    assert versions(shop, "blind_index") == [2]
    assert shop.read("ben", "coupons") == SIZE


@pytest.fixture
def api(migrated_url: str, tmp_path: Path) -> Iterator[ServiceApi]:
    """The HTTP API with its clock."""
    with ServiceApi(home=tmp_path / "home", database_url=migrated_url, credential_cache_seconds=60.0) as api:
        yield api


def test_tokens_and_idempotency_keys_outlive_the_rotation(api: ServiceApi) -> None:
    body = api.body({"coupons": "granted"})
    headers = {**api.headers("ana"), "Idempotency-Key": "one"}
    first = api.client.post("/v1/decisions", json=body, headers=headers)
    token = api.token("ana")

    deployment = api.service.deployment
    rotate_blind_index(deployment, api.service.committer, deployment.tenants())

    again = api.client.post("/v1/decisions", json=body, headers=headers)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (
        201,
        first.json(),
        "true",
    )
    own = api.get("/v1/consents", key=token)
    assert own.json()["consents"]["coupons"]["status"] == "given"
