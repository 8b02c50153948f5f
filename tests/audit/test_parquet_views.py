"""The Parquet views of a pack say what its evidence says, and it is noticed when they do not."""

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types
import pytest

from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.parquet_views import TableParquet, leaves_parquet, verify_parquet
from consent_service.verifier.verify import PARQUET_UNREAD, VIEW_HEADER, Fault, cell, verify_pack
from tests.audit.conftest import KNOWN
from tests.audit.packs import entries_of, export_to, members_of, packed
from tests.installation import Installation

TABLE, LEAVES = "table/000000.parquet", "leaves/000000.parquet"


@pytest.fixture(scope="module")
def members(pack: Path) -> dict[str, bytes]:
    return members_of(pack)


def table_parquet(table: bytes) -> bytes:
    """Return a CSV table, header and all, as Parquet of one row group."""
    parquet = TableParquet()
    parquet.append(table.removeprefix(VIEW_HEADER.encode()))
    return parquet.close()


def test_a_pack_has_every_leaf_in_one_row_group(members: dict[str, bytes]) -> None:
    leaves = pq.ParquetFile(io.BytesIO(members[LEAVES]))

    rows = leaves.read().to_pylist()

    assert leaves.num_row_groups == 1
    lines = members["entries/000000.ndjson"].splitlines()
    assert [row["index"] for row in rows] == list(range(len(lines)))
    assert all(b'"leaf":%b,' % row["leaf"] in line for row, line in zip(rows, lines, strict=True))


def test_the_table_has_its_types(members: dict[str, bytes]) -> None:
    table = pq.read_table(io.BytesIO(members[TABLE]))

    rows = table.to_pylist()

    assert table.schema.field("recorded_at").type == pa.timestamp("ms", "UTC")
    first = next(row for row in rows if row["kind"] == "decision")
    record = entries_of(members)[first["index"]]["record"]
    outcome = record["consents"][first["purpose"]]
    assert (first["subject"], first["status"]) == (record["subject"], outcome["status"])
    assert first["valid_until"] == datetime.fromisoformat(outcome["valid_until"]).astimezone(UTC)
    assert first["gpc"] is record["gpc"]
    erased = [row for row in rows if row["recorded_at"] is None]
    assert len(erased) == 2
    assert {value for row in erased for name, value in row.items() if name not in {"index", "kind"}} == {None}


def test_the_same_table_gives_the_same_bytes(members: dict[str, bytes]) -> None:
    assert table_parquet(members["table/000000.csv"]) == members[TABLE]


def test_the_apostrophe_that_guards_a_spreadsheet_is_not_in_the_parquet_view() -> None:
    subjects = ["=1+1", "+1", "-x", "@x", "'quoted'", "plain", 'with "quotes"']
    lines = [f"{number},link,,,{cell(subject)},,,,,,,,,,\r\n" for number, subject in enumerate(subjects)]

    table = pq.read_table(io.BytesIO(table_parquet((VIEW_HEADER + "".join(lines)).encode())))

    assert table["subject"].to_pylist() == subjects


def test_the_views_of_a_whole_pack_and_of_one_subjects_are_compared(
    installation: Installation, pack: Path, tmp_path: Path
) -> None:
    subject = installation.tenant.subject(KNOWN)
    mine = export_to(tmp_path / "subject.zip", installation, AuditRequest(subject=subject))

    whole, hers = (verify_parquet(each, verify_pack(each)) for each in (pack, mine))

    assert (whole["checked"]["parquet"], hers["checked"]["parquet"]) == (2, 1)
    assert PARQUET_UNREAD not in (*whole["remarks"], *hers["remarks"])


@pytest.mark.parametrize("name", [TABLE, LEAVES])
@pytest.mark.parametrize("how", ["another value", "fewer rows", "not Parquet", "nothing behind it"])
def test_a_parquet_view_that_says_something_else_is_a_fault(
    installation: Installation, members: dict[str, bytes], tmp_path: Path, name: str, how: str
) -> None:
    other = {
        TABLE: table_parquet(members["table/000000.csv"].replace(b",refused,", b",given,")),
        LEAVES: leaves_parquet(0, [b"{}"]),
    }
    rows = members["table/000000.csv"].splitlines(keepends=True)
    leaves = pq.read_table(io.BytesIO(members[LEAVES]))["leaf"].to_pylist()
    fewer = {TABLE: table_parquet(b"".join(rows[:-1])), LEAVES: leaves_parquet(0, leaves[:-1])}
    changed = {
        "another value": {name: other[name]},
        "fewer rows": {name: fewer[name]},
        "not Parquet": {name: b"PAR1" * 4},
        "nothing behind it": {name.replace("000000", "000007"): members[name]},
    }[how]
    spoilt = tmp_path / "spoilt.zip"
    spoilt.write_bytes(packed({**members, **changed}, installation.tenant.signer))

    with pytest.raises(Fault) as caught:
        verify_parquet(spoilt, verify_pack(spoilt))

    assert caught.value.check in {"views", "container"}
    assert caught.value.where == next(iter(changed)) or "000007" in caught.value.where


def test_a_pack_is_written_the_same_twice(installation: Installation, pack: Path, tmp_path: Path) -> None:
    again = export_to(tmp_path / "again.zip", installation, AuditRequest())

    assert again.read_bytes() == pack.read_bytes()


def test_comparing_views_leaves_pandas_alone_where_it_is_installed(pack: Path) -> None:
    program = (
        "import sys; from pathlib import Path; "
        "from consent_service.operations.parquet_views import verify_parquet; "
        "result = verify_parquet(Path(sys.argv[1]), {'checked': {}, 'remarks': []}); "
        "assert result['checked']['parquet']; assert 'pandas' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program, str(pack)], check=True)
