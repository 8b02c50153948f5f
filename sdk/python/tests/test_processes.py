"""The SDK in the ways that shops run Python: preforking servers, task workers, greenlets."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from live_relay import LiveRelay
from live_service import LiveService, a_live_service, wait_for

from tests.nats_server import NatsServer
from tests.servers import PLAIN, ServerProcess, unused_port

WSGI = """
import os
from consent_sdk import ConsentClient

client = ConsentClient.from_env()
gate = client.gate("coupons")
if {wait}:
    assert client.wait_until_ready(20)
    assert gate("ana")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    verdict = client.check("ana", "coupons")
    return [f"{os.getpid()} {gate('ana')} {verdict.reason}".encode()]
"""

TASKS = """
import os
from celery import Celery
from consent_sdk import ConsentClient

folder = os.environ["BROKER_FOLDER"]
app = Celery("tasks", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue",
    "data_folder_out": f"{folder}/queue",
    "control_folder": f"{folder}/control",
}
app.conf.worker_hijack_root_logger = False
client = ConsentClient.from_env()


@app.task
def ask(subject):
    return [os.getpid(), client.allows(subject, "coupons"), client.check(subject, "coupons").reason.value]
"""

GREENLETS = """
from gevent import monkey

monkey.patch_all()
import gevent, os, sys, time
from consent_sdk import ConsentClient

client = ConsentClient.from_env()
assert client.wait_until_ready(20)
gate = client.gate("coupons")
ticks = []
ticker = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.005)) for _ in range(100_000)])
asked = [gevent.spawn(gate, "ana") for _ in range(20)]
gevent.joinall(asked)
assert all(job.value for job in asked), "granted"
assert len(ticks) > 3, "the hub went on"
print("ready", flush=True)
deadline = time.monotonic() + 20
while gate("ana") and time.monotonic() < deadline:
    gevent.sleep(0.005)
assert client.check("ana", "coupons").reason == "withdrawn"
ticker.kill()
client.close()
print("withdrawn", flush=True)
"""


FORKS = """
import os, sys
from consent_sdk import ConsentClient

client = ConsentClient.from_env()
while "{module}" not in sys.modules:
    pass
child = os.fork()
ready = client.wait_until_ready(20)
allowed = client.allows("ana", "coupons")
client.close()
if child:
    _, ended = os.waitpid(child, 0)
    assert ended == 0, "the child"
