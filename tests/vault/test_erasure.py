"""Erasure: everything goes, the log still verifies, and a certificate says so, on both databases."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from consent_service.errors import ErasureRefused, InvalidNote, LedgerCorrupt, UnknownSubject
from consent_service.ledger.certificate import open_certificate
from consent_service.ledger.merkle import leaf_hash, verify_inclusion
from consent_service.ledger.note import NoteVerifier
from consent_service.operations.batch import Request
from consent_service.operations.deployment import Deployment
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.operations.manage_tenants import Role, create_api_key
from consent_service.operations.read_history import read_history
from consent_service.operations.read_ledger import prove_inclusion
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.settings import Settings
from consent_service.storage.change_store import read_erased
from tests.servers import ConsentServer
from tests.shop import Shop


def a_known_subject(shop: Shop, name: str = "ana") -> None:
    shop.grant(name, "coupons", "recommendations")
    shop.write(name, {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}})
    shop.deny(name, "recommendations")


def rows_of_subject(shop: Shop, subject_id: int) -> int:
    return sum(
        rows_where(shop, table, f"subject_id = {subject_id}")
        for table in ("record", "key_grant", "profile_value", "subject_key", "use_day")
    )


def rows_where(shop: Shop, table: str, condition: str) -> int:
    with shop.service.deployment.database.reading() as connection:
        statement = text(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608 - literals of this file
        return int(connection.execute(statement).scalar_one())


def test_nothing_of_the_subject_is_left(shop: Shop) -> None:
    a_known_subject(shop)
    assert rows_of_subject(shop, 1) > 0

    shop.erase("ana")

    assert rows_of_subject(shop, 1) == 0
    assert shop.rows("subject") == 0
    assert shop.reason("ana", "coupons") == "subject_erased"
    assert read_history(shop.service.deployment, shop.tenant, shop.subject("ana")) == []


def test_another_subject_keeps_everything(shop: Shop) -> None:
    a_known_subject(shop, "ana")
    a_known_subject(shop, "ben")

    shop.erase("ana")

    assert shop.read("ben", "coupons") == {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}}
    assert len(read_history(shop.service.deployment, shop.tenant, shop.subject("ben"))) == 2


def test_the_log_still_verifies_and_says_how_many_records_are_gone(shop: Shop) -> None:
    a_known_subject(shop)

    shop.erase("ana")

    verified = shop.check_ledger()
    assert (verified.size, verified.erased, verified.subjects) == (4, 2, 0)


def test_the_certificate_leads_to_its_entry_in_the_log(shop: Shop) -> None:
    a_known_subject(shop)
    ref = shop.tenant.ref(shop.subject("ana"))

    answer = shop.erase("ana")

    certificate = open_certificate(answer.certificate, NoteVerifier.parse(shop.tenant.signer.vkey))
    assert (certificate.index, certificate.subject) == (answer.index, ref)
    assert certificate.origin == shop.tenant.origin
    assert dict(certificate.record.destroyed) == {
        "records": 2,
        "subjects": 1,
        "key_grants": 2,
        "values": 2,
        "subject_keys": 0,
        "days_of_uses": 0,
    }
    proof = prove_inclusion(shop.service.deployment, shop.tenant, index=answer.index)
    verify_inclusion(
        index=answer.index,
        size=proof.size,
        leaf_hash=leaf_hash(certificate.leaf()),
        proof=proof.proof,
        root=proof.root,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"values":2', '"values":3'),
        lambda text: text.replace("consent-erasure/v1", "consent-erasure/v2"),
        lambda text: text[:-10] + "\n",
        lambda text: "\n" + text,
    ],
)
def test_a_changed_certificate_is_refused(shop: Shop, change: Callable[[str], str]) -> None:
    a_known_subject(shop)
    certificate = shop.erase("ana").certificate

    with pytest.raises(InvalidNote):
        open_certificate(change(certificate), NoteVerifier.parse(shop.tenant.signer.vkey))


def test_a_later_decision_starts_a_new_subject(shop: Shop) -> None:
    a_known_subject(shop)
    shop.erase("ana")

    index = shop.grant("ana", "coupons")

    history = read_history(shop.service.deployment, shop.tenant, shop.subject("ana"))
    assert [entry.index for entry in history] == [index]
    assert history[0].record.prev is None
    assert shop.read("ana", "coupons") == {}
    assert rows_of_subject(shop, 1) == 0


def test_erasing_between_two_decisions_of_one_commit_leaves_the_second(shop: Shop) -> None:
    requests: list[Request] = [
        shop.decision("ana", {"coupons": "granted"}),
        shop.decision("ben", {"coupons": "granted"}),
        EraseSubject(subject=shop.subject("ana")),
        shop.decision("ben", {"recommendations": "granted"}),
        shop.decision("ana", {"recommendations": "granted"}),
    ]

    answers = shop.service.committer.submit_many_blocking(shop.tenant, requests)

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert shop.reason("ana", "coupons") == "never_asked"
    assert shop.reason("ana", "recommendations") == "granted"
    assert shop.reason("ben", "coupons") == shop.reason("ben", "recommendations") == "granted"
    assert shop.rows("subject") == 2


def test_what_was_linked_to_her_goes_with_her(shop: Shop) -> None:
    shop.grant("browser-1", "coupons")
    a_known_subject(shop)
    link = LinkSubjects(anonymous=shop.subject("browser-1"), known=shop.subject("ana"), actor="backend")
    shop.service.committer.submit_blocking(shop.tenant, link)

    with pytest.raises(ErasureRefused):
        shop.erase("browser-1")
    shop.erase("ana")

    assert shop.rows("subject") == shop.rows("key_grant") == 0


def test_nobody_is_erased_twice(shop: Shop) -> None:
    with pytest.raises(UnknownSubject):
        shop.erase("ana")
    a_known_subject(shop)
    shop.erase("ana")

    with pytest.raises(UnknownSubject):
        shop.erase("ana")


def test_followers_can_ask_for_a_while_whom_an_erasure_was_about(shop: Shop) -> None:
    a_known_subject(shop)
    answer = shop.erase("ana")

    with shop.service.deployment.reading(shop.tenant) as scope:
        assert read_erased(scope, 0, answer.index + 1) == [(answer.index, answer.ref)]
        assert read_erased(scope, 0, answer.index) == []


def test_a_record_that_vanishes_without_an_erasure_is_found(tampered_shop: Shop) -> None:
    a_known_subject(tampered_shop, "ana")
    a_known_subject(tampered_shop, "ben")
    tampered_shop.erase("ana")

    tampered_shop.run("DELETE FROM record WHERE subject_id = 2")
    tampered_shop.run("DELETE FROM subject WHERE id = 2")

    with pytest.raises(LedgerCorrupt, match="4 records are missing, and erasures account for 2"):
        tampered_shop.check_ledger()


def test_the_files_hold_nothing_of_her_any_more(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path / "home")
    for name in ("ana", "ben"):
        a_known_subject(shop, name)
    with shop.service.deployment.database.reading() as connection:
        needles = [
            bytes(value)
            for query in (
                "SELECT wrapped FROM key_grant WHERE subject_id = 1",
                "SELECT sealed FROM profile_value WHERE subject_id = 1",
                "SELECT opening FROM record WHERE subject_id = 1",
                "SELECT body FROM record WHERE subject_id = 1",
                "SELECT sealed_id FROM subject WHERE id = 1",
                "SELECT blind_index FROM subject WHERE id = 1",
            )
            for (value,) in connection.execute(text(query))
        ]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(any(needle in path.read_bytes() for path in files) for needle in needles)

    shop.erase("ana")

    left = [path.read_bytes() for path in files if path.exists()]
    assert [needle for needle in needles if any(needle in content for content in left)] == []
    shop.close()


@pytest.mark.parametrize("round_number", range(3))
def test_a_killed_process_leaves_each_subject_whole_or_gone(
    migrated_url: str, tmp_path: Path, round_number: int
) -> None:
    names = [f"customer-{number}" for number in range(30)]
    shop = Shop(migrated_url, tmp_path)
    for name in names:
        a_known_subject(shop, name)
    shop.close()
    deployment = Deployment.open(Settings(home=tmp_path, database_url=SecretStr(migrated_url)))
    tenant = deployment.tenant_named("default")
    key = create_api_key(deployment, tenant, Role.BACKEND).key
    server = ConsentServer(home=tmp_path, database_url=migrated_url)
    answered: list[str] = []

    def erase(name: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "Consent-Subject": name}
        try:
            if httpx2.delete(f"{server.url}/v1/subject", headers=headers, timeout=30).status_code == 200:
                answered.append(name)
        except httpx2.TransportError:
            return
        if len(answered) == 5 * (round_number + 1):
            server.send(signal.SIGKILL)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(erase, names))
    server.kill()

    verified = verify_ledger(deployment, tenant)
    assert len(answered) >= 5 * (round_number + 1)
    assert verified.erased == 2 * (len(names) - verified.subjects)
    assert verified.subjects <= len(names) - len(answered)
    with deployment.database.reading() as connection:
        for table in ("key_grant", "profile_value"):
            query = f"SELECT count(DISTINCT subject_id) FROM {table}"  # noqa: S608 - literals
            assert connection.execute(text(query)).scalar_one() == verified.subjects
    deployment.close()
