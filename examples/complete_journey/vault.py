"""The second part of the job: profiles that open through a live choice only, on the same households.

Each household's real demographics and purchases are stored, sealed, as far as it granted; "buy it again" is
computed only from what that purpose may open; one household sees what is held about it, withdraws, and is
erased. Then every file of the installation is searched for what was never written in clear.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
from consent_sdk import ConsentClient
from consent_sdk.errors import NoLiveGrant
from rich.console import Console
from rich.progress import Progress

from examples.complete_journey.choices import COUPONS, Choices
from examples.complete_journey.journey import LANGUAGE, TIMEOUT_SECONDS
from examples.complete_journey.served import HandedOut, Installation
from examples.complete_journey.shop_data import Household, Shop, read_households, subject_of

RECOMMENDATIONS = "recommendations"
_THREADS = 4
_ANY_HOUSEHOLD = re.compile(re.escape(subject_of(0).removesuffix("0").encode()) + rb"\d")
_NEIGHBOURS = 10
_SHOWN = 3
_OK = 200
# What the notice lets each purpose use; the shop knows its own notice.
_PURCHASES = (RECOMMENDATIONS, COUPONS, "support_context")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFigures:
    """What came out of the second part, and what was wrong with it."""

    sealed: int
    refused: int
    recommended: int
    uses_shown: int
    found_in_clear: int
    faults: tuple[str, ...]


def run_vault(
    service: tuple[Installation, str, HandedOut], shop: Shop, choices: Choices, bars: Progress
) -> VaultFigures:
    """Do the second part against the running service, after the mailings."""
    installation, url, handed = service
    data = read_households(shop)
    with _client(url, handed) as consent:
        storing = _store(consent, shop, choices, data)
        outcomes = list(bars.track(storing, total=len(shop.households), description="Sealing profiles"))
        wanting = sorted(house for house in choices.grants[RECOMMENDATIONS] if data[house].bought)
        advised = buy_again(consent, wanting)
        for household in advised:  # Sent by the time the client is closed.
            consent.report_use(subject_of(household), RECOMMENDATIONS, feature="buy_again")
    leaving = max(choices.grants[RECOMMENDATIONS] - set(choices.withdrawals))
    with _client(url, handed) as consent:
        faults, uses = _leave(consent, url, handed, leaving)
    expected = sum(1 for household in shop.households if _allowed(household, choices))
    sealed = outcomes.count(True)
    if sealed != expected:
        faults.append(f"{expected:,} profiles had to be sealed, not {sealed:,}")
    if set(advised) != set(wanting):
        faults.append("recommendations were not made for exactly those who granted them and bought something")
    clear = search(installation, _canaries(data))
    faults += [f"{name} holds personal data in clear" for name in clear]
    return VaultFigures(
        sealed=sealed,
        refused=outcomes.count(False),
        recommended=len(advised),
        uses_shown=uses,
        found_in_clear=len(clear),
        faults=tuple(faults),
    )


def _client(url: str, handed: HandedOut) -> ConsentClient:
    return ConsentClient(  # A job may wait for an answer; a web page would not.
        url,
        api_key=handed.backend_key,
        timeout=TIMEOUT_SECONDS,
        miss_timeout=TIMEOUT_SECONDS,
        max_staleness=TIMEOUT_SECONDS,
    )


def _allowed(household: int, choices: Choices) -> dict[str, bool]:
    """Return the categories that a household's standing choices let the shop store."""
    coupons = household in choices.grants[COUPONS] and household not in choices.withdrawals
    purchases = coupons or any(
        household in choices.grants[purpose] for purpose in _PURCHASES if purpose != COUPONS
    )
    return {name: True for name, open_ in {"household": coupons, "purchases": purchases}.items() if open_}


def _store(
    consent: ConsentClient, shop: Shop, choices: Choices, data: Mapping[int, Household]
) -> Iterator[bool]:
    """Store what each household lets the shop store; a household that grants nothing is tried and refused."""

    def store(household: int) -> bool:
        known = data[household]
        everything: dict[str, dict[str, object]] = {
            "household": dict(known.demographics),
            "purchases": {"bought": dict(known.bought)},
        }
        allowed = _allowed(household, choices)
        wanted = {name: fields for name, fields in everything.items() if name in allowed} or everything
        try:
            consent.update_profile(subject_of(household), wanted)
        except NoLiveGrant:
            return False
        return True

    with ThreadPoolExecutor(_THREADS) as threads:
        yield from threads.map(store, shop.households)


