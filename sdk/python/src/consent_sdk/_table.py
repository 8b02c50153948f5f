"""Rows for a hundred thousand subjects in few bytes: found by subject ref and by external id (ADR 0041).

Not thread-safe: its owner locks. A row is what is known of one subject: per column (a purpose that this
process asks about) a reason, until when, and the entry that decided.
"""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Cell = tuple[int, int, int]
"""Reason code (0: nothing known), epoch seconds until when (0: no end), deciding index plus one (0: none)."""

UNKNOWN: Cell = (0, 0, 0)
_LARGEST = (1 << 32) - 1
_PRINT_SIZE = 12
_64_BITS = (1 << 64) - 1
_32_BITS = (1 << 32) - 1
_FIRST_SIZE = 64
_LEAST_ROOM = 64


def fingerprint(ref: str) -> bytes:
    """Return 96 bits that stand for a ref: two of a million subjects share one with odds of 10^-17.

    Two of Python's own keyed hashes: nobody outside the service chooses refs, and `hashlib` would cost the
    import of the SDK a third of its time.
    """
    both = (hash(ref) & _64_BITS) << 32 | hash("\0" + ref) & _32_BITS
    return both.to_bytes(_PRINT_SIZE)


class _Places:
    """Where things are: an open-addressing table of slot numbers by hash, with linear probing."""

    __slots__ = ("_used", "mask", "places")

    def __init__(self) -> None:
        self.places = array("I", bytes(4 * _FIRST_SIZE))
        self.mask = _FIRST_SIZE - 1
        self._used = 0

    def candidates(self, key: int) -> Iterator[int]:
        """Yield the slots that may have this hash, nearest first."""
        places, mask = self.places, self.mask
        place = key & mask
        while slot := places[place]:
            yield slot - 1
            place = (place + 1) & mask

    def add(self, key: int, slot: int, keys: Iterable[tuple[int, int]]) -> None:
        """Remember the slot; `keys` gives hash and slot of everything remembered before, to grow from."""
        self._used += 1
        if self._used * 5 > len(self.places) * 4:
            self._grow(keys)
        self._put(key, slot)

    def remove(self, key: int, slot: int, hashes: Hashes) -> None:
        """Forget the slot, moving up what collided with it; `hashes(slot)` gives the hash of another."""
        places, mask = self.places, self.mask
        hole = key & mask
        while places[hole] != slot + 1:
            hole = (hole + 1) & mask
        place = (hole + 1) & mask
        while moved := places[place]:
            home = hashes(moved - 1) & mask
            # What lies in (hole, place] by its own hash must stay behind the hole.
            if (place - home) & mask >= (place - hole) & mask:
                places[hole], hole = moved, place
            place = (place + 1) & mask
        places[hole] = 0
        self._used -= 1

    def _put(self, key: int, slot: int) -> None:
        places, mask = self.places, self.mask
        place = key & mask
        while places[place]:
            place = (place + 1) & mask
        places[place] = slot + 1

    def _grow(self, keys: Iterable[tuple[int, int]]) -> None:
        size = 2 * len(self.places)
        self.places = array("I", bytes(4 * size))
        self.mask = size - 1
        for key, slot in keys:
            self._put(key, slot)


