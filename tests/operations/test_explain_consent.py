"""What was allowed at a moment, why, and under which words: from the entries, on both databases."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent_service.cli.main import app as cli
from consent_service.errors import UnknownPurpose
from consent_service.ledger.checkpoint import open_checkpoint
from consent_service.ledger.note import NoteVerifier
from consent_service.operations.explain_consent import Explanation, explain_consent
from tests.builders import NOW, a_notice
from tests.installation import Installation, StoppedClock


@pytest.fixture
def told(migrated_url: str, tmp_path: Path) -> Iterator[tuple[Installation, list[datetime]]]:
    """Ana grants, then withdraws under a later notice; the moments in between."""
    clock = StoppedClock(NOW - timedelta(days=60))  # past for the command line, too
    with Installation(home=tmp_path / "home", database_url=migrated_url, clock=clock) as installation:
        moments = []
        installation.publish()
        for choice in ("granted", "denied"):
            moments.append(installation.clock.now)
            installation.clock.advance(days=1)
            if choice == "denied":
                installation.publish(a_notice({"purposes/coupons/name/en": "Coupons for you"}))
            installation.decide("ana", {"coupons": choice})
            installation.clock.advance(days=1)
        moments.append(installation.clock.now)
        yield installation, moments


def explained(installation: Installation, at: datetime | None, purpose: str = "coupons") -> Explanation:
    subject = installation.tenant.subject("ana")
    return explain_consent(installation.service.deployment, installation.tenant, subject, purpose, at=at)


def test_each_moment_has_its_own_answer(told: tuple[Installation, list[datetime]]) -> None:
    installation, moments = told

    answers = [explained(installation, at) for at in moments]

    assert [answer.verdict.reason.value for answer in answers] == ["never_asked", "granted", "withdrawn"]
    assert [answer.verdict.index for answer in answers] == [None, 1, 3]


def test_the_words_are_those_that_were_shown_then(told: tuple[Installation, list[datetime]]) -> None:
    installation, moments = told

    before, after = explained(installation, moments[1]), explained(installation, moments[2])

    assert before.words is not None
    assert after.words is not None
    assert (before.words["name"], after.words["name"]) == ("Coupons chosen for you", "Coupons for you")


def test_the_checkpoint_covers_the_entry(told: tuple[Installation, list[datetime]]) -> None:
    installation, moments = told
    verifier = NoteVerifier.parse(installation.tenant.signer.vkey)

    answer = explained(installation, moments[1])

    assert answer.checkpoint is not None
    assert open_checkpoint(answer.checkpoint, verifier, origin=installation.tenant.origin).size == 2


def test_a_purpose_that_nobody_offered_is_refused(told: tuple[Installation, list[datetime]]) -> None:
    with pytest.raises(UnknownPurpose):
        explained(told[0], None, "surveillance")


def test_the_command_says_it_in_words_and_as_json(told: tuple[Installation, list[datetime]]) -> None:
    installation, moments = told
    environment = {"CONSENT_HOME": str(installation.home), "CONSENT_DATABASE_URL": installation.database_url}
    question = ["explain", "--subject", "ana", "--purpose", "coupons", "--at", moments[1].isoformat()]

    text = CliRunner(env=environment).invoke(cli, question)
    document = CliRunner(env=environment).invoke(cli, [*question, "--json"])
    wrong = CliRunner(env=environment).invoke(cli, [*question[:-1], "soon"])
    question[2] = "-"
    unseen = CliRunner(env=environment).invoke(cli, question, input="ana\n")

    assert unseen.stdout == text.stdout
    assert (text.exit_code, document.exit_code, wrong.exit_code) == (0, 0, 2)
    assert "Coupons chosen for you" in text.stdout
    found = json.loads(document.stdout)
    assert (found["allowed"], found["reason"], found["index"], found["choice"]) == (
        True,
        "granted",
        1,
        "granted",
    )


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-02-30"])
def test_a_moment_beyond_the_calendar_is_none(told: tuple[Installation, list[datetime]], moment: str) -> None:
    installation, _ = told
    environment = {"CONSENT_HOME": str(installation.home), "CONSENT_DATABASE_URL": installation.database_url}
    question = ["explain", "--subject", "ana", "--purpose", "coupons", "--at", moment]

    run = CliRunner(env=environment).invoke(cli, question)

    assert run.exit_code == 2
    assert "A moment is RFC 3339" in run.stderr
