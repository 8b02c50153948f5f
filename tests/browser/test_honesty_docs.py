"""The published rules are the checked ones."""

from tests.browser.rule_table import DATA, data, table, written


def test_the_published_rules_are_the_checked_ones() -> None:
    assert written() == table(), "python -m tests.browser.rule_table writes the table"


def test_the_dashboard_shows_the_checked_ones() -> None:
    assert DATA.read_text("utf-8") == data(), "python -m tests.browser.rule_table writes them"
