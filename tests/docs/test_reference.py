"""`docs/reference` has every setting, command, option, route, problem and error class of the code."""

from pathlib import Path

import pytest

from tools.reference import PAGES, SECTIONS, named_sections, written


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
def test_the_tables_are_those_that_the_code_gives(path: Path) -> None:
    page = path.read_text()

    assert written(page) == page, "run `make docs`"


def test_every_table_has_its_place() -> None:
    placed = [name for path in PAGES.glob("*.md") for name in named_sections(path.read_text())]

    assert sorted(placed) == sorted(SECTIONS)
