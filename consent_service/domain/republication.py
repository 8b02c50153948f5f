"""What a new notice may change without asking everyone again: words and their order, and whatever uses less.

A choice was made about one version of a purpose. Whatever lets a purpose use more than its subjects agreed to
needs a higher version, so that they are asked again (GDPR Art. 4(11): specific and informed).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consent_service.domain.findings import at, shown
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import Category, Origin, Purpose, PurposeKey, Recipient
from consent_service.errors import NoticeProblem

_REACH = {origin: reach for reach, origin in enumerate(Origin)}


def highest_versions(published: Iterable[Notice]) -> dict[PurposeKey, int]:
    """Return the highest version of every purpose that any of the notices has."""
    highest: dict[PurposeKey, int] = {}
    for notice in published:
        for key, purpose in notice.purposes.items():
            highest[key] = max(purpose.version, highest.get(key, 0))
    return highest


def republication_problems(
    old: Notice | None, new: Notice, *, highest: Mapping[PurposeKey, int]
) -> list[NoticeProblem]:
    """Return why `new` must not follow `old`, the current notice; nothing when it may.

    `highest` holds the highest version that each purpose of the tenant ever had, also of purposes that were
    retired since: see `highest_versions`.
    """
    step = _Step(old=old, new=new, highest=highest)
    for purpose in new.purposes.values():
        step.check_version(purpose)
    for before, after in step.unraised():
        step.check_purpose(before, after)
    step.check_categories()
    step.check_recipients()
    return step.problems


@dataclass(slots=True, kw_only=True)
class _Step:
    """The step from one notice to the next."""

    old: Notice | None
    new: Notice
    highest: Mapping[PurposeKey, int]
    problems: list[NoticeProblem] = field(default_factory=list)

    def unraised(self) -> list[tuple[Purpose, Purpose]]:
        """Return the purposes, before and after, whose subjects are not asked again."""
        before = self.old.purposes if self.old else {}
        return [
            (before[key], after)
            for key, after in self.new.purposes.items()
            if key in before and after.version <= before[key].version
        ]

    def check_version(self, purpose: Purpose) -> None:
        """Refuse a version that falls, or that a retired purpose had before."""
        current = self.old is not None and purpose.key in self.old.purposes
        highest = self._highest(purpose.key)
        if current and purpose.version < highest:
            self._add(
                purpose,
                "version",
                f"falls from {highest} to {purpose.version}; write {highest} to change nothing, or "
                f"{highest + 1} to ask everyone again.",
            )
        elif not current and purpose.version <= highest:
            self._add(
                purpose,
                "version",
                f"must be {highest + 1} or higher: this purpose was retired at version {highest}, and nobody "
                "who chose then has agreed to its return.",
            )

    def check_purpose(self, before: Purpose, after: Purpose) -> None:
        """Refuse what lets a purpose of the same version use more, show it to more, or keep it longer."""
        for name, has, had in (
            ("categories", after.categories, before.categories),
            ("recipients", after.recipients, before.recipients),
            ("consent_mode", after.consent_mode, before.consent_mode),
        ):
            if more := [item for item in has if item not in had]:
                self._widened(after, name, f"adds {', '.join(shown(item) for item in more)}")
        if after.dpv != before.dpv:
            self._widened(after, "dpv", f"changes from {before.dpv} to {after.dpv}")
        for name, lasts, lasted in (
            ("retention", after.retention, before.retention),
            ("validity", after.validity, before.validity),
        ):
            if not lasts.at_most(lasted):
                self._widened(after, name, f"grows from {lasted.text} to {lasts.text}")
        if before.gpc and not after.gpc:
            self._widened(after, "gpc", "no longer takes a Global Privacy Control signal for a refusal")

    def check_categories(self) -> None:
        """Refuse another meaning of a category that a purpose of the same version uses; words may change."""
        for key, after in self.new.categories.items():
            before = self.old.categories.get(key) if self.old else None
            users = [one for was, one in self.unraised() if key in was.categories and key in one.categories]
            for name, change in _category_changes(before, after) if before and users else ():
                self._changed(at(at("categories", key), name), change, users)

    def check_recipients(self) -> None:
        """Refuse another recipient under the key of one that a purpose of the same version has."""
        for key, after in self.new.recipients.items():
            before = self.old.recipients.get(key) if self.old else None
            users = [one for was, one in self.unraised() if key in was.recipients and key in one.recipients]
            for name, change in _recipient_changes(before, after) if before and users else ():
                self._changed(at(at("recipients", key), name), change, users)

    def _highest(self, key: PurposeKey) -> int:
        """Return the highest version that a purpose ever had; 0 when it is new."""
        current = self.old.purposes.get(key) if self.old else None
        return max(self.highest.get(key, 0), current.version if current else 0)

    def _widened(self, purpose: Purpose, name: str, change: str) -> None:
        raised = self._highest(purpose.key) + 1
        self._add(
            purpose,
            name,
            f"{change}; raise the version of this purpose to {raised} to ask everyone again, or undo it.",
        )

    def _changed(self, path: str, change: str, users: list[Purpose]) -> None:
        raise_them = ", ".join(f"{user.key} to {self._highest(user.key) + 1}" for user in users)
        message = f"{change}; raise the version of {raise_them}, to ask everyone again, or undo it."
        self.problems.append(NoticeProblem(path=path, message=message))

    def _add(self, purpose: Purpose, name: str, message: str) -> None:
        self.problems.append(NoticeProblem(path=at(at("purposes", purpose.key), name), message=message))


def _category_changes(before: Category, after: Category) -> Iterable[tuple[str, str]]:
    """Return what a category is now that it was not before: field and change."""
    if after.dpv != before.dpv:
        yield "dpv", f"changes from {before.dpv} to {after.dpv}"
    if _REACH[after.origin] > _REACH[before.origin]:
        yield "origin", f"widens from {before.origin} to {after.origin}"
    if after.special != before.special:
        yield "special", f"changes from {str(before.special).lower()} to {str(after.special).lower()}"


def _recipient_changes(before: Recipient, after: Recipient) -> Iterable[tuple[str, str]]:
    """Return what a recipient is now that it was not before: field and change."""
    for name, now, then in (
        ("name", after.name, before.name),
        ("role", after.role, before.role),
        ("country", after.country, before.country),
    ):
        if now != then:
            yield name, f"changes from {shown(then)} to {shown(now)}"
