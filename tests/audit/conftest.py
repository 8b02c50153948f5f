"""A filled ledger on each kind of database, shared by the tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consent_service.operations.erase_subject import EraseSubject
from consent_service.operations.export_audit import AuditRequest
from tests.audit.packs import export_to
from tests.builders import ChoiceName, a_notice
from tests.installation import Installation, check_ledger
from tests.postgres import PostgresServer

KNOWN, VISITOR, ERASED = "customer-5", "visitor", "customer-7"


def fill(installation: Installation) -> None:
    """Append, over three days: two notices, decisions, one of them late, a link, an erasure, withdrawals."""
    first = installation.publish()
    for number in range(40):
        choice: ChoiceName = "granted" if number % 3 else "denied"
        installation.decide(f"customer-{number % 20}", {"coupons": choice, "recommendations": "granted"})
    installation.clock.advance(days=1)
    installation.publish(a_notice({"purposes/coupons/version": 2, "purposes/coupons/validity": "PT36H"}))
    installation.decide("customer-6", {"coupons": "granted", "recommendations": "granted"})
    late = installation.request("customer-6", {"coupons": "granted"}, notice=first.digest)
    installation.decide_all([late])
    installation.decide(VISITOR, {"coupons": "denied", "ai_assistance": "granted"})
    installation.link(VISITOR, KNOWN)
    erasure = EraseSubject(subject=installation.tenant.subject(ERASED))
    installation.service.committer.submit_blocking(installation.tenant, erasure)
    installation.clock.advance(days=1)
    installation.decide(ERASED, {"coupons": "granted"})
    for number in range(10):
        installation.decide(f"customer-{number}", {"coupons": "denied" if number % 2 else "granted"})
    check_ledger(installation.service)


@pytest.fixture(scope="module")
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A filled installation on SQLite; `both` asks for one on each kind of database."""
    kind = getattr(request, "param", "sqlite")
    home = tmp_path_factory.mktemp("home")
    server: PostgresServer | None = None
    name, url = "", f"sqlite:///{home / 'consent.db'}"
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        name = server.create_database()
        url = server.url(name)
    with Installation(home=home, database_url=url) as filled:
        fill(filled)
        yield filled
    if server is not None:
        server.drop_database(name)


@pytest.fixture(scope="module")
def pack(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of everything."""
    return export_to(tmp_path_factory.mktemp("packs") / "pack.zip", installation, AuditRequest())
