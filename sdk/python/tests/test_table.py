import random

from consent_sdk._table import UNKNOWN, Table, fingerprint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

names = st.integers(0, 40).map(lambda number: f"subject-{number}")
cells = st.tuples(st.integers(0, 13), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


class TableAgainstDictionaries(RuleBasedStateMachine):
    """Slots are found by ref and by id exactly as dictionaries would find them."""

    slots = Bundle("slots")

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.columns = 0
        self.refs: dict[int, str] = {}
        self.ids: dict[int, str] = {}
        self.cells: dict[tuple[int, int], tuple[int, int, int]] = {}

    @rule()
    def add_column(self) -> None:
        if self.columns < 3:
            assert self.table.add_column() == self.columns
            self.columns += 1

    @rule(target=slots, ref=names, named=st.booleans(), name=names)
    def add(self, ref: str, name: str, *, named: bool) -> int:
        named = named and name not in self.ids.values()
        slot = self.table.add(fingerprint(ref), name if named else None)
        self.refs[slot] = ref
        if named:
            self.ids[slot] = name
        return slot

    @rule(slot=slots, name=names)
    def name(self, slot: int, name: str) -> None:
        if slot not in self.ids and name not in self.ids.values():
            self.table.name(slot, name)
            self.ids[slot] = name

    @rule(slot=slots)
    def unname(self, slot: int) -> None:
        self.table.unname(slot)
        self.ids.pop(slot, None)

    @rule(slot=consumes(slots))
    def remove(self, slot: int) -> None:
        self.table.remove(slot)
        del self.refs[slot]
        self.ids.pop(slot, None)
        self.cells = {key: cell for key, cell in self.cells.items() if key[0] != slot}

    @rule(slot=slots, cell=cells, column=st.integers(0, 2))
    def put(self, slot: int, cell: tuple[int, int, int], column: int) -> None:
        if column < self.columns:
            self.table.put(slot, column, cell)
            self.cells[slot, column] = cell

    @invariant()
    def everything_is_found(self) -> None:
        assert len(self.table) == len(self.refs)
        assert self.table.named == len(self.ids)
        for number in range(41):
            key = f"subject-{number}"
            by_ref = sorted(slot for slot, ref in self.refs.items() if ref == key)
            assert sorted(self.table.find_ref(fingerprint(key))) == by_ref
            assert self.table.find(key) == next(
                (slot for slot, name in self.ids.items() if name == key), None
            )
        for slot in self.refs:
            for column in range(self.columns):
                assert self.table.get(slot, column) == self.cells.get((slot, column), UNKNOWN)


TestTable = TableAgainstDictionaries.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_thousands_come_and_go() -> None:
    table, chance, live = Table(), random.Random(7), {}  # noqa: S311  # a fixed mix, no secret
    for step in range(20_000):
        if len(live) > 1000:
            table.remove(live.pop(chance.choice(list(live)[:50])))
        live[f"c-{step}"] = table.add(fingerprint(f"s_{step}"), f"c-{step}")

    assert all(table.find(name) == slot for name, slot in live.items())
    assert len(table) == len(live)
    assert table.find("c-0") is None


def test_an_index_too_large_for_the_table_is_not_known_rather_than_wrong() -> None:
    table = Table()
    column, slot = table.add_column(), table.add(fingerprint("s_x"), "x")

    table.put(slot, column, (1, 2**40, 2**40))

    assert table.get(slot, column) == (1, 2**32 - 1, 0)
