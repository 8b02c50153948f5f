"""The published rules are the checked ones."""

from tests.browser.rule_table import table, written


def test_the_published_rules_are_the_checked_ones() -> None:
    assert written() == table(), "python -m tests.browser.rule_table writes the table"
