"""Rows put where another's stood, by somebody who can write to the database: nothing of them opens."""

from collections.abc import Callable

import pytest

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature
from consent_service.errors import PurposeClosed, SealBroken, WrongKey
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.read_profile import ProfileQuestion, read_profiles
from consent_service.operations.read_uses import read_uses
from tests.shop import Shop

STRANGERS = {"another subject": (1, 2), "another tenant": (2, 1)}
"""Tenant and number of who did just what ana did: she is subject 1 of tenant 1."""

CUSTOMERS = ("ana", "ben", "ana")


@pytest.fixture(params=STRANGERS)
def stranger(request: pytest.FixtureRequest, tampered_shop: Shop) -> tuple[int, int]:
    """Whose rows change places with ana's."""
    shop = tampered_shop
    other = shop.beside("other")
    for customer, name in zip((shop, shop, other), CUSTOMERS, strict=True):
        customer.grant(name, "coupons")
        customer.write(name, {"purchases": {"note": f"canary of {name}"}})
        use = (PurposeKey("coupons"), Feature("mail"))
        number = customer.subject_id(name)
        shop.service.uses.note_reads(customer.tenant, use, [(number, [CategoryKey("purchases")])])
    shop.service.uses.flush()
    return STRANGERS[request.param]


def swap(shop: Shop, stranger: tuple[int, int], *tables: str) -> None:
    """Let ana's rows of these tables change places with the stranger's."""
    ana, nobody = (1, 1), (1, 999)
    for table in tables:
        for old, new in ((ana, nobody), (stranger, ana), (nobody, stranger)):
            shop.run(
                f"UPDATE {table} SET tenant_id = :new_tenant, subject_id = :new_subject"  # noqa: S608 - a name
                " WHERE tenant_id = :old_tenant AND subject_id = :old_subject",
                new_tenant=new[0],
                new_subject=new[1],
                old_tenant=old[0],
                old_subject=old[1],
            )


def profile(shop: Shop) -> object:
    return shop.read("ana", "coupons")


def read_together(shop: Shop) -> object:
    """Read ana's profile together with ben's."""
    question = ProfileQuestion(
        subjects=[shop.subject("ana"), shop.subject("ben")], purpose=PurposeKey("coupons")
    )
    return read_profiles(shop.service.deployment, shop.tenant, question)


def personal_data(shop: Shop) -> object:
    return read_personal_data(shop.service.deployment, shop.service.uses, shop.tenant, shop.subject("ana"))


def uses(shop: Shop) -> object:
    return read_uses(
        shop.service.deployment, shop.service.uses, shop.tenant, shop.subject("ana"), language="en"
    )


def assert_refused(caplog: pytest.LogCaptureFixture, read: Callable[[Shop], object], shop: Shop) -> None:
    with pytest.raises(SealBroken) as refused:
        read(shop)
    assert "canary" not in f"{refused.value!r}{refused.value.__context__!r}{caplog.text}"


def test_a_profile_whose_rows_are_anothers_does_not_open(
    tampered_shop: Shop, stranger: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    shop = tampered_shop

    for tables in (["profile_value"], ["key_grant"], ["key_grant", "profile_value"]):
        swap(shop, stranger, *tables)
        for reading in (profile, read_together, personal_data):
            assert_refused(caplog, reading, shop)
        if "key_grant" in tables:
            with pytest.raises(SealBroken):
                shop.write("ana", {"purchases": {"size": 2}})
        swap(shop, stranger, *tables)

    assert shop.rows("profile_value") == len(CUSTOMERS)
    assert shop.read("ana", "coupons") == {"purchases": {"note": "canary of ana"}}


def test_a_decision_does_not_take_anothers_key_along(tampered_shop: Shop, stranger: tuple[int, int]) -> None:
    shop = tampered_shop
    swap(shop, stranger, "key_grant", "profile_value")

    shop.grant("ana", "support_context")

    assert shop.read("ana", "support_context") == {}
    assert shop.rows("profile_value") == len(CUSTOMERS) - 1


def test_uses_whose_rows_are_anothers_do_not_open(
    tampered_shop: Shop, stranger: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    for tables in (["use_day"], ["subject_key"], ["subject_key", "use_day"]):
        swap(tampered_shop, stranger, *tables)
        for read in (uses, personal_data):
            assert_refused(caplog, read, tampered_shop)
        swap(tampered_shop, stranger, *tables)


def test_a_name_that_is_anothers_is_shown_to_nobody(
    tampered_shop: Shop, stranger: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    tenant, subject = stranger
    tampered_shop.run(
        "UPDATE subject SET sealed_id ="
        " (SELECT sealed_id FROM subject WHERE tenant_id = :tenant AND id = :subject)"
        " WHERE tenant_id = 1 AND id = 1",
        tenant=tenant,
        subject=subject,
    )

    assert_refused(caplog, personal_data, tampered_shop)


def test_a_tenant_key_that_is_another_tenants_is_refused_at_the_start(tampered_shop: Shop) -> None:
    shop = tampered_shop
    shop.beside("other")
    shop.run(
        "UPDATE tenant_key SET wrapped ="
        " (SELECT wrapped FROM tenant_key WHERE tenant_id = 2 AND purpose = 'vault')"
        " WHERE tenant_id = 1 AND purpose = 'vault'"
    )

    with pytest.raises(WrongKey):
        shop.reopen()


def test_what_was_moved_to_who_granted_nothing_stays_closed(tampered_shop: Shop) -> None:
    shop = tampered_shop
    shop.grant("ana", "coupons")
    shop.write("ana", {"purchases": {"note": "canary of ana"}})
    shop.deny("ben", "coupons")
    for table in ("key_grant", "profile_value"):
        shop.run(f"UPDATE {table} SET subject_id = 2")  # noqa: S608 - a name

    with pytest.raises(PurposeClosed):
        shop.read("ben", "coupons")
