"""Many packs at once: DuckDB and Spark give the same answer, and the pack with a fault is named."""

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types
import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from consent_service.ledger.merkle import root_hash, tree_root
from consent_service.ledger.subtrees import folded
from consent_service.operations.export_audit import AuditRequest
from consent_service.operations.parquet_views import LARGEST_VIEW, leaves_parquet
from consent_service.operations.scan_packs import Engine, Scan, scan_packs
from consent_service.operations.scan_with_duckdb import DuckdbEngine
from consent_service.operations.scan_with_spark import SparkEngine
from tests.audit.conftest import KNOWN
from tests.audit.packs import entries_of, export_to, members_of, packed
from tests.installation import Installation

LEAVES, TABLE = "leaves/000000.parquet", "table/000000.parquet"


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    """Both engines, each opened once."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        # Few queries: what the second compiler and a parallel collector would win is less than they cost.
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        stack.callback(hang_up)
        opened: dict[str, Engine] = {"duckdb": DuckdbEngine(), "spark": SparkEngine(cores="2")}
        for engine in opened.values():
            stack.callback(engine.close)
        yield opened


def hang_up() -> None:
    """Close the connections to Java, which outlast a session of Spark."""
    from pyspark import SparkContext  # noqa: PLC0415  # heavy, and for these tests only

    if (gateway := SparkContext._gateway) is not None:
        gateway.close()


@pytest.fixture(scope="module")
def packs(
    installation: Installation, pack: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Packs of two tenants, of a period, and some that somebody meddled with."""
    folder = tmp_path_factory.mktemp("fleet")
    other = installation.another_tenant("other-shop")
    now, members, signer = installation.clock.now, members_of(pack), installation.tenant.signer
    leaves = [json.dumps(entry["leaf"], separators=(",", ":")).encode() for entry in entries_of(members)]
    period = AuditRequest(start=now.replace(day=now.day - 1))
    hers = AuditRequest(subject=installation.tenant.subject(KNOWN))
    changed = {
        "another leaf": {LEAVES: leaves_parquet(0, [*leaves[:7], leaves[8], *leaves[8:]])},
        "a leaf missing": {LEAVES: leaves_parquet(0, leaves[:-1])},
        "not in order": {LEAVES: leaves_parquet(1, leaves)},
        "not Parquet": {LEAVES: b"PAR1"},
        "a table of leaves": {TABLE: members[LEAVES]},
    }
    made = {
        "whole": pack,
        "other tenant": export_to(folder / "other.zip", installation, AuditRequest(), other),
        "period": export_to(folder / "period.zip", installation, period),
        "one subject": export_to(folder / "subject.zip", installation, hers),
        "one byte": folder / "byte.zip",
        "without views": folder / "without.zip",
        "no table": folder / "table.zip",
        "a bomb": folder / "bomb.zip",
        **{name: folder / f"{name}.zip" for name in changed},
    }
    for name, change in changed.items():
        made[name].write_bytes(packed({**members, **change}, signer))
    made["without views"].write_bytes(
        packed({name: data for name, data in members.items() if not name.endswith(".parquet")}, signer)
    )
    made["no table"].write_bytes(
        packed({name: data for name, data in members.items() if name != TABLE}, signer)
    )
    made["a bomb"].write_bytes(packed({**members, TABLE: bytes(LARGEST_VIEW + 1)}, signer))
    spoilt = bytearray(pack.read_bytes())
    spoilt[spoilt.index(members[LEAVES][40:80]) + 5] ^= 1
    made["one byte"].write_bytes(spoilt)
    return made


