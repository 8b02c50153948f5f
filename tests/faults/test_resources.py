"""What runs out, is damaged or does not fit: disks, file descriptors, files, keys. Nothing is lost."""

import http.client
import json
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import httpx2
import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app
from consent_service.domain.profile import ProfileValue
from consent_service.errors import (
    DatabaseDamaged,
    DatabaseUnavailable,
    InvalidInput,
    KeyFileMissing,
    WrongKey,
)
from consent_service.operations.read_ledger import prove_consistency
from tests.disks import Disk, SmallDisk
from tests.faults.crowd import Acknowledged
from tests.faults.ledgers import assert_nothing_is_lost
from tests.followers.following import Place
from tests.installation import Installation
from tests.postgres import PostgresServer
from tests.servers import ConsentServer, wait_until
from tests.shop import Shop

IDLE = 64


def fill_until_refused(installation: Installation) -> list[Acknowledged]:
    """Decide until the database refuses; return what it had stored until then."""
    stored: list[Acknowledged] = []
    with suppress(DatabaseUnavailable):
        while True:
            subject = f"customer-{len(stored)}"
            answer = installation.decide(subject, {"coupons": "granted"})
            stored.append(Acknowledged(answer.index, subject, "granted"))
    return stored


def assert_room_is_all_it_needs(installation: Installation, disk: Disk) -> None:
    """Fill the disk, look at what is there, make room, and go on with the same service."""
    installation.publish()
    disk.fill()
    stored = fill_until_refused(installation)
    assert stored
    assert installation.reasons("customer-0")["coupons"] == "granted"
    assert_nothing_is_lost(installation.service.deployment, installation.tenant, stored)

    disk.make_room()

    assert installation.decide("after", {"coupons": "granted"}).index == len(stored) + 1
    assert_nothing_is_lost(installation.service.deployment, installation.tenant, stored)


def test_a_full_disk_refuses_decisions_until_there_is_room(sqlite_disk: Disk, tmp_path: Path) -> None:
    url = f"sqlite:///{sqlite_disk.folder / 'consent.db'}"
    with Installation(home=tmp_path / "home", database_url=url) as installation:
        assert_room_is_all_it_needs(installation, sqlite_disk)


