"""Killed at any moment: what was acknowledged is there, the ledger verifies, the next start needs no hand."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.crowd import Acknowledged, Crowd
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.installation import Installation
from tests.servers import wait_until
from tests.size import size

ROOT = Path(__file__).parents[2]
KILLS = size(2, 20)
CUTS = size(8, 100)
CONNECTIONS = 32
PICK = random.Random(20261128)  # noqa: S311  # when it dies need not be a secret


def test_a_committer_killed_between_any_two_statements_committed_all_or_nothing(
    migrated_url: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fault_points", migrated_url, str(tmp_path / "home")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    kills = [line.split("\t") for line in done.stdout.splitlines()]
    places = [place for place, _ in kills]
    assert [entries for _, entries in kills] == ["0"] * (len(kills) - 1) + ["4"]
    assert places[-2:] == ["before COMMIT", "after COMMIT"]
    words = {word for place in places for word in place.replace('"', "").split()}
    assert {"entry", "record", "checkpoint", "head", "key_grant", "subject"} <= words
    assert len(places) > 25


def test_a_server_killed_under_load_loses_nothing_it_acknowledged(place: Place) -> None:
    acknowledged: list[Acknowledged] = []
    for number in range(KILLS):
        server = place.serve()
        with Crowd(place, server.port, CONNECTIONS, name=f"kill-{number}") as crowd:
            enough = PICK.randrange(20, 400)
            wait_until(crowd.when(enough), what=f"{enough} decisions")
            server.kill()
            seen = crowd.join()
        acknowledged += seen.acknowledged
        assert len(seen.acknowledged) >= enough
        assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)


def test_workers_whose_parent_is_killed_answer_and_leave_the_port_to_the_next(place: Place) -> None:
    with place.serve("--workers", "2") as server:
        with Crowd(place, server.port, CONNECTIONS) as crowd:
            wait_until(crowd.when(10 * CONNECTIONS), what="the load to be under way")
            server.kill()
            seen = crowd.join()
        with place.serve("--workers", "2", port=server.port) as following:
            index = place.decide(following, "ana", {"coupons": "granted"})

    assert (seen.unanswered, seen.refused.total(), seen.not_admitted) == (0, 0, CONNECTIONS)
    acknowledged = [*seen.acknowledged, Acknowledged(index, "ana", "granted")]
    assert_nothing_is_lost(place.service.deployment, place.tenant, acknowledged)


def test_a_power_cut_at_a_random_instant_leaves_every_acknowledged_decision(tmp_path: Path) -> None:
    """The files are copied while the writer is stopped by the system, and what was not synced yet is torn."""
    url = f"sqlite:///{tmp_path / 'consent.db'}"
    with Installation(home=tmp_path / "home", database_url=url) as installation:
        installation.publish()
    command = [sys.executable, "-m", "tests.faults.steady_writer", url, str(tmp_path / "home")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for number in range(CUTS):
            lines = [writer.stdout.readline() for _ in range(PICK.randrange(1, 20))]
            writer.send_signal(signal.SIGSTOP)
            wait_until(lambda: stopped(writer.pid), what="the writer to stand still")
            copy = tmp_path / f"cut-{number}"
            index, synced = (int(word) for word in lines[-1].split())
            copy_as_after_a_power_cut(tmp_path, copy, synced)
            writer.send_signal(signal.SIGCONT)

            with Installation(home=tmp_path / "home", database_url=f"sqlite:///{copy / 'consent.db'}") as cut:
                assert cut.size > index
                assert cut.decide("after").index >= index
            shutil.rmtree(copy)
        writer.kill()


def stopped(pid: int) -> bool:
    """Whether every thread of a process stands still."""
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return set(states) == {"T"}


def copy_as_after_a_power_cut(folder: Path, copy: Path, synced: int) -> None:
    """Copy database and log; what the log got after the last sync is cut off or overwritten at random."""
    copy.mkdir()
    shutil.copy(folder / "consent.db", copy)
    log = (folder / "consent.db-wal").read_bytes()
    kept = PICK.randrange(synced, len(log) + 1)
    garbage = PICK.randbytes(PICK.choice([0, len(log) - kept]))
    (copy / "consent.db-wal").write_bytes(log[:kept] + garbage)
