"""The key hierarchy in memory: wraps that open in one place only."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.errors import SealBroken
from consent_service.vault.keyring import WRAPS_PER_TENANT_KEY, TenantKeyring, epoch_is_over, field_tag
from consent_service.vault.seal import HEADER_SIZE, SealingKey, open_sealed, seal

FIRST, SECOND = SealingKey(b"1" * 32), SealingKey(b"2" * 32)
SECRET = bytes(range(32))
PURCHASES, HOUSEHOLD = CategoryKey("purchases"), CategoryKey("household")
COUPONS, ADVICE = PurposeKey("coupons"), PurposeKey("recommendations")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MONTH = timedelta(days=30)

places = st.tuples(
    st.sampled_from(["s1", "s2", "s"]), st.sampled_from(["a", "ab", "b"]), st.sampled_from(["b", "ab", "a"])
)


def a_keyring(tenant: str = "shop", **versions: SealingKey) -> TenantKeyring:
    return TenantKeyring(tenant, {int(name[1:]): key for name, key in (versions or {"v1": FIRST}).items()})


def test_a_category_key_comes_back_through_its_purpose() -> None:
    ring = a_keyring()
    wrapped = ring.wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)

    opened = ring.unwrap_for_purpose(wrapped, subject="s1", category=PURCHASES, purpose=COUPONS)

    assert opened == SECRET
    assert SECRET not in wrapped


def test_keys_that_are_wrapped_together_come_back_one_by_one() -> None:
    ring = a_keyring()
    grants = [(PURCHASES, COUPONS, SECRET), (HOUSEHOLD, COUPONS, b"2" * 32), (PURCHASES, ADVICE, SECRET)]

    wraps = ring.wrap_each("s1", grants)

    assert [
        ring.unwrap_for_purpose(wrapped, subject="s1", category=category, purpose=purpose)
        for wrapped, (category, purpose, _) in zip(wraps, grants, strict=True)
    ] == [secret for _, _, secret in grants]
    assert len({wrapped[HEADER_SIZE : HEADER_SIZE + 12] for wrapped in wraps}) == len(wraps)  # no nonce twice


@given(places, places)
def test_a_wrap_opens_in_its_own_place_only(here: tuple[str, str, str], there: tuple[str, str, str]) -> None:
    ring = a_keyring()
    subject, category, purpose = here
    wrapped = ring.wrap_for_purpose(
        SECRET, subject=subject, category=CategoryKey(category), purpose=PurposeKey(purpose)
    )
    subject, category, purpose = there

    try:
        opened = ring.unwrap_for_purpose(
            wrapped, subject=subject, category=CategoryKey(category), purpose=PurposeKey(purpose)
        )
    except SealBroken:
        opened = b""

    assert (opened == SECRET) == (here == there)


def test_another_tenant_with_the_same_key_does_not_open_it() -> None:
    wrapped = a_keyring("shop").wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)

    with pytest.raises(SealBroken):
        a_keyring("other").unwrap_for_purpose(wrapped, subject="s1", category=PURCHASES, purpose=COUPONS)


def test_the_same_key_as_another_version_does_not_open_it() -> None:
    wrapped = a_keyring(v1=FIRST).wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)

    with pytest.raises(SealBroken):
        a_keyring(v2=FIRST).unwrap_for_purpose(wrapped, subject="s1", category=PURCHASES, purpose=COUPONS)


def test_a_new_epoch_wraps_under_its_own_key_and_still_opens_the_old() -> None:
    old = a_keyring(v1=FIRST).wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)
    ring = a_keyring(v1=FIRST, v2=SECOND)

    new = ring.wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)

    assert (ring.version_of(old), ring.version_of(new)) == (1, 2)
    assert ring.unwrap_for_purpose(old, subject="s1", category=PURCHASES, purpose=COUPONS) == SECRET


def test_a_wrap_of_a_destroyed_epoch_does_not_open() -> None:
    old = a_keyring(v1=FIRST).wrap_for_purpose(SECRET, subject="s1", category=PURCHASES, purpose=COUPONS)

    with pytest.raises(SealBroken, match="destroyed"):
        a_keyring(v2=SECOND).unwrap_for_purpose(old, subject="s1", category=PURCHASES, purpose=COUPONS)


def test_many_keys_come_back_in_order_whatever_their_epochs() -> None:
    old, new = a_keyring(v1=FIRST), a_keyring(v1=FIRST, v2=SECOND)
    secrets = [bytes([number]) * 32 for number in range(4)]
    grants = [
        (
            f"s{number}",
            PURCHASES,
            ring.wrap_for_purpose(secret, subject=f"s{number}", category=PURCHASES, purpose=COUPONS),
        )
        for number, (ring, secret) in enumerate(zip((old, old, new, old), secrets, strict=True))
    ]

    assert new.unwrap_each(COUPONS, grants) == secrets
    with pytest.raises(SealBroken):
        new.unwrap_each(COUPONS, [grants[0], ("s0", *grants[1][1:])])
    with pytest.raises(SealBroken):
        old.unwrap_each(COUPONS, grants)


def test_a_subjects_own_key_is_no_category_key() -> None:
    ring = a_keyring()
    wrapped = ring.wrap_subject_key(SECRET, subject="s1")

    assert ring.unwrap_subject_key(wrapped, subject="s1").secret == SECRET
    with pytest.raises(SealBroken):
        ring.unwrap_for_purpose(wrapped, subject="s1", category=PURCHASES, purpose=COUPONS)
    with pytest.raises(SealBroken):
        ring.unwrap_subject_key(wrapped, subject="s2")


def test_an_external_id_opens_on_its_own_row_only() -> None:
    ring = a_keyring()
    sealed = ring.seal_external_id("ana@shop.example", blind_index=b"1" * 32)

    assert ring.open_external_id(sealed, blind_index=b"1" * 32) == "ana@shop.example"
    with pytest.raises(SealBroken):
        ring.open_external_id(sealed, blind_index=b"2" * 32)


def test_a_category_key_seals_values() -> None:
    key = SealingKey(SECRET)

    assert open_sealed(key, seal(key, b"milk", b"here"), b"here") == b"milk"


def test_field_tags_of_two_subjects_have_nothing_in_common() -> None:
    assert field_tag(SECRET, "last_basket") == field_tag(SECRET, "last_basket")
    assert field_tag(SECRET, "last_basket") != field_tag(b"2" * 32, "last_basket")
    assert field_tag(SECRET, "last_basket") != field_tag(SECRET, "size")


@pytest.mark.parametrize(("age", "wraps"), [(MONTH, 0), (timedelta(0), WRAPS_PER_TENANT_KEY)])
def test_an_epoch_ends_by_age_or_by_wraps(age: timedelta, wraps: int) -> None:
    assert epoch_is_over(began_at=NOON, wraps=wraps, length=MONTH, now=NOON + age)


def test_an_epoch_lasts_until_its_last_second_and_wrap() -> None:
    now = NOON + MONTH - timedelta(seconds=1)

    assert not epoch_is_over(began_at=NOON, wraps=WRAPS_PER_TENANT_KEY - 1, length=MONTH, now=now)


def test_a_keyring_shows_no_key() -> None:
    shown = repr(a_keyring(v1=FIRST, v2=SECOND))

    assert shown == "TenantKeyring(tenant='shop', versions=[1, 2])"
