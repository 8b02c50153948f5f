"""Purpose-bound reads against the bare SELECTs and AES-GCM calls they need; sealed writes against clear."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import text

from consent_service.api.app import look_for_garbage_seldom
from consent_service.domain.purpose import PurposeKey
from consent_service.operations.read_profile import ProfileQuestion, read_profiles
from consent_service.operations.tenant import Tenant
from tests.benchmarks.load import Load, apply_load
from tests.benchmarks.measure import QUICK, SECONDS, interleaved, median, ratio
from tests.benchmarks.services import Servers, served, wait_for
from tests.builders import a_notice
from tests.servers import ServerProcess, unused_port
from tests.shop import Shop

_ROOT = Path(__file__).parents[2]
_SUBJECTS = 500
_READS, _ROUNDS = (200, 9) if QUICK else (500, 15)
"""Short rounds and many: three long ones, seconds apart, gave 3.3 to 5.1 of one program."""
_CATEGORIES = {"purchases": 4, "browsing": 3, "household": 3}
_PURPOSE = PurposeKey("recommendations")
_CHANGE = {"purchases": {f"field_{number}": f"value {number}" for number in range(10)}}


def figures() -> dict[str, object]:
    """Return the ratios of reads and writes on SQLite."""
    return {"read": _reads(), "write": _writes()}


def _reads() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="consent-bench-") as folder:
        shop = Shop(f"sqlite:///{folder}/consent.db", Path(folder) / "home")
        shop.publish(a_notice(_WIDER))
        for number in range(_SUBJECTS):
            shop.grant(f"customer-{number}", _PURPOSE)
            shop.write(
                f"customer-{number}",
                {c: {f"field_{n}": f"value {n}" for n in range(count)} for c, count in _CATEGORIES.items()},
            )
        tenant = shop.tenant
        look_for_garbage_seldom()  # As `consent serve` does.
        rates = interleaved(
            {
                "single": lambda: _rate(
                    lambda number: _read(shop, tenant, [f"customer-{number % _SUBJECTS}"])
                ),
                "bare": _bare(shop),
                "batch": lambda: _batch_rate(shop, tenant),
            },
            rounds=_ROUNDS,
        )
        shop.close()
    return {
        "single_read_to_bare_time": round(1 / ratio(rates, "single", "bare"), 2),
        "batch_of_500_to_single_per_subject": ratio(rates, "batch", "single"),
        "subjects_per_processor_second": {name: median(values) for name, values in rates.items()},
    }


_WIDER: dict[str, object] = {
    "purposes/recommendations/categories": list(_CATEGORIES),
    "purposes/recommendations/version": 2,
}


def _read(shop: Shop, tenant: Tenant, names: list[str]) -> None:
    question = ProfileQuestion(subjects=[tenant.subject(name) for name in names], purpose=_PURPOSE)
    for answer in read_profiles(shop.service.deployment, tenant, question):
        if isinstance(answer, Exception):
            raise answer
        assert sum(len(fields) for fields in answer.attributes.values()) == sum(_CATEGORIES.values())


def _rate(work: Callable[[int], None]) -> float:
    """Return how often a processor does this in a second: nothing here waits for anything else."""
    started = time.process_time()
    for number in range(_READS):
        work(number)
    return _READS / (time.process_time() - started)


def _batch_rate(shop: Shop, tenant: Tenant) -> float:
    names = [f"customer-{number}" for number in range(_SUBJECTS)]
    rounds = max(1, _READS // _SUBJECTS)
    started = time.process_time()
    for _ in range(rounds):
        _read(shop, tenant, names)
    return rounds * _SUBJECTS / (time.process_time() - started)


def _bare(shop: Shop) -> Callable[[], float]:
    """Return the rate of what nobody can leave out: the SELECTs, through the same library, and GCM."""
    queries = [
        text("SELECT size, notice_index FROM head WHERE tenant_id = 1"),
        text("SELECT id, state FROM subject WHERE tenant_id = 1 AND id = :subject"),
        text(
            "SELECT category, wrapped FROM key_grant"
            " WHERE tenant_id = 1 AND subject_id = :subject AND purpose = 'recommendations'"
        ),
        text(
            "SELECT category, field_tag, sealed FROM profile_value"
            " WHERE tenant_id = 1 AND subject_id = :subject"
        ),
    ]
    cipher, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    key, value = cipher.encrypt(nonce, os.urandom(32), b"aad"), cipher.encrypt(nonce, b" " * 64, b"aad")

    def work(number: int) -> None:
        with shop.service.deployment.database.reading() as connection:
            for query in queries:
                parameters = {"subject": number % _SUBJECTS + 1} if ":subject" in query.text else {}
                connection.execute(query, parameters).all()
        for _ in _CATEGORIES:
            cipher.decrypt(nonce, key, b"aad")
        for _ in range(sum(_CATEGORIES.values())):
            cipher.decrypt(nonce, value, b"aad")

    return lambda: _rate(work)


def _writes() -> dict[str, object]:
    with Servers() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="consent-bench-")))
        starting = servers.start(served(folder / "ours")), servers.start(_clear(folder / "clear"))
        ours, port = starting[0].result(), starting[1].result()
        body = json.dumps(_CHANGE)
        grant = Load(
            port=ours.port,
            path="/v1/decisions",
            body=ours.decision({"recommendations": "granted"}),
            connections=1,
            seconds=0.2,
            headers=ours.headers,
            subjects=1,
        )
        apply_load(grant)
        rates = interleaved(
            {
                "sealed": lambda: _patch(ours.port, "/v1/profile", body, ours.headers),
                "clear": lambda: _patch(port, "/clear", body, {}),
            }
        )
    return {
        "sealed_to_clear_time": round(1 / ratio(rates, "sealed", "clear"), 2),
        "patches_per_second": {name: median(values) for name, values in rates.items()},
        "fields_per_patch": len(_CHANGE["purchases"]),
    }


def _patch(port: int, path: str, body: str, headers: dict[str, str]) -> float:
    load = Load(
        port=port,
        path=path,
        body=body,
        connections=4,
        seconds=SECONDS,
        headers={**headers, "Content-Type": "application/json"},
        subjects=1,
        method="PATCH",
    )
    return apply_load(load).rate


@contextmanager
def _clear(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True)
    port = unused_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "tests.benchmarks.vault_bare_app:create_clear_app"),
        *("--port", str(port), "--no-access-log", "--log-level", "warning"),
    ]
    environment = {"BARE_DATABASE_URL": f"sqlite:///{folder / 'clear.db'}"}
    with ServerProcess(command, folder=_ROOT, log=folder / "log", environment=environment) as server:
        wait_for(server, port, "/openapi.json")
        yield port
