"""Closed grants keep their keys for a grace; then all that lived by them goes, on both databases."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.domain.purpose import CategoryKey, PurposeKey
from consent_service.domain.uses import Feature
from consent_service.errors import InvalidInput, NoLiveGrant
from consent_service.followers.keeper import Keeper, keep_house
from consent_service.operations.manage_tenants import create_tenant, set_grace
from consent_service.operations.read_personal_data import read_personal_data
from consent_service.operations.sweep_vault import Swept, sweep_vault
from consent_service.storage.subject_store import to_ms
from consent_service.storage.sweep_store import values_to_look_at
from consent_service.storage.vault_store import key_versions
from tests.builders import REMOVED, a_notice
from tests.servers import wait_until
from tests.shop import Shop

DAY = timedelta(days=1)
SIX_MONTHS = timedelta(days=181)
SIZE = {"household": {"size": 2}}


def sweep(shop: Shop) -> Swept:
    return sweep_vault(shop.service.deployment, shop.tenant)


def test_nothing_live_is_swept(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(179 * DAY)

    swept = sweep(shop)

    assert swept == Swept(key_grants=0, days_of_uses=0, tombstones=0)
    assert shop.read("ana", "coupons") == SIZE


def test_an_expired_grant_is_swept_after_the_grace_and_not_before(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(SIX_MONTHS + 29 * DAY)
    assert sweep(shop).key_grants == 0

    shop.pass_time(2 * DAY)

    assert sweep(shop).key_grants == 2
    assert shop.rows("profile_value") == shop.rows("key_grant") == 0
    shop.grant("ana", "coupons")
    assert shop.read("ana", "coupons") == {}


def test_a_value_goes_when_every_purpose_that_holds_it_keeps_it_no_longer(shop: Shop) -> None:
    shop.publish(a_notice({"purposes/coupons/retention": "P1M", "purposes/coupons/version": 2}))
    for name in ("ana", "ben"):
        shop.grant(name, "coupons")
        shop.write(name, {"purchases": {"last": "milk"}})
    shop.grant("ben", "recommendations")
    shop.pass_time(25 * DAY)
    shop.write("ana", {"purchases": {"newer": "bread"}})
    assert sweep(shop).values == 0

    shop.pass_time(10 * DAY)

    assert sweep(shop).values == 1
    assert shop.read("ana", "coupons") == {"purchases": {"newer": "bread"}}
    assert shop.read("ben", "coupons") == {"purchases": {"last": "milk"}}
    assert sweep(shop).values == 0


@contextmanager
def statements_on(shop: Shop, *tables: str) -> Iterator[list[tuple[str, Any]]]:
    """Gather the statements that touch one of these tables, with their parameters."""
    gathered: list[tuple[str, Any]] = []

    def heard(*call: Any) -> None:
        if any(f" {table} " in f"{call[2]} ".replace("\n", " ") for table in tables):
            gathered.append((call[2], call[3]))

    engines = {shop.service.deployment.database._reader, shop.service.deployment.database.engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", heard)
    yield gathered
    for engine in engines:
        event.remove(engine, "before_cursor_execute", heard)


def looked_at(shop: Shop) -> int:
    """How many values the next sweep looks at."""
    with shop.service.deployment.reading(shop.tenant) as scope:
        return len(values_to_look_at(scope, now_ms=to_ms(shop.now), most=100))


def plan(shop: Shop, statement: str, parameters: Any) -> str:
    """How the database finds the rows of a statement, were there very many."""
    with shop.service.deployment.database.reading() as connection:
        if shop.service.deployment.database.dialect == "sqlite":
            return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return str(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all())


def test_a_sweep_reads_only_the_values_whose_time_may_be_over(shop: Shop) -> None:
    shop.publish(a_notice({"purposes/coupons/retention": "P1M", "purposes/coupons/version": 2}))
    for number in range(5):
        shop.grant(f"customer-{number}", "coupons", "recommendations")
        shop.write(f"customer-{number}", {"purchases": {"last": "milk"}})
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    sweep(shop)  # Once after each publication everything is looked at.
    shop.pass_time(40 * DAY)
    assert looked_at(shop) == 1

    assert sweep(shop).values == 1

    with statements_on(shop, "profile_value") as statements:
        assert sweep(shop).values == 0
    [(statement, parameters)] = statements
    assert "ix_profile_value_tenant_id_look_at_ms" in plan(shop, statement, parameters)
    assert (looked_at(shop), shop.rows("profile_value")) == (0, 5)


def test_a_sweep_with_nothing_to_do_reads_only_the_ends_of_indexes(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.publish(a_notice({"purposes/coupons/version": 2}))
    shop.grant("ben", "coupons")
    shop.pass_time(31 * DAY)
    assert sweep(shop).key_grants == 2

    tables = ("key_grant", "subject", "use_day", "tombstone", "sealed_evidence")
    with statements_on(shop, *tables) as statements:
        assert sweep(shop).rows == 0

    used = [
        [index for index in INDEXES if index in plan(shop, statement, parameters)]
        for statement, parameters in statements
    ]
    assert used == [[index] for index in INDEXES]


INDEXES = (
    "ix_subject_tenant_id_look_at_ms",
    "ix_use_day_tenant_id_day",
    "ix_sealed_evidence_tenant_id_keep_until_ms",
    "ix_tombstone_tenant_id_erased_at_ms",
)


def test_a_late_decision_under_a_notice_whose_grace_is_over_leaves_no_keys(shop: Shop) -> None:
    set_grace(shop.service.deployment, shop.tenant, 0)
    older = shop.notice
    shop.grant("ben", "recommendations")
    current = shop.publish(a_notice({"purposes/coupons/version": 2}))
    shop.pass_time(timedelta(minutes=1))
    sweep(shop)
    shop.notice = older
    shop.grant("ana", "coupons")
    shop.grant("ben", "coupons")
    shop.notice = current

    assert sweep(shop).key_grants == 4
    assert shop.read("ben", "recommendations") == {}
    assert sweep(shop).key_grants == 0


def test_the_first_grant_to_expire_says_when_a_subject_is_looked_at(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.pass_time(20 * DAY)
    shop.grant("ana", "recommendations")
    shop.write("ana", {**SIZE, "purchases": {"last_basket": ["milk"]}})
    shop.grant("ben", "coupons", "recommendations")
    shop.pass_time(20 * DAY)
    shop.grant("ben", "coupons")
    shop.pass_time(SIX_MONTHS + 30 * DAY - 39 * DAY)

    left = []
    for days in (0, 21, 20):
        shop.pass_time(days * DAY)
        sweep(shop)
        left.append(shop.rows("key_grant"))

    assert left == [6, 2, 0]
    assert shop.rows("profile_value") == 0


def test_a_value_goes_when_who_kept_it_longest_is_denied(shop: Shop) -> None:
    shop.publish(a_notice({"purposes/coupons/retention": "P1M", "purposes/coupons/version": 2}))
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {"purchases": {"last": "milk"}})
    sweep(shop)
    shop.pass_time(40 * DAY)
    assert sweep(shop).values == 0

    shop.deny("ana", "recommendations")

    assert sweep(shop).values == 1


def test_a_shorter_retention_in_a_newer_notice_takes_effect_for_what_is_stored(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(40 * DAY)
    assert sweep(shop).values == 0

    shop.publish(a_notice({"purposes/coupons/retention": "P1M"}))

    assert sweep(shop).values == 1
    assert sweep(shop).values == looked_at(shop) == 0


def test_a_tenant_may_have_a_grace_of_its_own(shop: Shop) -> None:
    other = create_tenant(shop.service.deployment, "other")
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(SIX_MONTHS + 29 * DAY)

    held = set_grace(shop.service.deployment, shop.tenant, 7)

    assert (held, shop.service.deployment.grace_days(other)) == (7, 30)
    data = read_personal_data(shop.service.deployment, shop.service.uses, shop.tenant, shop.subject("ana"))
    assert data.grace_days == 7
    assert sweep(shop).key_grants == 2
    assert set_grace(shop.service.deployment, shop.tenant, None) == 30


@pytest.mark.parametrize("days", [-1, 3651])
def test_a_grace_that_is_none_is_refused(shop: Shop, days: int) -> None:
    with pytest.raises(InvalidInput, match="A grace is 0 to 3650 days"):
        set_grace(shop.service.deployment, shop.tenant, days)


def test_the_command_line_sets_and_lists_a_grace(sqlite_url: str, tmp_path: Path) -> None:
    Shop(sqlite_url, tmp_path / "home").close()
    environment = {"CONSENT_HOME": str(tmp_path / "home"), "CONSENT_DATABASE_URL": sqlite_url}

    def run(*words: str) -> Any:
        done = CliRunner().invoke(cli, ["tenant", *words, "--json"], env=environment, catch_exceptions=False)
        return json.loads(done.stdout)

    assert run("grace", "default", "14") == {"tenant": "default", "grace_days": 14}
    assert [tenant["grace_days"] for tenant in run("list")["tenants"]] == [14]
    assert run("grace", "default") == {"tenant": "default", "grace_days": 30}


def test_a_renewal_in_the_grace_keeps_everything(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(SIX_MONTHS + 29 * DAY)
    shop.grant("ana", "coupons")
    shop.pass_time(2 * DAY)

    assert sweep(shop).key_grants == 0
    assert shop.read("ana", "coupons") == SIZE


def test_a_newer_version_is_swept_after_the_grace(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.publish(a_notice({"purposes/coupons/version": 2}))
    shop.grant("ben", "coupons")
    shop.write("ben", SIZE)
    shop.pass_time(29 * DAY)
    assert sweep(shop).key_grants == 0

    shop.pass_time(2 * DAY)

    assert sweep(shop).key_grants == 2
    assert shop.read("ben", "coupons") == SIZE
    assert shop.rows("profile_value") == 1


def test_a_purpose_that_was_taken_out_and_put_back_in_the_grace_loses_nothing(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.publish(a_notice({"purposes/coupons": REMOVED}))
    assert shop.reason("ana", "coupons") == "purpose_retired"
    with pytest.raises(NoLiveGrant):
        shop.write("ana", SIZE)
    shop.pass_time(20 * DAY)
    shop.publish(a_notice({"purposes/coupons/version": 2}))
    shop.pass_time(20 * DAY)

    assert sweep(shop).key_grants == 0
    shop.grant("ana", "coupons")
    assert shop.read("ana", "coupons") == SIZE


def test_a_purpose_that_stays_out_is_swept(shop: Shop) -> None:
    shop.grant("ana", "coupons", "recommendations")
    shop.write("ana", {**SIZE, "purchases": {"last_basket": ["milk"]}})
    shop.publish(a_notice({"purposes/coupons": REMOVED}))
    shop.pass_time(31 * DAY)

    assert sweep(shop).key_grants == 2
    assert shop.read("ana", "recommendations") == {"purchases": {"last_basket": ["milk"]}}
    assert shop.rows("profile_value") == 1


def test_a_category_that_a_purpose_gave_up_is_swept(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", {**SIZE, "purchases": {"last_basket": ["milk"]}})
    shop.publish(a_notice({"purposes/coupons/categories": ["purchases"]}))
    shop.pass_time(31 * DAY)

    assert sweep(shop).key_grants == 1
    assert shop.read("ana", "coupons") == {"purchases": {"last_basket": ["milk"]}}
    assert shop.rows("profile_value") == 1


def test_derived_values_go_with_the_purpose_that_is_swept(shop: Shop) -> None:
    shop.grant("ana", "recommendations")
    shop.write("ana", {"purchases": {"taste": 0.7}}, derived_for="recommendations")
    shop.pass_time(100 * DAY)
    shop.grant("ana", "coupons")
    shop.pass_time(SIX_MONTHS + 31 * DAY - 100 * DAY)

    assert sweep(shop).key_grants == 2
    assert shop.read("ana", "coupons") == {}


def test_old_uses_and_tombstones_are_swept(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.grant("ben", "coupons")
    read = (PurposeKey("coupons"), Feature("mail"))
    shop.service.uses.note_reads(shop.tenant, read, [(1, [CategoryKey("household")])])
    shop.service.uses.flush()
    shop.erase("ben")
    shop.pass_time(401 * DAY)

    swept = sweep(shop)

    assert (swept.days_of_uses, swept.tombstones) == (1, 1)
    assert shop.rows("use_day") == shop.rows("tombstone") == 0


def test_the_keeper_ends_epochs_that_are_over(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(31 * DAY)

    assert keep_house(shop.service)

    with shop.service.deployment.reading(shop.tenant) as scope:
        assert ("vault", 2) in key_versions(scope)
    assert shop.read("ana", "coupons") == SIZE


def test_one_of_several_keepers_does_the_chores(shop: Shop) -> None:
    with shop.service.deployment.database.exclusively("keeper"):
        assert not keep_house(shop.service)
    assert keep_house(shop.service)


def test_the_keeper_works_by_itself(shop: Shop) -> None:
    shop.grant("ana", "coupons")
    shop.write("ana", SIZE)
    shop.pass_time(SIX_MONTHS + 31 * DAY)

    keeper = Keeper(shop.service, interval=0.01)

    wait_until(lambda: shop.rows("key_grant") == 0, what="the keeper to sweep")
    keeper.close()
    assert shop.rows("profile_value") == 0
