"""The demo from an empty folder to its last figure, and then, if wanted, a look around."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.complete_journey.choices import COUPONS, GRANTING, Choices, draw_choices
from examples.complete_journey.evidence import Evidence, gather_evidence
from examples.complete_journey.figures import (
    Expected,
    Figures,
    contradictions,
    count,
    document,
    reckon,
    table,
)
from examples.complete_journey.hand_over import hand_over
from examples.complete_journey.journey import run_journey
from examples.complete_journey.served import DemoFailed, HandedOut, Installation, ServedService, set_up
from examples.complete_journey.shop_data import Shop, read_shop, subject_of
from examples.complete_journey.vault import run_vault, show, still_verifies
from examples.storefront.serving import PORT, Storefront

NOTICE = Path(__file__).resolve().parents[1] / "notice.yaml"
CONSISTENT, INCONSISTENT, UNUSABLE = 0, 1, 2
LOOK_AROUND_PORT = PORT
_FEWEST_HOUSEHOLDS = 50
"""With fewer there may be nobody who withdraws, and nothing to check about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run: on which database (SQLite in a fresh folder by default) and with how many households.

    `port` None takes a free one; `stay` opens the shop on it until Ctrl-C; `as_json` prints the figures
    as one JSON document and everything else on standard error.
    """

    households: int | None = None
    database_url: str | None = None
    port: int | None = None
    stay: bool = False
    as_json: bool = False


def run_demo(options: Options) -> int:
    """Run the main job in a fresh temporary folder; return 0 when every figure is consistent, else 1.

    Raises `DemoFailed` where the job cannot go on.
    """
    screen = Console(stderr=options.as_json)
    shop = _shop(options)
    choices = draw_choices(shop)
    _announce(shop, choices, screen)
    storefront = Storefront(options.port) if options.stay else None
    with tempfile.TemporaryDirectory(prefix="consent-demo-") as home:
        installation = Installation(home=Path(home), database_url=options.database_url)
        service = ServedService(installation, port=None if storefront else options.port)
        handed = set_up(installation, NOTICE)
        with service:
            with _bars(screen) as bars:
                course = run_journey(service.url, handed, shop, choices, bars)
            index = (course.withdrawn or course.imported)[0]
            evidence = gather_evidence(installation, service.url, handed, index=index)
            figures = count(course, choices, evidence)
            code = conclude(figures, reckon(shop, choices), evidence, screen)
            for fault in hand_over(installation, key=handed.verifier_key, index=index, screen=screen):
                code = INCONSISTENT
                screen.print(f"INCONSISTENT: {fault}", style="bold red", highlight=False, markup=False)
            with _bars(screen) as bars:
                vault = run_vault((installation, service.url, handed), shop, choices, bars)
            show(vault, screen)
            for fault in [*vault.faults, *still_verifies(installation)]:
                code = INCONSISTENT
                screen.print(f"INCONSISTENT: {fault}", style="bold red", highlight=False, markup=False)
            if options.as_json:
                print(json.dumps(document(figures, evidence) | {"vault": asdict(vault)}), flush=True)
            if storefront is not None:
                screen.print(f"\nThe shop is open: {storefront.url}", highlight=False)
                _invite(installation, service.url, handed, choices, screen)
                storefront.serve(installation, service.url, handed.backend_key)
    return code


def conclude(figures: Figures, expected: Expected, evidence: Evidence, screen: Console) -> int:
    """Show the figures and what is inconsistent about them; return 0 when nothing is, else 1."""
    screen.print(table(figures, evidence))
    faults = contradictions(figures, expected, evidence)
    for fault in faults:
        screen.print(f"INCONSISTENT: {fault}", style="bold red", highlight=False, markup=False)
    if faults:
        return INCONSISTENT
    screen.print("Every figure is consistent. Shop data real, choices simulated.", highlight=False)
    return CONSISTENT


def _shop(options: Options) -> Shop:
    shop = read_shop()
    if options.households is None:
        return shop
    if options.households < _FEWEST_HOUSEHOLDS:
        raise DemoFailed(f"The job needs at least {_FEWEST_HOUSEHOLDS} households.")
    return shop.with_only(shop.households[: options.households])


def _announce(shop: Shop, choices: Choices, screen: Console) -> None:
    screen.print(
        f"The shop is real: {len(shop.households):,} households, {len(shop.campaigns)} campaigns and "
        f"{shop.mailings:,} mailings of the Complete Journey data set (84.51°, 2017).\n"
        f"The choices are simulated: a fixed seed lets {GRANTING:.0%} of the households grant each purpose, "
        f"and {len(choices.withdrawals)} of them withdraw coupons half-way.",
        highlight=False,
    )


def _bars(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
    )


def _invite(
    installation: Installation, url: str, handed: HandedOut, choices: Choices, screen: Console
) -> None:
    granting = choices.grants[COUPONS]
    withdrawn = subject_of(choices.withdrawals[0])
    granted = subject_of(min(granting - set(choices.withdrawals)))
    text = f"""
The service is running on {url}; Ctrl-C ends it and removes its folder. In another terminal:

export CONSENT_HOME={installation.home} KEY={handed.backend_key}
ask() {{ curl -s {url}$1 -H "Authorization: Bearer $KEY" -H "Consent-Subject: $2" "${{@:3}}"; echo; }}

ask /v1/gate {granted} --json '{{"purposes": ["coupons"]}}'    # granted
ask /v1/gate {withdrawn} --json '{{"purposes": ["coupons"]}}'    # withdrawn half-way
ask /v1/decisions {withdrawn}    # what this household decided, and when
curl -s {url}/v1/ledger/checkpoint -H "Authorization: Bearer $KEY"
.venv/bin/consent ledger verify

What a data protection officer sees: {url}/dashboard, after signing in with the key {handed.auditor_key}
"""
    screen.print(text, highlight=False, markup=False, soft_wrap=True)