def _with_pages_of_zeros(view: bytes) -> bytes:
    """Return a Parquet file whose footer is right, and before it only zeros where pages were."""
    columns = pq.ParquetFile(io.BytesIO(view)).metadata.row_group(0)
    spoilt = bytearray(view)
    for number in range(columns.num_columns):
        column = columns.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        spoilt[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    return bytes(spoilt)


def _with_a_gap(view: bytes) -> bytes:
    """Return a Parquet file without the second of its rows."""
    rows, sink = pq.read_table(io.BytesIO(view)), io.BytesIO()
    pq.write_table(pa.concat_tables([rows.slice(0, 1), rows.slice(2)]), sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def scans(
    engines: dict[str, Engine], packs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Scan]:
    """The same packs, scanned by both engines."""
    files = list(packs.values())
    return {
        name: scan_packs(files, engine, folder=tmp_path_factory.mktemp(name))
        for name, engine in engines.items()
    }


def _said(scan: Scan) -> list[tuple[Any, ...]]:
    return [
        (pack.origin, pack.first, pack.size, pack.fault and (pack.fault.check, pack.fault.where))
        for pack in scan.packs
    ]


def test_both_engines_give_the_same_answer(scans: dict[str, Scan]) -> None:
    duckdb, spark = scans["duckdb"], scans["spark"]

    assert _said(duckdb) == _said(spark)
    assert list(duckdb.outcomes) == list(spark.outcomes)


def test_honest_packs_verify_and_every_other_one_is_named(
    scans: dict[str, Scan], packs: dict[str, Path]
) -> None:
    found = scans["duckdb"]

    faults = dict(zip(packs, found.packs, strict=True))
    assert {name for name, pack in faults.items() if pack.fault is None} == {
        "whole",
        "other tenant",
        "period",
    }
    checks = {name: pack.fault.check for name, pack in faults.items() if pack.fault}
    assert checks == {
        "one subject": "views",
        "one byte": "container",
        "without views": "views",
        "no table": "views",
        "a bomb": "container",
        "another leaf": "tree",
        "a leaf missing": "tree",
        "not in order": "tree",
        "not Parquet": "views",
        "a table of leaves": "views",
    }
    assert not found.verified


def test_the_statistics_are_those_of_the_records(scans: dict[str, Scan], packs: dict[str, Path]) -> None:
    expected = Counter(
        (purpose, outcome["status"], entry["record"]["recorded_at"][:7])
        for entry in entries_of(members_of(packs["whole"]))
        for purpose, outcome in entry.get("record", {}).get("consents", {}).items()
    )

    counted = {
        (each.purpose, each.status, each.month): each.count
        for each in scans["duckdb"].outcomes
        if each.pack == 0
    }

    assert counted == expected


def test_a_page_that_cannot_be_read_is_named_in_one_line_by_both_engines(
    engines: dict[str, Engine], pack: Path, installation: Installation, tmp_path: Path
) -> None:
    files = [pack]
    for name in (LEAVES, TABLE):
        files.append(tmp_path / name.replace("/", "-"))
        members = members_of(pack)
        members[name] = _with_pages_of_zeros(members[name])
        files[-1].write_bytes(packed(members, installation.tenant.signer))

    for name, engine in engines.items():
        folder = tmp_path / name
        folder.mkdir()
        found = scan_packs(files, engine, folder=folder)
        faults = [scanned.fault for scanned in found.packs]
        assert [fault and (fault.check, fault.where) for fault in faults] == [
            None,
            ("views", "leaves"),
            ("views", "table"),
        ]
        assert all(fault.message and "\n" not in fault.message for fault in faults if fault)
        assert {each.pack for each in found.outcomes} == {0}


def test_of_the_faults_of_a_pack_the_first_is_named(
    engines: dict[str, Engine], pack: Path, installation: Installation, tmp_path: Path
) -> None:
    members = members_of(pack)
    unreadable = _with_pages_of_zeros(members[LEAVES])
    members[LEAVES] = _with_a_gap(members[LEAVES])
    members["leaves/000001.parquet"] = unreadable
    members["table/000001.parquet"] = members[TABLE]
    file = tmp_path / "two.zip"
    file.write_bytes(packed(members, installation.tenant.signer))
    folder = tmp_path / "views"
    folder.mkdir()

    found = scan_packs([file], engines["duckdb"], folder=folder)

    fault = found.packs[0].fault
    assert fault is not None
    assert (fault.message, fault.index) == ("not one range of leaves", 0)


def test_leaves_of_several_chunks_fold_to_the_root(engines: dict[str, Engine], tmp_path: Path) -> None:
    chunk, count = 65_536, 65_536 + 777
    leaves = [b"leaf %d" % number for number in range(count)]
    folder = tmp_path / "leaves" / "pack=3"
    folder.mkdir(parents=True)
    for start in range(0, count, chunk):
        (folder / f"{start // chunk:06}.parquet").write_bytes(
            leaves_parquet(start, leaves[start : start + chunk])
        )
    expected = root_hash([sha256(b"\0" + leaf).digest() for leaf in leaves])

    for name, engine in engines.items():
        found = [each for each in engine.nodes(tmp_path) if isinstance(each, tuple)]
        assert {pack for pack, _ in found} == {3}, name
        assert tree_root(count, folded(node for _, node in found)) == expected, name


def test_the_command_names_the_fault_and_answers_in_json(
    packs: dict[str, Path], installation: Installation, tmp_path: Path
) -> None:
    run = CliRunner().invoke
    key = installation.tenant.signer.vkey

    good = run(app, ["audit", "scan", str(packs["whole"]), str(packs["period"]), "--key", key, "--json"])
    bad = run(app, ["audit", "scan", str(packs["whole"]), str(packs["another leaf"])])
    foreign = run(app, ["audit", "scan", str(packs["other tenant"]), "--key", key])
    none = run(app, ["audit", "scan", str(tmp_path / "none.zip")])

    assert (good.exit_code, bad.exit_code, foreign.exit_code, none.exit_code) == (0, 1, 1, 2)
    document = json.loads(good.stdout)
    assert document["verified"]
    assert [pack["key_pinned"] for pack in document["packs"]] == [True, True]
    assert "NOT VERIFIED: tree" in bad.stdout
    assert "foreign key" in foreign.stdout


def test_a_pack_whose_name_would_steer_a_terminal_is_named_harmlessly(
    packs: dict[str, Path], tmp_path: Path
) -> None:
    hostile = tmp_path / "a\x1b[2J\u202e.zip"
    hostile.write_bytes(packs["one byte"].read_bytes())

    bad = CliRunner().invoke(app, ["audit", "scan", str(hostile)])
    none = CliRunner().invoke(app, ["audit", "scan", str(tmp_path / "\x1b[2J.zip")])

    assert (bad.exit_code, none.exit_code) == (1, 2)
    for line in (bad.output + none.output).splitlines():
        assert line.isprintable()


def test_without_java_spark_says_what_it_needs(packs: dict[str, Path], tmp_path: Path) -> None:
    consent = Path(sys.executable).parent / "consent"
    command = [str(consent), "audit", "scan", str(packs["whole"]), "--engine", "spark"]
    environment = {"PATH": "/nonexistent", "JAVA_HOME": "/nonexistent", "HOME": str(tmp_path)}

    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert run.returncode == 2
    assert "Java 17 or 21" in " ".join(run.stderr.split())