def test_a_full_disk_under_postgresql_refuses_decisions_until_there_is_room(
    postgresql_disk: SmallDisk, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The tables are on the small disk, PostgreSQL's own log is not."""
    name = postgres_server.create_database_in(postgresql_disk.folder / "tables")
    with Installation(home=tmp_path / "home", database_url=postgres_server.url(name)) as installation:
        assert_room_is_all_it_needs(installation, postgresql_disk)
    postgres_server.drop_database(name)
    postgres_server.drop_tablespace(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def small_database(request: pytest.FixtureRequest) -> Iterator[tuple[str, Disk]]:
    """A database on a small disk: its URL, and the disk."""
    disk: Disk = request.getfixturevalue(f"{request.param}_disk")
    if request.param == "sqlite":
        yield f"sqlite:///{disk.folder / 'consent.db'}", disk
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database_in(disk.folder / "tables")
    yield server.url(name), disk
    server.drop_database(name)
    server.drop_tablespace(name)


def seal_until_refused(shop: Shop, sealed: dict[str, ProfileValue]) -> None:
    """Store one field after the other, and note in `sealed` what was stored."""
    for number in range(1_000):
        value = f"canary{token_hex(30_000)}"
        shop.write("ana", {"household": {f"field_{number}": value}})
        sealed[f"field_{number}"] = value


def test_a_disk_that_fills_while_a_profile_is_sealed_leaves_it_as_it_was(
    small_database: tuple[str, Disk], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, disk = small_database
    shop = Shop(url, tmp_path / "home")
    shop.grant("ana", "coupons")
    shop.write("ana", {"household": {"size": 2}})
    disk.fill()
    sealed: dict[str, ProfileValue] = {}
    with pytest.raises(DatabaseUnavailable) as refused:
        seal_until_refused(shop, sealed)

    assert sealed
    assert "canary" not in f"{refused.value}{refused.value.__cause__}{caplog.text}"
    assert shop.read("ana", "coupons") == {"household": {"size": 2, **sealed}}
    disk.make_room()
    shop.write("ana", {"household": {"size": 3}})
    assert shop.read("ana", "coupons") == {"household": {"size": 3, **sealed}}
    shop.check_ledger()
    shop.close()


def test_a_service_without_file_descriptors_refuses_and_recovers(place: Place) -> None:
    with place.serve() as server:
        stored = [Acknowledged(place.decide(server, "ana", {"coupons": "granted"}), "ana", "granted")]
        most = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (descriptors(server) + 8, most))
        with ExitStack() as stack:
            kept = stack.enter_context(closing(connection_to(server)))
            for _ in range(IDLE):
                stack.enter_context(another_connection(server))

            def all_taken() -> bool:
                """Whether no descriptor is left; a thread of the server may have given one back."""
                stack.enter_context(another_connection(server))
                return descriptors(server) >= limit(server)

            wait_until(all_taken, what="the last descriptor to be taken")
            status, index = decide_over(kept, place)

        stored += [Acknowledged(index, "ben", "granted")] if status == 201 else []
        wait_until(lambda: admitted(server, place, stored), what="a new connection to be let in")

    assert status in {201, 503}
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, stored)
    assert verified.size == 1 + len(stored)


def test_a_stop_with_too_few_descriptors_for_who_waits_ends_in_good_order(place: Place) -> None:
    """The system holds the server still while they connect, so that it is told to stop before it accepts."""
    with place.serve() as server, ExitStack() as stack:
        place.decide(server, "ana", {"coupons": "granted"})
        server.send(signal.SIGSTOP)
        waiting = [stack.enter_context(closing(connection_to(server))) for _ in range(IDLE)]
        for connection in waiting:
            send_decision(connection, place)
        most = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (descriptors(server) + IDLE // 2, most))
        server.send(signal.SIGTERM)
        server.send(signal.SIGCONT)
        answers = [answer_or_reset(connection) for connection in waiting]
        code = server.wait()

    assert code in {0, -signal.SIGTERM}
    assert "Application shutdown complete" in server.output()
    assert "Traceback" not in server.output()
    assert set(answers) <= {201, 503, None}
    assert None in answers
    assert set(answers) != {None}  # Whoever is taken is answered: refused, where the database needs one more.
    verified = assert_nothing_is_lost(place.service.deployment, place.tenant, [])
    assert verified.size == 2 + answers.count(201)


def admitted(server: ConsentServer, place: Place, stored: list[Acknowledged]) -> bool:
    """Try to record a decision over a new connection; without descriptors the system resets it unread."""
    try:
        index = place.decide(server, "cleo", {"coupons": "granted"})
    except httpx2.TransportError:
        return False
    stored.append(Acknowledged(index, "cleo", "granted"))
    return True


def another_connection(server: ConsentServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def descriptors(server: ConsentServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def limit(server: ConsentServer) -> int:
    return resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]


def connection_to(server: ConsentServer) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.connect()
    return connection


def send_decision(connection: http.client.HTTPConnection, place: Place) -> None:
    connection.request(
        "POST",
        "/v1/decisions",
        json.dumps(place.decision({"coupons": "granted"})),
        {
            "Authorization": f"Bearer {place.key}",
            "Consent-Subject": "ben",
            "Content-Type": "application/json",
        },
    )


def decide_over(connection: http.client.HTTPConnection, place: Place) -> tuple[int, int]:
    """Record a decision over an open connection; return the status and the index, -1 without one."""
    send_decision(connection, place)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()).get("index", -1)


def answer_or_reset(connection: http.client.HTTPConnection) -> int | None:
    """The status of the answer, `None` for a connection that the server's system ended without one."""
    try:
        return connection.getresponse().status
    except ConnectionError:
        return None


def test_two_services_with_different_keys_are_not_let_onto_one_database(
    installation: Installation, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    with pytest.raises(KeyFileMissing):
        Installation(home=stranger, database_url=installation.database_url)
    with Installation(home=tmp_path / "other", database_url=f"sqlite:///{tmp_path / 'other.db'}"):
        shutil.copy(tmp_path / "other" / "root.key", stranger / "root.key")
    with pytest.raises(WrongKey):
        Installation(home=stranger, database_url=installation.database_url)

    assert installation.decide("ana", {"coupons": "granted"}).index == 1
    assert installation.size == 2


def test_a_damaged_log_loses_only_its_end_and_an_older_checkpoint_shows_it(tmp_path: Path) -> None:
    database, copy = tmp_path / "consent.db", tmp_path / "copy.db"
    with Installation(home=tmp_path / "home", database_url=f"sqlite:///{database}") as installation:
        installation.publish()
        for number in range(20):
            installation.decide(f"customer-{number}")
        shutil.copy(database, copy)
        log = bytearray(Path(f"{database}-wal").read_bytes())
    log[len(log) * 3 // 4] ^= 1
    Path(f"{copy}-wal").write_bytes(log)

    assert_only_the_end_is_gone(tmp_path / "home", f"sqlite:///{copy}")


def test_a_damaged_log_of_postgresql_loses_only_its_end_and_an_older_checkpoint_shows_it(
    tmp_path: Path,
) -> None:
    with TemporaryDirectory(prefix="consent-pg-") as folder:  # a short path: it holds a socket
        server = PostgresServer(Path(folder))
        url = server.url(server.create_database())
        with Installation(home=tmp_path / "home", database_url=url) as installation:
            installation.publish()
            server.checkpoint()
            for number in range(15):
                installation.decide(f"customer-{number}")
            log, end = server.end_of_log()
            for number in range(15, 20):
                installation.decide(f"customer-{number}")
            server.kill()
        content = bytearray(log.read_bytes())
        content[end + 8] ^= 1  # in the head of a record, or of the page that begins there
        log.write_bytes(content)

        server.start_again()

        assert_only_the_end_is_gone(tmp_path / "home", url)
        server.stop()


def assert_only_the_end_is_gone(home: Path, database_url: str) -> None:
    """Of a notice and 20 decisions some are left and verify; whoever saw all of them can tell."""
    with Installation(home=home, database_url=database_url) as damaged:
        left = damaged.size
        with pytest.raises(InvalidInput, match="from a smaller size to a larger one"):
            prove_consistency(damaged.service.deployment, damaged.tenant, old_size=21)
        assert damaged.decide("after").index == left
        assert damaged.verify().size == left + 1
    assert 1 <= left < 21


def test_a_file_that_is_no_database_any_more_is_refused(tmp_path: Path) -> None:
    database = tmp_path / "consent.db"
    with Installation(home=tmp_path / "home", database_url=f"sqlite:///{database}") as installation:
        installation.publish()
    content = database.read_bytes()
    database.write_bytes(b"not a database" + content[14:])

    with pytest.raises(DatabaseDamaged, match="DatabaseError"):
        Installation(home=tmp_path / "home", database_url=f"sqlite:///{database}")
    said = CliRunner(
        env={"CONSENT_HOME": str(tmp_path / "home"), "CONSENT_DATABASE_URL": f"sqlite:///{database}"}
    )
    result = said.invoke(app, ["ledger", "verify"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "restore the newest backup. It says: file is not a database" in result.stderr

    database.write_bytes(content)
    with Installation(home=tmp_path / "home", database_url=f"sqlite:///{database}") as mended:
        assert mended.size == 1
