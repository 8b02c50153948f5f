"""The demo's last act: a pack that verifies without the service, and a receipt."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from examples.complete_journey.hand_over import hand_over
from examples.complete_journey.served import Installation
from tests.installation import Installation as Filled


def _handed_over(home: Path, key: str | None = None) -> tuple[list[str], str]:
    url = f"sqlite:///{home / 'consent.db'}"
    with Filled(home=home, database_url=url) as filled:
        filled.publish()
        filled.decide("card-1", {"coupons": "denied"})
        key = key or filled.tenant.signer.vkey
    written = StringIO()
    faults = hand_over(Installation(home=home), key=key, index=1, screen=Console(file=written, width=100))
    return faults, written.getvalue()


def test_pack_and_receipt_are_shown_and_hold(tmp_path: Path) -> None:
    faults, shown = _handed_over(tmp_path)

    assert faults == []
    assert "Verified: consent.local/default, entries 0 to 2" in shown
    assert "You refused" in shown
    assert "█" in shown


def test_a_pack_under_another_key_fails_the_demo(tmp_path: Path) -> None:
    foreign = "consent.local/default+ab331f6a+ATXeC3CfnZh9wexDyR+zG0YgRzALk/6kpqiMiFvzmzez"

    faults, _ = _handed_over(tmp_path, foreign)

    assert len(faults) == 1
    assert "NOT VERIFIED: manifest" in faults[0]
