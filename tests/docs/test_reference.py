"""`docs/reference` has what the code has, and the prose names nothing that the code does not have."""

import re
from pathlib import Path

import pytest

from consent_service.settings import Settings
from tests.docs.test_links import PAGES as PROSE
from tools.reference import PAGES, SECTIONS, command_names, named_sections, served_routes, written

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\bCONSENT_[A-Z]+(?:_[A-Z]+)*\b")
_COMMAND = re.compile(r"(?:`|^)(consent(?: [a-z]+){1,2})\b", re.MULTILINE)
_ROUTE = re.compile(r"\b((?:GET|POST|PUT|PATCH|DELETE) /v1/[\w/{}-]+)")
_PAGE = pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
def test_the_tables_are_those_that_the_code_gives(path: Path) -> None:
    page = path.read_text()

    assert written(page) == page, "run `make docs`"


def test_every_table_has_its_place() -> None:
    placed = [name for path in PAGES.glob("*.md") for name in named_sections(path.read_text())]

    assert sorted(placed) == sorted(SECTIONS)


@pytest.fixture(scope="module")
def variables() -> set[str]:
    """Every `CONSENT_*` variable that something reads: the service, the SDK or the Makefile."""
    readers = [*(ROOT / "sdk" / "python" / "src").rglob("*.py"), ROOT / "Makefile"]
    read = {name for reader in readers for name in _VARIABLE.findall(reader.read_text())}
    return read | {f"CONSENT_{name.upper()}" for name in Settings.model_fields}


@_PAGE
def test_a_page_names_only_variables_that_something_reads(page: Path, variables: set[str]) -> None:
    assert set(_VARIABLE.findall(page.read_text())) - variables == set()


@_PAGE
def test_a_page_names_only_commands_that_exist(page: Path) -> None:
    commands = set(command_names())
    groups = {name.rpartition(" ")[0] for name in commands}
    named = _COMMAND.findall(page.read_text())

    # `consent serve here` is the command `consent serve`; `consent ledger here` would be none.
    assert [
        name for name in named if not {name, name.rsplit(" ", 1)[0]} & commands and name not in groups
    ] == []


@_PAGE
def test_a_page_names_only_routes_that_are_served(page: Path) -> None:
    served = {name for name, _, _ in served_routes()}

    assert set(_ROUTE.findall(page.read_text())) - served == set()
