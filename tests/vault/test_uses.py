"""Uses: every read and every reported use is noted, sealed, and shown to the subject, on both databases."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature, UseCount, UseKind, added, date_of, day_of
from consent_service.errors import SealBroken, UnknownPurpose
from consent_service.ledger.words import spoken_languages
from consent_service.observability import USES
from consent_service.operations.read_uses import DayOfUses, read_uses
from consent_service.operations.record_uses import UsesRecorder
from consent_service.operations.report_uses import ReportedUse, report_uses
from consent_service.storage.vault_store import find_uses
from consent_service.vault.use_days import decode_uses, encode_uses
from tests.shop import Shop

COUPONS = PurposeKey("coupons")
HOUSEHOLD, PURCHASES = CategoryKey("household"), CategoryKey("purchases")
MAILING = Feature("mailing")

words = st.text("abc_.-", min_size=1, max_size=4)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - the zone comes next
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)
kinds = st.builds(
    UseKind,
    purpose=words.map(PurposeKey),
    feature=words.map(Feature),
    category=words.map(CategoryKey),
)
counts = st.builds(UseCount, times=st.integers(1, 10**9), last=moments)
days = st.dictionaries(kinds, counts, max_size=5)


def use(shop: Shop, name: str, category: CategoryKey = HOUSEHOLD, times: int = 1) -> None:
    kind = UseKind(purpose=COUPONS, feature=MAILING, category=category)
    shop.service.uses.note(shop.tenant, shop.subject_id(name), [(kind, times)], shop.now)


def seen(shop: Shop, name: str, *, language: str = "en") -> tuple[list[DayOfUses], list[str]]:
    return read_uses(
        shop.service.deployment, shop.service.uses, shop.tenant, shop.subject(name), language=language
    )


def times(shop: Shop, name: str) -> int:
    return sum(count.times for day in seen(shop, name)[0] for count in day.uses.values())


@given(days)
def test_a_day_of_uses_comes_back_as_it_was(day: dict[UseKind, UseCount]) -> None:
    data = encode_uses(day)

    assert decode_uses(data) == day
    assert len(data) % 64 == 0


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'[["a","b","c",1]]', b"null", b"\xff"])
def test_other_bytes_are_no_day_of_uses(data: bytes) -> None:
    with pytest.raises(SealBroken):
        decode_uses(data)


@given(days, days)
def test_adding_counts_loses_none(first: dict[UseKind, UseCount], second: dict[UseKind, UseCount]) -> None:
    total = added(first, second)

    assert sum(count.times for count in total.values()) == sum(
        count.times for day in (first, second) for count in day.values()
    )
    assert added(second, first) == total


def test_uses_of_one_day_are_counted_together(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    for _ in range(11):
        use(shop, "ana")
    shop.pass_time(timedelta(hours=1))
    use(shop, "ana")

    [day], told = seen(shop, "ana")

    [(kind, count)] = day.uses.items()
    assert (kind.purpose, kind.feature, kind.category) == (COUPONS, MAILING, HOUSEHOLD)
    assert (count.times, count.last) == (12, shop.now)
    assert date_of(day.day) == shop.now.date()
    assert told == [
        "Your household (age band, size): used 12 times for Coupons chosen for you, last on 2026-11-21."
    ]


def test_what_was_stored_before_is_added_to(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana", times=3)
    shop.service.uses.flush()
    shop.reopen()
    use(shop, "ana", times=4)

    assert times(shop, "ana") == 7
    assert shop.rows("use_day") == 1


def test_days_are_kept_apart(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana")
    shop.pass_time(timedelta(days=1))
    use(shop, "ana", PURCHASES)

    told = seen(shop, "ana", language="fr")

    assert [date_of(day.day).isoformat() for day in told[0]] == ["2026-11-21", "2026-11-22"]
    assert told[1][0].startswith("Ce que vous avez acheté ici : utilisé une fois pour Coupons choisis")
    assert len(told[1]) == 2


def test_sentences_come_in_every_language_of_the_interface(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana", times=3)

    told = {language: seen(shop, "ana", language=language)[1][0] for language in spoken_languages()}

    assert len(set(told.values())) == len(told) == 30
    assert all("3" in sentence and "2026-11-21" in sentence for sentence in told.values())
    assert "Coupons choisis pour vous" in told["fr"]
    assert told["de"].endswith("3-mal für Coupons chosen for you verwendet, zuletzt am 2026-11-21.")


def test_a_use_says_nothing_in_the_database(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana")
    shop.service.uses.flush()

    with shop.service.deployment.reading(shop.tenant) as scope:
        [day] = find_uses(scope, [1])
    assert b"coupons" not in day.sealed
    assert b"household" not in day.sealed


def test_reported_uses_are_of_the_purposes_categories_and_of_known_subjects(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    reported = [
        ReportedUse(subject=shop.subject(name), purpose="coupons", feature="mail", categories=None, times=2)
        for name in ("ana", "stranger")
    ]

    noted = report_uses(shop.service.deployment, shop.service.uses, shop.tenant, reported)

    assert noted == 1
    assert {kind.category: count.times for kind, count in seen(shop, "ana")[0][0].uses.items()} == {
        PURCHASES: 2,
        HOUSEHOLD: 2,
    }
    assert seen(shop, "stranger") == ([], [])


@pytest.mark.parametrize(("purpose", "category"), [("everything", None), ("coupons", "browsing")])
def test_uses_of_what_no_notice_has_are_refused(shop: Shop, purpose: str, category: str | None) -> None:
    shop.grant("ana", "coupons")
    reported = ReportedUse(
        subject=shop.subject("ana"),
        purpose=purpose,
        feature="mailing",
        categories=None if category is None else [category],
        times=1,
    )

    with pytest.raises(UnknownPurpose):
        report_uses(shop.service.deployment, shop.service.uses, shop.tenant, [reported])


def test_uses_go_with_an_erasure_and_late_ones_are_dropped(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana")
    shop.service.uses.flush()
    use(shop, "ana")

    shop.erase("ana")
    shop.service.uses.flush()

    assert shop.rows("use_day") == shop.rows("subject_key") == 0


def test_beyond_the_limit_new_counts_are_dropped_and_counted(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    recorder = UsesRecorder(shop.service.deployment, limit=1)
    before = USES.labels("dropped")._value.get()
    for category in (HOUSEHOLD, PURCHASES, HOUSEHOLD):
        kind = UseKind(purpose=COUPONS, feature=MAILING, category=category)
        recorder.note(shop.tenant, 1, [(kind, 5)], shop.now)

    recorder.close()

    assert times(shop, "ana") == 10
    assert USES.labels("dropped")._value.get() == before + 5


def test_several_recorders_lose_no_count(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    kind = UseKind(purpose=COUPONS, feature=MAILING, category=HOUSEHOLD)

    def work() -> None:
        recorder = UsesRecorder(shop.service.deployment, limit=1000)
        for _ in range(5):
            recorder.note(shop.tenant, 1, [(kind, 1)], shop.now)
            recorder.flush()
        recorder.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert times(shop, "ana") == 20


def test_a_damaged_day_begins_anew(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    use(shop, "ana")
    shop.service.uses.flush()
    shop.run("UPDATE use_day SET sealed = :damaged", damaged=b"damaged")
    with pytest.raises(SealBroken):
        seen(shop, "ana")

    use(shop, "ana", times=2)

    assert times(shop, "ana") == 2


def test_the_day_of_a_moment_is_that_of_utc() -> None:
    assert date_of(day_of(datetime(2026, 11, 21, 23, 59, tzinfo=UTC))).isoformat() == "2026-11-21"
    assert date_of(day_of(datetime(2026, 11, 22, 0, 0, tzinfo=UTC))).isoformat() == "2026-11-22"
