"""The pages about the notice say what the code does."""

import re
from pathlib import Path

import pytest

from consent_service.domain import notice_form, refused_keys, wording
from consent_service.domain.findings import MAX_PROBLEMS
from consent_service.domain.purpose import CONSENT_MODE_SIGNALS, Origin, RecipientRole
from consent_service.operations.read_notice_file import MAX_BYTES, load_notice_file

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "notice-format.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "write-a-notice.md").read_text(encoding="utf-8")

SECTIONS = dict(
    zip(
        ["document", *re.findall(r"^### (.*)$", REFERENCE, re.MULTILINE)],
        REFERENCE.split("\n### "),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("document", {*notice_form._NOTICE, "recipients", "order"}),
        ("`controller`", {*notice_form._CONTROLLER}),
        ("A category", {*notice_form._CATEGORY, "special"}),
        ("A recipient", {*notice_form._RECIPIENT}),
        ("A purpose", {*notice_form._PURPOSE, *notice_form._PURPOSE_DEFAULTS}),
    ],
)
def test_the_reference_has_a_row_for_every_field_and_for_no_other(section: str, fields: set[str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:required|default)", SECTIONS[section], re.MULTILINE)

    assert sorted(rows) == sorted(fields)


@pytest.mark.parametrize(
    "words",
    [
        refused_keys._PRESELECTED,
        refused_keys._BUNDLED,
        refused_keys._COMPULSORY,
        notice_form._RESERVED_KEYS,
        frozenset(CONSENT_MODE_SIGNALS),
        frozenset(Origin),
        frozenset(RecipientRole),
    ],
)
def test_the_reference_lists_every_word_that_is_known(words: frozenset[str]) -> None:
    missing = [word for word in words if f"`{word}`" not in REFERENCE]

    assert missing == []


def test_the_reference_states_the_limits() -> None:
    limits = [
        f"up to {wording.SHORT} characters",
        f"up to {wording.SENTENCE} characters",
        f"up to {wording.LONG} characters",
        f"1 to {notice_form.MOST_LANGUAGES} language tags",
        f"key to category, up to {notice_form.MOST_CATEGORIES}",
        f"key to recipient, up to {notice_form.MOST_RECIPIENTS}",
        f"key to purpose, 1 to {notice_form.MOST_PURPOSES}",
        f"default: `{notice_form.DEFAULT_VALIDITY}`",
        f"up to `{notice_form.LONGEST_VALIDITY.text}`",
        f"up to `{notice_form.LONGEST_RETENTION.text}`",
        f"more than {MAX_BYTES // 1024} KiB",
        f"after {MAX_PROBLEMS} problems",
    ]

    assert [limit for limit in limits if limit not in REFERENCE] == []


def test_the_notice_of_the_how_to_can_be_published() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", HOW_TO, re.DOTALL)

    notice = load_notice_file(text)

    assert list(notice.purposes) == ["recommendations"]