class Table:
    """Rows in slots: each has a ref, cells, and an external id once this process knows it."""

    def __init__(self, columns: int = 0) -> None:
        self._prints = bytearray()
        self._ids: list[str | None] = []
        self._codes: list[bytearray] = []
        self._untils: list[array[int]] = []
        self._indexes: list[array[int]] = []
        self._free: list[int] = []
        self._used = 0
        self._by_ref = _Places()
        self._by_id = _Places()
        self._named = 0
        self._hand = 0
        for _ in range(columns):
            self.add_column()

    def __len__(self) -> int:
        return self._used - len(self._free)

    @property
    def columns(self) -> int:
        """How many purposes a row speaks of."""
        return len(self._codes)

    @property
    def named(self) -> int:
        """How many slots have an external id."""
        return self._named

    def add_column(self) -> int:
        """Return the number of a new column, unknown in every row."""
        size = len(self._ids)
        self._codes.append(bytearray(size))
        self._untils.append(array("I", bytes(4 * size)))
        self._indexes.append(array("I", bytes(4 * size)))
        return len(self._codes) - 1

    def find(self, external_id: str) -> int | None:
        """Return the slot of an external id."""
        ids, places, mask = self._ids, self._by_id.places, self._by_id.mask
        place = hash(external_id) & mask
        while slot := places[place]:  # as `candidates` does, which would cost as much again
            if ids[slot - 1] == external_id:
                return slot - 1
            place = (place + 1) & mask
        return None

    def find_ref(self, mark: bytes) -> list[int]:
        """Return the slots of a ref's fingerprint: several, where two spellings are one subject."""
        prints = self._prints
        found = []
        for slot in self._by_ref.candidates(int.from_bytes(mark[:8])):
            start = slot * _PRINT_SIZE
            if prints[start : start + _PRINT_SIZE] == mark:
                found.append(slot)
        return found

    def add(self, mark: bytes, external_id: str | None = None) -> int:
        """Return a new slot, its row unknown."""
        slot = self._free.pop() if self._free else self._extend()
        start = slot * _PRINT_SIZE
        self._by_ref.add(int.from_bytes(mark[:8]), slot, self._ref_keys(slot))
        self._prints[start : start + _PRINT_SIZE] = mark
        if external_id is not None:
            self.name(slot, external_id)
        return slot

    def name(self, slot: int, external_id: str) -> None:
        """Remember the external id of a slot that had none."""
        self._by_id.add(hash(external_id), slot, self._id_keys())
        self._ids[slot] = external_id
        self._named += 1

    def unname(self, slot: int) -> None:
        """Forget a slot's external id."""
        external_id = self._ids[slot]
        if external_id is not None:
            self._by_id.remove(hash(external_id), slot, self._id_key)
            self._ids[slot] = None
            self._named -= 1

    def remove(self, slot: int) -> None:
        """Forget a slot."""
        self.unname(slot)
        self._by_ref.remove(self._ref_key(slot), slot, self._ref_key)
        for column in range(len(self._codes)):
            self.put(slot, column, UNKNOWN)
        self._free.append(slot)

    def external_id(self, slot: int) -> str | None:
        """Return the external id of a slot."""
        return self._ids[slot]

    def get(self, slot: int, column: int) -> Cell:
        """Return a cell."""
        return self._codes[column][slot], self._untils[column][slot], self._indexes[column][slot]

    def put(self, slot: int, column: int, cell: Cell) -> None:
        """Replace a cell."""
        code, until, index = cell
        self._codes[column][slot] = code
        self._untils[column][slot] = min(until, _LARGEST)
        # An index that does not fit is not known, rather than wrong.
        self._indexes[column][slot] = index if index <= _LARGEST else 0

    def sweep(self) -> Iterator[int]:
        """Yield slots that have an external id, for ever, each call going on where the last one stopped."""
        while self._named:
            self._hand = (self._hand + 1) % self._used
            if self._ids[self._hand] is not None:
                yield self._hand

    def _extend(self) -> int:
        if self._used == len(self._ids):
            self._allocate(max(_LEAST_ROOM, self._used // 16))
        self._used += 1
        return self._used - 1

    def _allocate(self, room: int) -> None:
        """Make room for further slots. Sums have no room to spare, as what `append` grows has."""
        self._prints = self._prints + bytes(_PRINT_SIZE * room)
        self._ids = self._ids + [None] * room
        empty = array("I", bytes(4 * room))
        for column in range(len(self._codes)):
            self._codes[column] = self._codes[column] + bytes(room)
            self._untils[column] = self._untils[column] + empty
            self._indexes[column] = self._indexes[column] + empty

    def _ref_key(self, slot: int) -> int:
        start = slot * _PRINT_SIZE
        return int.from_bytes(self._prints[start : start + 8])

    def _id_key(self, slot: int) -> int:
        return hash(self._ids[slot])

    def _ref_keys(self, new: int) -> Iterator[tuple[int, int]]:
        free = {new, *self._free}
        yield from ((self._ref_key(slot), slot) for slot in range(self._used) if slot not in free)

    def _id_keys(self) -> Iterator[tuple[int, int]]:
        yield from ((hash(name), slot) for slot, name in enumerate(self._ids) if name is not None)


if TYPE_CHECKING:
    from collections.abc import Callable

    Hashes = Callable[[int], int]
