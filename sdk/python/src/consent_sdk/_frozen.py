"""Frozen values without `dataclasses`, whose import alone would cost more than the whole SDK may (15 ms)."""

set_slot = object.__setattr__
"""Sets a slot of a value that is being made."""


class Frozen:
    """A value: its slots are set once, by its own `__init__`, and it equals what has the same slots."""

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def _init(self, **values: object) -> None:
        for name, value in values.items():
            set_slot(self, name, value)

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self._values())


def _restore(kind: type[Frozen], values: tuple[object, ...]) -> Frozen:
    value = kind.__new__(kind)
    for name, item in zip(kind.__slots__, values, strict=True):
        set_slot(value, name, item)
    return value
