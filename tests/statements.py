"""SQL compiled once for a process of the tests.

SQLAlchemy keeps what it compiles with each engine. A service has one or two, and compiles its thirty
statements when it is used first; the tests open hundreds of services, and would spend a third of their
processor time on the same thirty.
"""

from typing import Any

from sqlalchemy import Compiled, Connection, Engine, event

Key = tuple[Any, ...]  # SQLAlchemy's: a dialect, a statement's structure, its parameters' names


class Statements(dict[Key, Compiled]):
    """Compiled statements by the name of their dialect, where SQLAlchemy has each engine's own dialect."""

    def get(self, key: Key, default: Any = None) -> Any:
        """Return the statement, or `default`."""
        return super().get(_for_any_engine(key), default)

    def __setitem__(self, key: Key, statement: Compiled) -> None:
        super().__setitem__(_for_any_engine(key), statement)


def _for_any_engine(key: Key) -> Key:
    return (key[0].name, *key[1:])


def share_statements() -> None:
    """Let every engine of this process take its statements from one place."""
    statements = Statements()

    @event.listens_for(Engine, "engine_connect")
    def _take_from_there(connection: Connection) -> None:
        connection.execution_options(compiled_cache=statements)