def buy_again(consent: ConsentClient, households: Sequence[int]) -> dict[int, list[str]]:
    """Return what to recommend to each household: what those who buy alike buy most, its own habits included.

    Nothing is used but what the purpose opens. Similarity is the cosine of baskets, by scikit-learn.
    """
    # Two seconds of processor time, which the demo's beginning need not wait for.
    from sklearn.feature_extraction import DictVectorizer  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types
    from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]  # noqa: PLC0415  # as above

    profiles = consent.profiles([subject_of(household) for household in households], purpose=RECOMMENDATIONS)
    baskets = {
        household: _basket(profiles[subject_of(household)].get("purchases", {})) for household in households
    }
    known = [household for household, basket in baskets.items() if basket]
    vectors = DictVectorizer().fit_transform([baskets[household] for household in known])
    alike = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(known)), metric="cosine").fit(vectors)
    advised: dict[int, list[str]] = {}
    for household, neighbours in zip(known, alike.kneighbors(vectors, return_distance=False), strict=True):
        total: dict[str, float] = {}
        for neighbour in neighbours:
            for product, times in baskets[known[neighbour]].items():
                total[product] = total.get(product, 0.0) + times
        advised[household] = sorted(total, key=lambda product: (-total[product], product))[:_SHOWN]
    return advised


def _basket(purchases: object) -> dict[str, float]:
    bought = purchases.get("bought", {}) if isinstance(purchases, Mapping) else {}
    return {str(product): float(times) for product, times in bought.items()}


def _leave(consent: ConsentClient, url: str, handed: HandedOut, household: int) -> tuple[list[str], int]:
    """Show a household what is held, let it withdraw, erase it; return what went wrong, and its uses."""
    faults: list[str] = []
    subject = subject_of(household)
    headers = {"Authorization": f"Bearer {handed.backend_key}", "Consent-Subject": subject}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
        held = http.get("/v1/personal-data").json()
        told = http.get("/v1/uses", params={"language": LANGUAGE}).json()["sentences"]
        page = http.get("/v1/personal-data", headers={"Accept": "text/html"})
        if not held["profile"] or not told or subject not in page.text:
            faults.append("the personal-data page lacks the profile, its uses or whose it is")
        denied = dict.fromkeys(held["consents"], "denied")
        consent.decide(subject, notice=handed.notice, choices=denied, language=LANGUAGE, method="withdraw")
        if http.get("/v1/personal-data").json()["profile"]:
            faults.append("values are still held after the withdrawal")
        erased = http.delete("/v1/subject")
        if erased.status_code != _OK or http.get("/v1/personal-data").json()["held"]:
            faults.append("something is still held after the erasure")
    return faults, len(told)


def _canaries(data: Mapping[int, Household]) -> list[str]:
    """Return words that only profiles hold: incomes, make-up of households, what was bought."""
    words = {str(value) for known in data.values() for value in known.demographics.values()}
    words |= {product for known in data.values() for product in known.bought}
    return sorted(word for word in words if len(word) > len("Homeowner"))


def search(installation: Installation, words: Iterable[str]) -> list[str]:
    """Return the files that hold one of these words or any household's number in clear.

    Searched are all files of the installation: database, write-ahead log, key file and what else there is.
    """
    needles = [word.encode() for word in words]
    files = [path for path in sorted(installation.home.rglob("*")) if path.is_file()]
    return [path.name for path in files if _holds(path.read_bytes(), needles)]


def _holds(data: bytes, needles: Sequence[bytes]) -> bool:
    return _ANY_HOUSEHOLD.search(data) is not None or any(needle in data for needle in needles)


def still_verifies(installation: Installation) -> list[str]:
    """Return what is wrong with the ledger after the erasure: nothing, or what it says."""
    verified = installation.ask("ledger", "verify")
    return [] if verified.get("verified") is True else [f"the ledger after the erasure: {verified}"]


def show(figures: VaultFigures, screen: Console) -> None:
    """Print what came out of the second part."""
    screen.print(
        f"\nProfiles: {figures.sealed:,} sealed, {figures.refused:,} refused without a grant; "
        f"{figures.recommended:,} households were recommended what to buy again.\n"
        f"One household saw all that is held and {figures.uses_shown} uses, withdrew, and was erased. "
        f"Files with personal data in clear: {figures.found_in_clear}.",
        highlight=False,
    )
