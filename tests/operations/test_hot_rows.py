"""Rows that are handed to the driver as tuples arrive as they are, on both databases."""

import pytest
from sqlalchemy.exc import IntegrityError

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.storage.ledger_store import append_rows, read_leaves, read_record
from consent_service.storage.vault_store import KeyGrant, find_grants, store_grants
from tests.installation import Installation


def a_grant(category: str, wrapped: bytes) -> KeyGrant:
    return KeyGrant(7, PurposeKey("coupons"), CategoryKey(category), 1, 2**40, 1, wrapped)


def test_inserted_rows_are_read_back(unchecked_installation: Installation) -> None:
    every_byte, long = bytes(range(256)), b"\0" * 100_000
    with unchecked_installation.service.deployment.writing(unchecked_installation.tenant) as scope:
        append_rows(
            scope,
            entries=[(2**40, every_byte), (2**40 + 1, b"")],
            records=[(2**40, None, every_byte, long), (2**40 + 1, 2**41, b"\\N", b"\t\n")],
        )

    with unchecked_installation.service.deployment.reading(unchecked_installation.tenant) as scope:
        assert read_leaves(scope, 2**40, 2**40 + 2) == [every_byte, b""]
        nobodys, somebodys = read_record(scope, 2**40), read_record(scope, 2**40 + 1)
    assert (nobodys.subject_id, nobodys.opening, nobodys.body) == (None, every_byte, long)
    assert (somebodys.subject_id, somebodys.opening, somebodys.body) == (2**41, b"\\N", b"\t\n")


def test_of_rows_with_the_same_key_in_one_upsert_the_last_one_stays(
    unchecked_installation: Installation,
) -> None:
    with unchecked_installation.service.deployment.writing(unchecked_installation.tenant) as scope:
        store_grants(scope, [a_grant("purchases", b"before")])
        first, new, last = a_grant("purchases", b"1"), a_grant("browsing", b"2"), a_grant("purchases", b"3")
        store_grants(scope, [first, new, last])
        stored = {grant.category: grant.wrapped for grant in find_grants(scope, [7])}

    assert stored == {"purchases": b"3", "browsing": b"2"}


def test_rows_that_the_database_refuses_leave_no_trace(installation: Installation) -> None:
    deployment, tenant = installation.service.deployment, installation.tenant

    with pytest.raises(IntegrityError), deployment.writing(tenant) as scope:
        append_rows(scope, entries=[(1, b"new"), (0, b"there already")], records=[])

    assert installation.decide("customer-1", {"coupons": "granted"}).index == 1
