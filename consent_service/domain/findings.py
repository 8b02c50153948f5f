"""What is wrong with a document, collected while it is read: each problem says where and what to mend."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, TypeGuard

from consent_service.errors import InvalidNotice, NoticeProblem

MISSING: Final = object()
"""Stands for a field whose absence was reported already; every reader passes over it in silence."""

MAX_PROBLEMS: Final = 200
"""After so many problems the rest of the document is not read: what a bad document costs is bounded."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN = 40

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number with a fraction"),
    (str, "a text"),
    (date, "a date (put it in quotes to make it a text)"),
    (Mapping, "a mapping"),
    (Sequence, "a list"),
)


def at(path: str, key: object) -> str:
    """Return the path of `key` below `path`: `purposes.coupons`, `categories[0]`, `purposes["a b"]`."""
    if isinstance(key, int) and not isinstance(key, bool):
        return f"{path}[{key}]"
    if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{shown(key)}]"


def shown(value: object) -> str:
    """Return `value` as a message may quote it: short, printable, in double quotes if it is a text."""
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)
        return f'"{printable}"'
    return kind(value)


def kind(value: object) -> str:
    """Return what `value` is, in the words of somebody who writes YAML."""
    if value is None:
        return "empty"
    return next((name for form, name in _KINDS if isinstance(value, form)), "something else")


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return ` Did you mean "…"?` when something known is close to what was given, else nothing."""
    if not isinstance(given, str):
        return ""
    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(given[:128].casefold(), by_fold, n=1, cutoff=0.6)
    return f' Did you mean "{by_fold[close[0]]}"?' if close else ""


def one_of(names: Iterable[str]) -> str:
    """Return `a, b or c`."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


class Findings:
    """The problems found so far, with readers for the simple shapes that report their own problems."""

    def __init__(self) -> None:
        self.problems: list[NoticeProblem] = []

    def add(self, path: str, message: str, line: int | None = None) -> None:
        """Note one problem; raise `InvalidNotice` when there are as many as anybody mends at once."""
        self.problems.append(NoticeProblem(path=path, message=message, line=line))
        if len(self.problems) == MAX_PROBLEMS:
            raise InvalidNotice(self.problems)

    def mapping(self, value: object, path: str) -> Mapping[object, object]:
        """Return a mapping, or an empty one when `value` is none."""
        if isinstance(value, Mapping):
            return value
        if value is not MISSING:
            self.add(path, f"must be a mapping (key: value), but it is {kind(value)}.")
        return {}

    def items(self, value: object, path: str, *, most: int) -> list[object]:
        """Return the items of a list of at most `most`, or none when `value` is no such list."""
        if _is_list(value):
            if len(value) <= most:
                return list(value)
            self.add(path, f"has {len(value)} items; keep at most {most}.")
        elif value is not MISSING:
            self.add(path, f"must be a list such as [a, b], but it is {kind(value)}.")
        return []

    def whole_number(self, value: object, path: str, *, most: int) -> int:
        """Return an integer from 1 to `most`; 1 when `value` is none."""
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        if value is not MISSING:
            given = (
                "" if isinstance(value, int) and not isinstance(value, bool) else f", but it is {kind(value)}"
            )
            self.add(path, f"must be a whole number from 1 to {most}{given}.")
        return 1

    def flag(self, value: object, path: str) -> bool:
        """Return true or false; false when `value` is neither."""
        if isinstance(value, bool):
            return value
        if value is not MISSING:
            self.add(path, f"must be true or false, but it is {shown(value)}.")
        return False

    def word(self, value: object, path: str, *, known: Collection[str]) -> str:
        """Return a text that is one of `known`; an empty text when `value` is none of them."""
        if isinstance(value, str) and value in known:
            return value
        if value is not MISSING:
            self.add(path, f"must be {one_of(known)}, not {shown(value)}.{did_you_mean(value, known)}")
        return ""

    def without_repeats(self, items: Sequence[str], path: str) -> tuple[str, ...]:
        """Return the items, having reported each that comes twice."""
        for index, item in enumerate(items):
            if item in items[:index]:
                self.add(at(path, index), f"repeats {shown(item)}; name it once.")
        return tuple(dict.fromkeys(items))


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Say whether `value` is a list or a tuple; a text is no list of characters."""
    return isinstance(value, list | tuple)
