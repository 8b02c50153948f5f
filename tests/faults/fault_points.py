"""A committer that is killed before its n-th statement, for every n; started by `test_killed.py`.

`python -m tests.faults.fault_points DATABASE_URL HOME` prints a line for each kill: where it came, and how
many entries more there were when the database was opened again and verified. The kill is a real SIGKILL, by
a listener on the engine: no sleep, no timing.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import event

from consent_service.operations.batch import Request
from consent_service.operations.deployment import Deployment
from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.link_subjects import LinkSubjects
from consent_service.operations.manage_tenants import require_tenant
from consent_service.operations.verify_ledger import verify_ledger
from consent_service.settings import Settings
from tests.builders import a_notice
from tests.installation import Installation, StoppedClock
from tests.statements import share_statements


class Killer:
    """Counts the places where the power may fail, and ends this process at the n-th."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._passed = 0
        self.place = "nowhere"

    def watch(self, installation: Installation) -> None:
        engine = installation.service.deployment.database.engine
        event.listen(engine, "before_cursor_execute", lambda *seen: self._pass(self._verb(seen)))
        event.listen(engine, "commit", lambda _connection: self._pass("before COMMIT"))
        installation.service.committer.when_committed = lambda: self._pass("after COMMIT")

    def _verb(self, seen: tuple[Any, ...]) -> str:
        return " ".join(str(seen[2]).split()[:3])

    def _pass(self, place: str) -> None:
        self._passed += 1
        if self._passed == self._at:
            os.write(1, f"{place}\t".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def _prepare(settings: Settings) -> None:
    with _installation(settings) as installation:
        installation.publish(a_notice())
        for subject in ("ana", "ben", "cleo"):
            installation.decide(subject, {"coupons": "granted", "recommendations": "granted"})


def _installation(settings: Settings) -> Installation:
    assert settings.database_url is not None
    return Installation(home=settings.home, database_url=settings.database_url.get_secret_value())


def _commit_one_of_everything(settings: Settings, killer: Killer) -> None:
    """A withdrawal, a new subject, a link and an erasure in one transaction."""
    with _installation(settings) as installation:
        requests: list[Request] = [
            installation.request("ana", {"coupons": "denied"}, key="a"),
            installation.request("dora", {"coupons": "granted"}, key="d"),
            LinkSubjects(
                anonymous=installation.tenant.subject("ben"),
                known=installation.tenant.subject("dora"),
                actor="backend",
            ),
            EraseSubject(subject=installation.tenant.subject("cleo")),
        ]
        killer.watch(installation)
        answers = installation.service.committer.submit_many_blocking(installation.tenant, requests)
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers


def _killed_at(settings: Settings, number: int) -> bool:
    child = os.fork()
    if child == 0:
        _commit_one_of_everything(settings, Killer(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}, status
    return status == signal.SIGKILL


def _size_when_opened_again(settings: Settings) -> int:
    deployment = Deployment.open(settings, clock=StoppedClock())
    try:
        return verify_ledger(deployment, require_tenant(deployment, "default")).size
    finally:
        deployment.close()


def main(database_url: str, home: str) -> None:
    """Kill at every place in turn, until the batch was committed; nothing is mended in between."""
    settings = Settings(home=Path(home), database_url=SecretStr(database_url))
    _prepare(settings)
    before = _size_when_opened_again(settings)
    number, size = 1, before
    while size == before and _killed_at(settings, number):
        size = _size_when_opened_again(settings)
        os.write(1, f"{size - before}\n".encode())
        number += 1


share_statements()  # Every process that is killed opens the database anew.
main(sys.argv[1], sys.argv[2])
