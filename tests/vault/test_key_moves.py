"""After every commit the key grants are those that the projection says, whatever came together."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from consent_service.operations.batch import Request
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.operations.record_decision import RecordDecision
from consent_service.storage.subject_store import find_known, to_ms
from consent_service.storage.vault_store import find_grants
from tests.builders import a_notice
from tests.shop import Shop

PURPOSES = a_notice().purposes
NAMES = ("ana", "ben", "cleo")


@pytest.mark.parametrize("seed", range(3))
def test_key_grants_follow_what_was_decided_and_linked_in_one_commit(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  # the same tests every time
    visitors = [f"visitor-{number}" for number in range(12)]
    for name in (*NAMES, *visitors):
        shop.decide(name, choices(dice))
        shop.pass_time(timedelta(hours=1))

    for visitor in visitors:
        names = [*dice.choices(NAMES, k=6), f"new-{visitor}", f"new-{visitor}"]
        together: list[Request] = [
            decision(shop, name, choices(dice), minutes_ago=len(names) - made)
            for made, name in enumerate(names)
        ]
        together.insert(dice.randrange(5), link(shop, visitor, dice.choice(NAMES)))
        answers = shop.service.committer.submit_many_blocking(shop.tenant, together)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        shop.pass_time(timedelta(hours=1))

        for name in (*NAMES, f"new-{visitor}"):
            assert stored(shop, name) == projected(shop, name)


def test_a_grant_under_the_old_words_takes_nothing_from_one_under_the_new(shop: Shop) -> None:
    late = shop.decision("ana", {"coupons": "granted"})
    newer = {"purposes/coupons/version": 2, "purposes/coupons/categories": ["household", "browsing"]}
    shop.publish(a_notice(newer))
    shop.grant("ana", "coupons")
    shop.write("ana", {"browsing": {"latest": "tea"}})
    held = stored(shop, "ana")

    shop.service.committer.submit_blocking(shop.tenant, late)

    assert stored(shop, "ana") == held
    assert shop.read("ana", "coupons") == {"browsing": {"latest": "tea"}}


def choices(dice: random.Random) -> dict[str, str]:
    """Grants for the most part, so that many are renewals."""
    chosen = dice.sample(sorted(PURPOSES), dice.randint(1, len(PURPOSES)))
    return {purpose: "denied" if dice.random() < 0.25 else "granted" for purpose in chosen}


def decision(shop: Shop, name: str, chosen: Mapping[str, str], *, minutes_ago: int) -> RecordDecision:
    """One whose validity began when it was made, not when it is recorded."""
    made = shop.decision(name, chosen)
    return replace(
        made, decision=replace(made.decision, decided_at=shop.now - timedelta(minutes=minutes_ago))
    )


def link(shop: Shop, anonymous: str, known: str) -> LinkSubjects:
    return LinkSubjects(anonymous=shop.subject(anonymous), known=shop.subject(known), actor="backend")


def stored(shop: Shop, name: str) -> set[tuple[str, str, int, int]]:
    """Purpose, category, the purpose's version and until when, of each of her key grants."""
    number = shop.subject_id(name)
    with shop.service.deployment.reading(shop.tenant) as scope:
        grants = find_grants(scope, [number])
    return {(each.purpose, each.category, each.purpose_version, each.valid_until_ms) for each in grants}


def projected(shop: Shop, name: str) -> set[tuple[str, str, int, int]]:
    """The same by what she decided."""
    blind_index = shop.subject(name).blind_index
    with shop.service.deployment.reading(shop.tenant) as scope:
        _, state = find_known(scope, [blind_index])[blind_index]
    return {
        (key, category, consent.purpose_version, to_ms(consent.valid_until))
        for key, consent in state.consents.items()
        if consent.granting
        for category in PURPOSES[key].categories
    }


def test_refusals_repeated_in_one_commit_are_stored(shop: Shop) -> None:
    shop.deny("ana", "coupons")
    shop.deny("ben", "coupons")

    together = [shop.decision(name, {"recommendations": "denied"}) for name in ("ana", "ben")]
    answers = shop.service.committer.submit_many_blocking(shop.tenant, together)

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert [shop.reason(name, "recommendations") for name in ("ana", "ben")] == ["refused", "refused"]
