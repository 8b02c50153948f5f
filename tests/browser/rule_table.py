"""Writes the table of docs/reference/honesty-rules.md: `python -m tests.browser.rule_table`."""

from pathlib import Path

from consent_service.web.honesty import portable_rules
from tests.browser.test_honesty_rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "honesty-rules.md"
BEGIN, END = "<!-- rules -->\n", "<!-- end of rules -->\n"


def table() -> str:
    """Return the rules as a Markdown table, each with the test that checks it."""
    portable = {rule.id for rule in portable_rules()}
    rows = [
        f"| {rule.id} | {rule.text} | {rule.source} | `[{rule.id}-{rule.check.__name__}]` "
        f"| {'yes' if rule.id in portable else ''} |"
        for rule in RULES
    ]
    return "\n".join(["| id | rule | source | test | kit |", "| --- | --- | --- | --- | --- |", *rows, ""])


def written() -> str:
    """Return the table as it stands in the page."""
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], "utf-8")