assert ready
assert allowed
os._exit(0)
"""


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.grant("ana")
        yield service


def environment(service: LiveService, **more: str) -> dict[str, str]:
    own = {
        "CONSENT_URL": service.url,
        "CONSENT_API_KEY": "ck_test",
        "CONSENT_MISS_TIMEOUT": "10",
        "CONSENT_MAX_STALENESS": "2",
    }
    return {**own, **more}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("httpx2", {}),
        ("httpcore2", {}),
        ("h11", {}),
        ("consent_sdk._snapshot", {"CONSENT_PRELOAD": "true"}),
    ],
)
def test_a_fork_in_the_middle_of_an_import_leaves_the_child_whole(
    service: LiveService, module: str, options: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS.replace("{module}", module)],
        env={**os.environ, **environment(service, **options)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


GUNICORN = (sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "{address}", "shop:app")
UWSGI = (
    *(str(Path(sys.executable).with_name("uwsgi")), "--http-socket", "{address}", "--module", "shop:app"),
    *("--master", "--processes", "2", "--enable-threads", "--die-on-term", "--need-app"),
)


@pytest.mark.parametrize(
    ("command", "wait"),
    [
        ((*GUNICORN, "--preload"), True),
        ((*GUNICORN, "--preload"), False),
        ((*GUNICORN, "--worker-class", "gevent"), False),
        ((*GUNICORN, "--threads", "4"), False),
        (UWSGI, True),
        (UWSGI, False),
    ],
    ids=[
        "gunicorn preload",
        "gunicorn preload at once",
        "gunicorn gevent",
        "gunicorn threads",
        "uwsgi",
        "uwsgi at once",
    ],
)
def test_under_a_forking_server_every_worker_is_live_and_hears_of_a_withdrawal(
    service: LiveService, tmp_path: Path, command: tuple[str, ...], *, wait: bool
) -> None:
    (tmp_path / "shop.py").write_text(WSGI.replace("{wait}", str(wait)))
    port = unused_port()
    command = tuple(part.format(address=f"127.0.0.1:{port}") for part in command)
    log = tmp_path / "log"

    def ask() -> tuple[str, str, str]:
        try:
            pid, allowed, reason = httpx2.get(
                f"http://127.0.0.1:{port}", timeout=20.0, verify=PLAIN
            ).text.split()
        except httpx2.TransportError:
            return "", "", ""
        return pid, allowed, reason

    with ServerProcess(command, folder=tmp_path, log=log, environment=environment(service)) as server:
        yes: set[str] = set()
        server.wait_until(lambda: _all_say(ask, "True", yes), what="two workers that allow", timeout=60.0)

        service.withdraw("ana")

        server.wait_until(
            lambda: _all_say(ask, "withdrawn", set(), tries=20), what="withdrawals", timeout=60.0
        )
        assert str(server.pid) not in yes


def _all_say(ask: Callable[[], tuple[str, str, str]], word: str, pids: set[str], *, tries: int = 5) -> bool:
    """Whether two workers say this, and none of the tries says otherwise."""
    for _ in range(tries):
        pid, allowed, reason = ask()
        if word not in (allowed, reason):
            return False
        pids.add(pid)
    return len(pids) >= 2


def test_under_celery_the_forked_workers_are_live(service: LiveService, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    own = environment(service, BROKER_FOLDER=str(tmp_path), PYTHONPATH=str(tmp_path), C_FORCE_ROOT="1")
    worker = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "-P",
        "prefork",
        "-c",
        "2",
        "--without-gossip",
    ]
    ask = [
        sys.executable,
        "-c",
        "import tasks; print(*tasks.ask.delay('ana').get(timeout=20)); tasks.client.close()",
    ]

    def answer() -> list[str]:
        done = subprocess.run(
            ask,
            cwd=tmp_path,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.split()

    with ServerProcess(worker, folder=tmp_path, log=tmp_path / "log", environment=own) as server:
        server.wait_until(lambda: answer()[1:] == ["True", "granted"], what="a yes", timeout=60.0)

        service.withdraw("ana")

        wait_for(lambda: answer()[1:] == ["False", "withdrawn"], seconds=30)
        assert answer()[0] != str(server.pid)


@contextmanager
def over(stream: str, service: LiveService, folder: Path) -> Iterator[dict[str, str]]:
    """The setting with which a client follows the service itself, or a relay of it."""
    if stream == "sse":
        yield {}
        return
    server = NatsServer(folder / "nats")
    relay = LiveRelay(service, server.url)
    try:
        yield {"CONSENT_STREAM": server.url}
    finally:
        relay.close()
        server.stop()


@pytest.mark.parametrize("stream", ["sse", "nats"])
def test_under_gevent_nothing_stands_still(service: LiveService, tmp_path: Path, stream: str) -> None:
    service.gate_delay = 0.1
    (tmp_path / "greenlets.py").write_text(GREENLETS)
    log = tmp_path / "log"
    command = [sys.executable, "greenlets.py"]

    with (
        over(stream, service, tmp_path) as setting,
        ServerProcess(command, folder=tmp_path, log=log, environment=environment(service, **setting)) as shop,
    ):
        shop.wait_until(lambda: "ready" in shop.output(), what="a yes", timeout=60.0)
        service.withdraw("ana")
        code = shop.wait(timeout=60.0)

    assert code == 0, log.read_text()
    assert service.count("/v1/gate") == 1
    assert (service.count("/v1/stream") > 0) is (stream == "sse")
