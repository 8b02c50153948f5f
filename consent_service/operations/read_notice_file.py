"""Reads the YAML file that a shop writes into a notice, and says on which line a problem is.

The reader takes the part of YAML 1.2 that a notice needs (core schema: `NO` is Norway, not false) and refuses
what makes two readers see two documents, or one small file a huge one: repeated keys, anchors and aliases,
tags, dates, several documents, deep nesting.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import yaml

from consent_service.domain.findings import Findings, at, shown
from consent_service.domain.notice import Notice
from consent_service.domain.notice_form import parse_notice
from consent_service.domain.tied_choices import tied_choices
from consent_service.errors import InvalidNotice, NoticeProblem

MAX_BYTES: Final = 256 * 1024
"""The largest notice file that is read, in bytes."""

_MAX_DEPTH = 16
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,18})")
_FRACTION = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")


def load_notice_file(data: bytes | str) -> Notice:
    """Read a notice from the content of its YAML (or JSON) file, in UTF-8.

    Raises `InvalidNotice` with every problem, each with its line.
    """
    return read_notice_file(data)[0]


def read_notice_file(data: bytes | str) -> tuple[Notice, list[NoticeProblem]]:
    """Return a notice as `load_notice_file`, and what its author should read again, each with its line."""
    reader = _Reader(_text(data))
    document = reader.document()
    if reader.findings.problems:
        raise InvalidNotice(reader.findings.problems)
    try:
        notice = parse_notice(document)  # type: ignore[arg-type]  # its shape is checked there
    except InvalidNotice as invalid:
        raise InvalidNotice(reader.with_lines(invalid.problems)) from None
    return notice, reader.with_lines(tied_choices(notice))


def _text(data: bytes | str) -> str:
    """Return the text of a file that is not too large and is UTF-8."""
    if len(data) > MAX_BYTES:
        raise _refused(f"is larger than {MAX_BYTES // 1024} KiB; shorten it.")
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused("is not UTF-8; save the file in UTF-8.", line) from None


def _refused(message: str, line: int | None = None) -> InvalidNotice:
    return InvalidNotice([NoticeProblem(path="", message=message, line=line)])


class _Reader:
    """One reading of one YAML text: plain values out, with the line on which each path begins."""

    def __init__(self, text: str) -> None:
        self.findings = Findings()
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._lines: dict[str, int] = {}

    def document(self) -> object:
        """Return the value of the only document; raise `InvalidNotice` for what is no YAML or too deep."""
        try:
            events = [next(self._events), next(self._events)]
            if not isinstance(events[1], yaml.DocumentStartEvent):
                raise _refused("is empty; write a notice.")
            value = self._value(next(self._events), "", 0)
            if isinstance(next(self._events), yaml.DocumentEndEvent) and not isinstance(
                after := next(self._events), yaml.StreamEndEvent
            ):
                raise _refused("holds several documents; keep one notice in a file.", _line(after))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = error.problem or error.context or "a syntax error"
            raise _refused(
                f"is not valid YAML: {what}; check indentation, quotes and colons.",
                mark.line + 1 if mark else None,
            ) from None
        except yaml.reader.ReaderError as error:
            raise _refused(
                f"has the character U+{_code(error):04X}, which YAML forbids; remove it."
            ) from None
        return value

    def with_lines(self, problems: Iterable[NoticeProblem]) -> list[NoticeProblem]:
        """Return the problems with the line of what they speak of, or of what should hold it."""
        return [replace(problem, line=self._line_of(problem.path)) for problem in problems]

    def _line_of(self, path: str) -> int | None:
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines[path] if path else None

    def _value(self, event: yaml.Event, path: str, depth: int) -> object:
        """Return the value that begins with `event`, having read all its events."""
        line = _line(event)
        self._lines.setdefault(path, line)
        if depth > _MAX_DEPTH:
            raise _refused("is nested too deeply; a notice has five levels.", line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._add(
                path,
                "uses an anchor or alias (& or *); write the value out, or put the text in quotes.",
                line,
            )
        if getattr(event, "tag", None) is not None:
            self._add(path, "has a tag (!); remove it, or put the text in quotes.", line)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return self._scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            key = self._value(event, at(path, "(key)"), depth + 1)
            if not isinstance(key, str):
                self._add(path, "has a key that YAML does not read as a text; put the key in quotes.", line)
                self._value(next(self._events), at(path, "(key)"), depth + 1)
                continue
            if key in mapping:
                self._add(at(path, key), f"{shown(key)} comes twice; keep one.", line)
            self._lines[at(path, key)] = line
            mapping[key] = self._value(next(self._events), at(path, key), depth + 1)
        return mapping

    def _sequence(self, path: str, depth: int) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, at(path, len(items)), depth + 1))
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> object:
        """Return what a scalar means in the core schema of YAML 1.2, section 10.3.2."""
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _NULLS:
            return None
        if text in _FLAGS:
            return _FLAGS[text]
        if _WHOLE.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            return float(text)
        if _DATE.fullmatch(text):
            self._add(path, "is a date to some readers and a text to others; put it in quotes.", _line(event))
        return text

    def _add(self, path: str, message: str, line: int) -> None:
        self.findings.add(path, message, line)


def _line(event: yaml.Event) -> int:
    """Return the line on which an event begins, counted from 1."""
    return int(event.start_mark.line) + 1 if event.start_mark else 1


def _code(error: yaml.reader.ReaderError) -> int:
    return error.character if isinstance(error.character, int) else ord(error.character)
