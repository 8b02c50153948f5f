"""Reading the YAML file that a shop writes."""

import json

import pytest

from consent_service.errors import InvalidNotice, NoticeProblem
from consent_service.operations.read_notice_file import MAX_BYTES, load_notice_file
from tests.builders import EXAMPLE_NOTICE, a_notice, a_notice_document

EXAMPLE = EXAMPLE_NOTICE.read_text(encoding="utf-8")


def refused(data: bytes | str) -> list[NoticeProblem]:
    """Return the problems of a file."""
    with pytest.raises(InvalidNotice) as refusal:
        load_notice_file(data)
    return list(refusal.value.problems)


def line_of(words: str, text: str = EXAMPLE) -> int:
    """Return the number of the first line that has the words."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


def test_the_example_file_is_a_notice() -> None:
    notice = load_notice_file(EXAMPLE_NOTICE.read_bytes())

    assert notice == a_notice()
    assert list(notice.purposes) == ["recommendations", "coupons", "support_context", "ai_assistance"]


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert load_notice_file(b"\xef\xbb\xbf" + EXAMPLE.encode()) == a_notice()


def test_a_published_document_in_json_is_a_notice_too() -> None:
    assert load_notice_file(json.dumps(a_notice().document(), ensure_ascii=False)) == a_notice()


def test_a_problem_names_its_line() -> None:
    text = EXAMPLE.replace("gpc: true", "gpc: yes")

    (problem,) = refused(text)

    assert problem.line == line_of("gpc: yes", text)
    assert (
        str(problem) == f'line {problem.line}, purposes.coupons.gpc: must be true or false, but it is "yes".'
    )


def test_something_missing_is_reported_on_the_line_of_what_should_hold_it() -> None:
    (problem,) = refused(EXAMPLE.replace("    retention: P1M\n", ""))

    assert problem.path == "purposes.ai_assistance.retention"
    assert problem.line == line_of("  ai_assistance:")


def test_norway_is_a_country_and_no_is_a_language() -> None:
    document = a_notice_document({"recipients/mailer/country": "NO"})
    text = json.dumps(document).replace('"NO"', "NO").replace('"fr"', "no")

    notice = load_notice_file(text)

    assert notice.languages == ("en", "no")
    assert [recipient.country for recipient in notice.recipients.values()] == ["NO"]


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("", "", "is empty; write a notice"),
        ("# nothing\n", "", "is empty; write a notice"),
        ("- a\n- b\n", "", "must be a mapping (key: value), but it is a list"),
        ("notice: 1\nnotice: 1\n", "notice", "comes twice; keep one"),
        ("title: {en: a, en: b}\n", "title.en", "comes twice; keep one"),
        ("title: &words {en: a}\n", "title", "write the value out"),
        ("title: {en: a}\nintroduction: *words\n", "introduction", "put the text in quotes"),
        ("a: &x {en: a}\nb: *x\n", "b", "uses an anchor or alias (& or *); write the value out"),
        ("a: &x {en: a}\nb: {<<: *x}\n", 'b["<<"]', "write the value out"),
        ("1: a\n", "", "put the key in quotes"),
        ("true: a\n", "", "put the key in quotes"),
        ("? [a, b]\n: c\n", "", "put the key in quotes"),
        ("title: 2026-01-31\n", "title", "put it in quotes"),
        ("title: 2026-01-31 12:00:00\n", "title", "put it in quotes"),
        ("title: !!python/object/apply:os.system [id]\n", "title", "has a tag (!); remove it"),
        ("title: !secret x\n", "title", "has a tag (!); remove it"),
        ("title: a\n---\ntitle: b\n", "", "keep one notice in a file"),
        ("title: [a, b\n", "", "is not valid YAML"),
        ("title:\tx: y\n", "", "check indentation, quotes and colons"),
        ("title: \x07\n", "", "has the character U+0007, which YAML forbids; remove it"),
        ("[" * 5000, "", "is nested too deeply"),
        ('title: "never closed\n', "", "check indentation, quotes and colons"),
    ],
)
def test_a_file_that_two_readers_may_read_differently_is_refused(text: str, path: str, remedy: str) -> None:
    problems = refused(text)

    assert any(problem.path == path and remedy in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("1.5", "a number with a fraction"),
        ("1e3", "a number with a fraction"),
        ("7", "a number"),
        ("~", "empty"),
        ("True", "true or false"),
    ],
)
def test_a_value_that_yaml_does_not_read_as_a_text_is_none(written: str, says: str) -> None:
    (problem,) = refused(EXAMPLE.replace("name: Maison Lumière", f"name: {written}"))

    assert problem.path == "controller.name"
    assert problem.message == f"must be a text, but it is {says}; put it in quotes if it is one."


def test_many_names_for_one_value_do_not_grow_into_a_large_document() -> None:
    bomb = 'a0: &a0 "x"\n' + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))

    problems = refused(bomb)

    assert {problem.message for problem in problems} == {
        "uses an anchor or alias (& or *); write the value out, or put the text in quotes."
    }


def test_a_file_in_another_encoding_is_refused_with_the_line() -> None:
    (problem,) = refused(EXAMPLE.encode("latin-1"))

    assert problem.message == "is not UTF-8; save the file in UTF-8."
    assert problem.line == line_of("Maison Lumière")


def test_a_file_too_large_to_be_a_notice_is_refused_unread() -> None:
    (problem,) = refused(b"#" * (MAX_BYTES + 1))

    assert problem.message == "is larger than 256 KiB; shorten it."
