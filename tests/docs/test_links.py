"""The prose holds together: links lead somewhere and every page is in the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page
    for folder in ("docs", "examples", "sdk")
    for page in (ROOT / folder).rglob("*.md")
    if "node_modules" not in page.parts
) + sorted(ROOT.glob("*.md"))


def _prose(page: Path) -> str:
    return _CODE_BLOCK.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    """The fragments that a page's headings have in the usual renderings of Markdown."""
    headings = (heading.lower() for heading in _HEADING.findall(_prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def _broken(page: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        leads_somewhere = linked.exists() and (not fragment or fragment in _anchors(linked))
        if not leads_somewhere:
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert _broken(page) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing\n[a](#one-thing) [b](page.md#one-thing) [c](gone.md) [d](#gone) [e](https://example.org)\n"
    )

    assert _broken(page) == ["gone.md", "#gone"]


def test_every_page_of_the_docs_is_in_their_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = (page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md"))

    assert [page for page in pages if page != "index.md" and f"({page})" not in index] == []


def test_the_decisions_stand_in_the_order_of_their_numbers() -> None:
    numbers = re.findall(r"^\| \[(\d{4})\]", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)

    assert numbers == sorted(set(numbers))
