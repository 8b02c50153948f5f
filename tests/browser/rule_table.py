"""Writes the rules for people and for the dashboard: `python -m tests.browser.rule_table`.

The table of docs/reference/honesty-rules.md, and consent_service/web/honesty_rules.json.
"""

import json
from pathlib import Path

import consent_service
from consent_service.web.honesty import portable_rules
from tests.browser.test_honesty_rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "honesty-rules.md"
DATA = Path(consent_service.__file__).parent / "web" / "honesty_rules.json"
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


def data() -> str:
    """Return the rules as the dashboard reads them."""
    portable = {rule.id for rule in portable_rules()}
    rows = [
        {"id": rule.id, "text": rule.text, "source": rule.source, "kit": rule.id in portable}
        for rule in RULES
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def written() -> str:
    """Return the table as it stands in the page."""
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], "utf-8")
    DATA.write_text(data(), "utf-8")
