"""A profile opens through a live choice only, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from consent_service.domain.profile import MAX_FIELDS, Attributes
from consent_service.domain.purpose import PurposeKey
from consent_service.errors import InvalidProfile, NoLiveGrant, PurposeClosed, SealBroken
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.read_profile import ProfileQuestion, read_profiles
from tests.builders import REMOVED, a_notice
from tests.shop import Shop

MONTHS = timedelta(days=31)


def test_what_was_stored_is_read_through_a_purpose_that_was_granted(shop: Shop) -> None:
    shop.grant("ana", "coupons")

    stored = shop.write("ana", {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}})

    assert stored == ["purchases.last_basket", "household.size"]
    assert shop.read("ana", "coupons") == {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}}


def test_a_purpose_sees_its_own_categories_and_no_other(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write(
        "ana", {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}, "browsing": {"pages": 7}}
    )

    seen = shop.read("ana", "recommendations")

    assert seen == {"purchases": {"last_basket": ["milk"]}, "browsing": {"pages": 7}}


def test_writing_a_category_that_nobody_granted_stores_nothing(shop: Shop) -> None:
    shop.grant("ana", "recommendations")

    with pytest.raises(NoLiveGrant) as caught:
        shop.write("ana", {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}})

    assert caught.value.categories == ("household",)
    assert shop.read("ana", "recommendations") == {}
    assert shop.rows("profile_value") == 0


def test_special_data_is_stored_only_where_a_purpose_that_lists_it_was_granted(shop: Shop) -> None:
    shop.publish(
        a_notice(
            {
                "categories/support_history/dpv": "pd:MedicalHealth",
                "categories/support_history/special": True,
                "purposes/ai_assistance/version": 2,
                "purposes/support_context/version": 2,
            }
        )
    )
    special = {"support_history": {"last": "an allergy"}}
    shop.grant("ana", "coupons", "recommendations")
    with pytest.raises(NoLiveGrant) as refused:
        shop.write("ana", special)
    assert refused.value.categories == ("support_history",)

    shop.grant("ana", "ai_assistance")

    assert shop.write("ana", special) == ["support_history.last"]
    assert shop.read("ana", "ai_assistance") == special


def test_nothing_is_stored_about_a_stranger(shop: Shop) -> None:
    with pytest.raises(NoLiveGrant):
        shop.write("nobody", {"purchases": {"last_basket": ["milk"]}})

    assert shop.write("nobody", {"purchases": None}) == []


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({}, "never_asked"),
        ({"coupons": "denied"}, "refused"),
        ({"recommendations": "granted"}, "never_asked"),
    ],
)
def test_reading_without_a_grant_of_the_purpose_is_refused(
    shop: Shop, choices: dict[str, str], reason: str
) -> None:
    if choices:
        shop.decide("ana", choices)

    assert shop.reason("ana", "coupons") == reason


def test_an_unknown_purpose_opens_nothing(shop: Shop) -> None:
    shop.grant("ana", "coupons")

    assert shop.reason("ana", "everything") == "purpose_unknown"


def test_a_withdrawal_deletes_the_keys_and_the_values_that_nobody_else_holds(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}})

    shop.deny("ana", "coupons")

    assert shop.reason("ana", "coupons") == "withdrawn"
    assert shop.read("ana", "recommendations") == {"purchases": {"last_basket": ["milk"]}}
    assert shop.rows("profile_value") == 1
    assert shop.rows("key_grant") == 2


def test_a_new_grant_after_a_withdrawal_finds_nothing(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    shop.deny("ana", "coupons")

    shop.grant("ana", "coupons")

    assert shop.read("ana", "coupons") == {}


def test_denying_and_granting_in_one_commit_forgets_in_between(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    requests = [shop.decision("ana", {"coupons": "denied"}), shop.decision("ana", {"coupons": "granted"})]

    shop.service.committer.submit_many_blocking(shop.tenant, requests)

    assert shop.read("ana", "coupons") == {}
    assert shop.write("ana", {"household": {"size": 3}}) == ["household.size"]
    assert shop.read("ana", "coupons") == {"household": {"size": 3}}


def test_a_second_purpose_opens_what_the_first_one_stored(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}})

    shop.grant("ana", "support_context")

    assert shop.read("ana", "support_context") == {"purchases": {"last_basket": ["milk"]}}


def test_an_expired_grant_closes_at_once_and_a_late_renewal_finds_everything(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    shop.pass_time(6 * MONTHS)
    assert shop.reason("ana", "coupons") == "expired"
    with pytest.raises(NoLiveGrant):
        shop.write("ana", {"household": {"size": 3}})

    shop.grant("ana", "coupons")

    assert shop.read("ana", "coupons") == {"household": {"size": 2}}


def test_a_newer_version_of_a_purpose_closes_it_until_it_is_granted_again(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    shop.publish(a_notice({"purposes/coupons/version": 2}))
    assert shop.reason("ana", "coupons") == "notice_outdated"

    shop.grant("ana", "coupons")

    assert shop.read("ana", "coupons") == {"household": {"size": 2}}


def test_a_purpose_that_asks_for_less_sees_less(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}, "purchases": {"last_basket": ["milk"]}})

    shop.publish(a_notice({"purposes/coupons/categories": ["purchases"]}))

    assert shop.read("ana", "coupons") == {"purchases": {"last_basket": ["milk"]}}
    with pytest.raises(NoLiveGrant):
        shop.write("ana", {"household": {"size": 3}})


def test_null_deletes_a_field_and_a_category(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2, "pets": 1}, "purchases": {"last_basket": ["milk"]}})

    stored = shop.write("ana", {"household": {"pets": None, "size": 3}, "purchases": None})

    assert stored == ["household.size"]
    assert shop.read("ana", "coupons") == {"household": {"size": 3}}
    assert shop.rows("profile_value") == 1


def test_null_deletes_without_a_live_grant(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    shop.pass_time(6 * MONTHS)

    assert shop.write("ana", {"household": {"size": None}}) == []
    assert shop.rows("profile_value") == 0


def test_only_the_wanted_fields_are_returned(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write(
        "ana", {"household": {"size": 2, "pets": 1}, "purchases": {"last_basket": ["milk"], "total": 9.5}}
    )

    seen = shop.read("ana", "coupons", fields=frozenset({"household.size", "purchases"}))

    assert seen == {"household": {"size": 2}, "purchases": {"last_basket": ["milk"], "total": 9.5}}


def test_derived_values_disappear_with_the_purpose_they_were_made_for(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}})
    shop.write("ana", {"purchases": {"taste": 0.7}}, derived_for="recommendations")
    assert shop.read("ana", "coupons") == {"purchases": {"last_basket": ["milk"], "taste": 0.7}}

    shop.deny("ana", "recommendations")

    assert shop.read("ana", "coupons") == {"purchases": {"last_basket": ["milk"]}}


@pytest.mark.parametrize("closed", ["expired", "notice_outdated", "purpose_retired"])
def test_derived_values_are_closed_to_every_purpose_while_their_own_is(shop: Shop, closed: str) -> None:
    shop.grant("ben", "coupons")
    shop.write("ben", {"purchases": {"last_basket": ["bread"]}})
    shop.grant("ana", "coupons")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}})
    shop.grant("ana", "recommendations")
    shop.write("ana", {"purchases": {"taste": 0.7}}, derived_for="recommendations")

    if closed == "expired":
        shop.pass_time(timedelta(days=180))
        shop.grant("ana", "coupons")
        shop.grant("ben", "coupons")
        shop.pass_time(timedelta(days=5))
    elif closed == "notice_outdated":
        shop.publish(a_notice({"purposes/recommendations/version": 2}))
    else:
        shop.publish(a_notice({"purposes/recommendations": REMOVED}))

    assert read_each(shop, "coupons", "ana", "stranger", "ben", "ana") == [
        {"purchases": {"last_basket": ["milk"]}},
        None,
        {"purchases": {"last_basket": ["bread"]}},
        {"purchases": {"last_basket": ["milk"]}},
    ]
    held = read_personal_data(shop.service.deployment, shop.service.uses, shop.tenant, shop.subject("ana"))
    assert {value.field: value.open_to for value in held.values} == {
        "last_basket": ["coupons"],
        "taste": [],
    }
    if closed == "expired":
        shop.grant("ana", "recommendations")
        assert read_each(shop, "coupons", "ana") == [{"purchases": {"last_basket": ["milk"], "taste": 0.7}}]


def test_a_privacy_signal_closes_what_was_derived_for_a_purpose_that_honours_it(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"segment": "B"}}, derived_for="coupons")

    assert read_each(shop, "recommendations", "ana") == [{"purchases": {"segment": "B"}}]
    assert read_each(shop, "recommendations", "ana", gpc=True) == [{}]


def read_each(shop: Shop, purpose: str, *names: str, gpc: bool = False) -> list[Attributes | None]:
    """What a batch read of these subjects gives through a purpose; nothing for whom it is closed."""
    question = ProfileQuestion(
        subjects=[shop.subject(name) for name in names], purpose=PurposeKey(purpose), gpc=gpc
    )
    answers = read_profiles(shop.service.deployment, shop.tenant, question)
    return [None if isinstance(answer, PurposeClosed) else answer.attributes for answer in answers]


def test_nothing_is_derived_for_a_closed_purpose(shop: Shop) -> None:
    shop.grant("ana", "coupons")

    with pytest.raises(PurposeClosed):
        shop.write("ana", {"purchases": {"taste": 0.7}}, derived_for="recommendations")

    assert shop.rows("profile_value") == 0


def test_linking_gives_up_the_keys_of_what_the_other_side_refused(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"household": {"size": 2}, "purchases": {"last_basket": ["milk"]}})
    shop.deny("browser-1", "coupons")
    link = LinkSubjects(anonymous=shop.subject("browser-1"), known=shop.subject("ana"), actor="backend")

    shop.service.committer.submit_blocking(shop.tenant, link)

    assert shop.reason("ana", "coupons") == "withdrawn"
    assert shop.read("ana", "recommendations") == {"purchases": {"last_basket": ["milk"]}}
    assert shop.rows("profile_value") == 1


@pytest.mark.parametrize("name", ["", "Upper", "a b", "é", "x" * 65, "a/b"])
def test_names_of_another_form_are_refused(shop: Shop, name: str) -> None:
    shop.grant("ana", "coupons")

    with pytest.raises(InvalidProfile):
        shop.write("ana", {name: {"size": 1}})
    with pytest.raises(InvalidProfile):
        shop.write("ana", {"household": {name: 1}})


def test_more_fields_than_a_change_may_name_are_refused(shop: Shop) -> None:
    with pytest.raises(InvalidProfile, match=str(MAX_FIELDS)):
        shop.write("ana", {"household": {f"field{number}": 1 for number in range(MAX_FIELDS + 1)}})


def test_a_value_moved_to_another_subject_does_not_open(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.grant("ben", "coupons")
    shop.write("ana", {"household": {"size": 2}})

    shop.run("UPDATE profile_value SET subject_id = subject_id + 1")

    with pytest.raises(SealBroken):
        shop.read("ben", "coupons")


def test_keys_and_values_moved_together_to_another_subject_do_not_open_either(shop: Shop) -> None:
    shop.grant("ana", "ai_assistance")
    shop.write("ana", {"support_history": {"last": "a secret"}})
    shop.grant("ben", "ai_assistance")

    shop.run("DELETE FROM key_grant WHERE subject_id = 2")
    shop.run("UPDATE key_grant SET subject_id = 2")
    shop.run("UPDATE profile_value SET subject_id = 2")

    with pytest.raises(SealBroken):
        shop.read("ben", "ai_assistance")


def test_a_key_moved_to_another_purpose_does_not_open(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"last_basket": ["milk"]}})

    shop.run(
        "UPDATE key_grant SET wrapped = (SELECT wrapped FROM key_grant WHERE purpose = 'coupons'"
        " AND category = 'purchases') WHERE purpose = 'recommendations'",
    )

    with pytest.raises(SealBroken):
        shop.read("ana", "recommendations")


@pytest.mark.parametrize("table", ["key_grant.wrapped", "profile_value.sealed"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied"])
def test_damaged_rows_do_not_open(shop: Shop, table: str, damage: str) -> None:
    name, column = table.split(".")
    shop.grant("ana", "ai_assistance")
    shop.write("ana", {"support_history": {"last": "a secret"}})
    with shop.service.deployment.database.reading() as connection:
        sealed: bytes = connection.execute(text(f"SELECT {column} FROM {name}")).scalar_one()  # noqa: S608 - literals
    damaged = {
        "flipped": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "truncated": sealed[:-1],
        "emptied": b"",
    }[damage]

    shop.run(f"UPDATE {name} SET {column} = :damaged", damaged=damaged)  # noqa: S608 - literals

    with pytest.raises(SealBroken) as caught:
        shop.read("ana", "ai_assistance")
    assert "secret" not in str(caught.value)


def test_a_decision_is_recorded_even_where_a_key_row_is_damaged(shop: Shop) -> None:
    shop.grant("ana", "ai_assistance")
    shop.write("ana", {"support_history": {"last": "a secret"}})
    shop.run("UPDATE key_grant SET wrapped = :damaged", damaged=b"damaged")

    shop.grant("ana", "ai_assistance")

    assert shop.read("ana", "ai_assistance") == {}


def test_profiles_survive_a_restart(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})

    shop.reopen()

    assert shop.read("ana", "coupons") == {"household": {"size": 2}}
