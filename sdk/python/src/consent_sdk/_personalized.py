"""The decorator that lets a function run for those who granted, and something else for the others."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])
    Finder = Callable[[tuple[object, ...], Mapping[str, object]], object]

_RECEIVERS = frozenset({"self", "cls"})


def feature_name(function: Callable[..., object], feature: str | None) -> str:
    """Return what a use is reported under: the given name, else the function's own, with its class's."""
    name = str(getattr(function, "__qualname__", "")).rpartition("<locals>.")[2]
    return feature or name or type(function).__name__


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling the function gives something to await."""
    from inspect import iscoroutinefunction  # noqa: PLC0415  # too slow to import with the package

    return iscoroutinefunction(function)


def is_async_generator(function: Callable[..., object]) -> bool:
    """Whether calling the function gives something to iterate over with `async for`."""
    from inspect import isasyncgenfunction  # noqa: PLC0415  # as above

    return isasyncgenfunction(function)


def subject_finder(function: Callable[..., object], name: str | None) -> Finder:
    """Return what finds the subject in a call: the parameter `name`, unless given the first but self and cls.

    Raises `TypeError` where the function has no such parameter.
    """
    from inspect import signature  # noqa: PLC0415  # too slow to import with the package

    if isinstance(function, (classmethod, staticmethod)):
        raise TypeError("personalized() stands below @classmethod and @staticmethod.")
    parameters = signature(function).parameters
    wanted = name or next((each for each in parameters if each not in _RECEIVERS), "")
    if wanted not in parameters:
        raise TypeError(f"personalized() needs a parameter that is the subject; there is no {wanted!r}.")
    place = list(parameters).index(wanted)

    def find(args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        if wanted in kwargs:
            return kwargs[wanted]
        return args[place] if place < len(args) else parameters[wanted].default

    return find


def personalize(
    function: F,
    allowed: Callable[[str], bool],
    *,
    find: Finder,
    fallback: object,
    report: Callable[[str], None],
) -> F:
    """Wrap a plain function: its result where allowed (and the use reported), the fallback otherwise."""
    from functools import wraps  # noqa: PLC0415  # with inspect above

    @wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        subject = find(args, kwargs)
        if allowed(subject):  # type: ignore[arg-type]  # what is no subject is denied
            report(subject)  # type: ignore[arg-type]  # it was allowed, so it is one
            return function(*args, **kwargs)
        return fallback(*args, **kwargs) if callable(fallback) else fallback

    return wrapper  # type: ignore[return-value]  # it takes and gives what the function does


def personalize_async(
    function: F,
    allowed: Callable[[str], Awaitable[bool]],
    *,
    find: Finder,
    fallback: object,
    report: Callable[[str], None],
) -> F:
    """As `personalize`, for a coroutine function; the fallback may be one too."""
    from functools import wraps  # noqa: PLC0415  # with inspect above
    from inspect import isawaitable  # noqa: PLC0415  # as above

    @wraps(function)
    async def wrapper(*args: object, **kwargs: object) -> object:
        subject = find(args, kwargs)
        if await allowed(subject):  # type: ignore[arg-type]  # what is no subject is denied
            report(subject)  # type: ignore[arg-type]  # it was allowed, so it is one
            given = function(*args, **kwargs)
        else:
            given = fallback(*args, **kwargs) if callable(fallback) else fallback
        return await given if isawaitable(given) else given

    return wrapper  # type: ignore[return-value]  # it takes and gives what the function does


def personalize_generator(
    function: F,
    allowed: Callable[[str], Awaitable[bool]],
    *,
    find: Finder,
    fallback: object,
    report: Callable[[str], None],
) -> F:
    """As `personalize_async`, for an async generator: the gate is asked when its first item is.

    The fallback is, or gives, something to iterate over, with `async for` or with `for`.
    """
    from functools import wraps  # noqa: PLC0415  # with inspect above

    given = personalize_async(function, allowed, find=find, fallback=fallback, report=report)

    @wraps(function)
    async def wrapper(*args: object, **kwargs: object) -> AsyncIterator[object]:
        items: AsyncIterator[object] | Iterable[object] = await given(*args, **kwargs)  # type: ignore[misc]  # see above
        if not hasattr(items, "__aiter__"):
            for item in items:
                yield item
            return
        try:
            async for item in items:
                yield item
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()

    return wrapper  # type: ignore[return-value]  # it takes and gives what the function does
