"""The second part of the main job, on some households: sealed profiles, recommendations, erasure."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from examples.complete_journey.choices import draw_choices
from examples.complete_journey.demo import NOTICE
from examples.complete_journey.journey import import_choices
from examples.complete_journey.served import Installation, ServedService, set_up
from examples.complete_journey.shop_data import read_shop
from examples.complete_journey.vault import run_vault, search, show, still_verifies

HOUSEHOLDS = 60


@pytest.fixture(scope="module")
def small_shop_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_profiles_are_sealed_used_shown_and_erased_and_no_file_holds_them_in_clear(
    small_shop_home: Path,
) -> None:
    year = read_shop()
    shop = year.with_only(year.households[:HOUSEHOLDS])
    choices = replace(draw_choices(shop), withdrawals=())
    installation = Installation(home=small_shop_home)
    handed = set_up(installation, NOTICE)
    with ServedService(installation) as service:
        list(import_choices(service.url, handed, shop, choices))

        figures = run_vault(
            (installation, service.url, handed), shop, choices, Progress(console=Console(file=StringIO()))
        )

        faults = still_verifies(installation)
    said = StringIO()
    show(figures, Console(file=said))
    assert (figures.faults, faults) == ((), [])
    assert figures.sealed + figures.refused == HOUSEHOLDS
    assert figures.sealed > 0 < figures.refused
    assert figures.recommended == len(choices.grants["recommendations"])
    assert figures.uses_shown > 0
    assert "was erased" in said.getvalue()


def test_a_search_finds_what_is_in_clear(tmp_path: Path) -> None:
    (tmp_path / "consent.db").write_bytes(b"... FLUID MILK WHITE ONLY ...")
    (tmp_path / "consent.db-wal").write_bytes(b"\x00card-17\x00")
    (tmp_path / "root.key").write_bytes(b"\x00household\x00")

    found = search(Installation(home=tmp_path), ["FLUID MILK WHITE ONLY", "BANANAS"])

    assert found == ["consent.db", "consent.db-wal"]
