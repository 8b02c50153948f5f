"""Decides for ever, one decision in a transaction; started by `test_killed.py`.

`python -m tests.faults.steady_writer DATABASE_URL HOME` prints a line for each decision when it is
acknowledged: its index, and how long SQLite's write-ahead log was then, all of it synced.
"""

import os
import sqlite3
import sys
from pathlib import Path

from sqlalchemy import make_url

from tests.installation import Installation


def main(database_url: str, home: str) -> None:
    """Write until killed. A reader who never ends keeps SQLite from beginning its log anew: it only grows."""
    database = make_url(database_url).database or ""
    log = Path(f"{database}-wal")
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM tenant")
    with Installation(home=Path(home), database_url=database_url) as installation:
        number = 0
        while True:
            number += 1
            index = installation.decide(f"customer-{number % 10}").index
            os.write(1, f"{index} {log.stat().st_size}\n".encode())


main(sys.argv[1], sys.argv[2])
