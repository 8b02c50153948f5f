"""The OFREP clients that OpenFeature publishes, unmodified, against our service: nothing opens by mistake.

Each question is asked with the default `true`: whatever is not a grant must still come out `false`.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason

from tests.builders import REMOVED, a_notice
from tests.followers.following import Place
from tests.programs import installed_program
from tests.servers import ConsentServer

HERE = Path(__file__).parent / "ofrep"
NON_GRANTS = {
    "refused": ("ana", "coupons"),
    "withdrawn": ("ben", "coupons"),
    "notice_outdated": ("cleo", "recommendations"),
    "purpose_retired": ("cleo", "ai_assistance"),
    "purpose_unknown": ("ana", "nobody_published_this"),
    "never_asked": ("a stranger", "coupons"),
}
ONLY_HERE = " // As docs/reference/ofrep.md has it, word for word."
NOBODY = ("", " ", "x" * 300, "line\nbreak", "\x00")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ofrep")
    place = Place(f"sqlite:///{folder / 'consent.db'}", folder)
    yield place
    place.close()


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[ConsentServer]:
    with place.serve() as server:
        place.decide(server, "cleo", {"recommendations": "granted", "ai_assistance": "granted"})
        changes = {"purposes/recommendations/version": 2, "purposes/ai_assistance": REMOVED}
        place.publish(a_notice(changes))
        place.decide(server, "ana", {"recommendations": "granted", "coupons": "denied"})
        place.decide(server, "ben", {"coupons": "granted"})
        place.decide(server, "ben", {"coupons": "denied"})
        yield server


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the programs, with the published clients in it."""
    npm = installed_program("npm", debian_package="npm")
    command = [npm, "ci", "--prefix", str(HERE), "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, check=True, timeout=300)
    return HERE


@pytest.fixture
def client(place: Place, server: ConsentServer) -> Iterator[OpenFeatureClient]:
    """The Python client."""
    headers = {"Authorization": f"Bearer {place.key}"}
    provider = OFREPProvider(server.url, headers_factory=lambda: headers)
    api.set_provider(provider, domain="shop")
    yield api.get_client("shop")
    provider.session.close()


def who(name: str) -> EvaluationContext:
    return EvaluationContext(targeting_key=name)


def test_python_opens_on_a_grant(client: OpenFeatureClient) -> None:
    details = client.get_boolean_details("recommendations", False, who("ana"))

    assert (details.value, details.variant, details.error_code) == (True, "granted", None)
    assert details.reason == Reason.TARGETING_MATCH
    assert details.flag_metadata["why"] == "granted"


@pytest.mark.parametrize(("why", "asked"), NON_GRANTS.items())
def test_python_never_uses_a_default_of_true(
    client: OpenFeatureClient, why: str, asked: tuple[str, str]
) -> None:
    subject, flag = asked

    details = client.get_boolean_details(flag, True, who(subject))

    assert (details.value, details.variant, details.error_code) == (False, "denied", None)
    assert details.flag_metadata["why"] == why


@pytest.mark.parametrize(("why", "asked"), NON_GRANTS.items())
def test_python_async_never_uses_a_default_of_true(
    client: OpenFeatureClient, why: str, asked: tuple[str, str]
) -> None:
    subject, flag = asked

    details = asyncio.run(client.get_boolean_details_async(flag, True, who(subject)))

    assert (details.value, details.error_code, details.flag_metadata["why"]) == (False, None, why)


@pytest.mark.parametrize("name", NOBODY[1:])  # It leaves an empty targeting key out.
def test_python_gets_false_for_a_key_that_can_be_nobodys(client: OpenFeatureClient, name: str) -> None:
    details = client.get_boolean_details("recommendations", True, who(name))

    assert (details.value, details.error_code) == (False, None)


def test_javascript_on_a_server_opens_on_grants_only(
    place: Place, server: ConsentServer, programs: Path
) -> None:
    asked = [("ana", "recommendations"), *NON_GRANTS.values(), *((name, "coupons") for name in NOBODY)]
    questions = [
        {"flag": flag, "context": {"targetingKey": subject}, "fallback": True} for subject, flag in asked
    ]

    answers = evaluated(programs, {"url": server.url, "key": place.key, "questions": questions})

    granted, *others = answers
    assert (granted["value"], granted["variant"], granted["reason"]) == (True, "granted", "TARGETING_MATCH")
    assert [(answer["value"], answer.get("errorCode")) for answer in others] == [(False, None)] * len(others)
    assert [answer["flagMetadata"]["why"] for answer in others[: len(NON_GRANTS)]] == list(NON_GRANTS)


def test_javascript_in_a_browser_hears_of_a_withdrawal(
    place: Place, server: ConsentServer, programs: Path
) -> None:
    place.decide(server, "dora", {"coupons": "granted"})

    with WebClient(programs, place, server, "dora", cacheMode="disabled") as client:
        before = client.next()
        place.decide(server, "dora", {"coupons": "denied"})
        after = client.next()

    assert before["details"]["coupons"]["value"] is True
    assert before["details"]["recommendations"]["value"] is False
    coupons = after["details"]["coupons"]
    assert (coupons["value"], coupons["flagMetadata"]["why"]) == (False, "withdrawn")


def test_javascript_in_a_browser_keeps_nothing_with_the_setting_we_document(
    place: Place, server: ConsentServer, programs: Path
) -> None:
    place.decide(server, "eva", {"coupons": "granted"})

    with WebClient(programs, place, server, "eva") as client:
        by_default = client.next()
    with WebClient(programs, place, server, "eva", cacheMode="disabled") as client:
        as_documented = client.next()

    assert any("coupons" in value for value in by_default["stored"])
    assert as_documented["stored"] == []
    assert "cacheMode: 'disabled'" in (HERE.parents[2] / "docs/reference/ofrep.md").read_text()


def test_javascript_in_a_browser_denies_while_the_service_is_away_if_it_is_asked_as_we_document(
    tmp_path: Path, programs: Path
) -> None:
    place = Place(f"sqlite:///{tmp_path / 'consent.db'}", tmp_path)
    with place.serve() as server:
        place.decide(server, "fay", {"coupons": "granted"})
        with WebClient(programs, place, server, "fay", cacheMode="disabled") as client:
            here = client.next()
            server.kill()
            away = client.next()
            with place.serve(port=server.port) as again:
                place.decide(again, "fay", {"recommendations": "granted"})
                back = client.next()
    place.close()

    assert (here["may"], away["may"], back["may"]) == (["coupons"], [], ["recommendations", "coupons"])
    assert away["details"]["coupons"]["value"] is True, "the client itself goes on allowing"
    program = (HERE / "web.mjs").read_text()
    guard = program[program.index("let fresh") : program.index("\nconst say")].replace(ONLY_HERE, "")
    assert guard in (HERE.parents[2] / "docs/reference/ofrep.md").read_text()


@pytest.mark.parametrize("way", ["Python", "JavaScript"])
def test_without_the_service_a_default_of_false_denies(tmp_path: Path, programs: Path, way: str) -> None:
    place = Place(f"sqlite:///{tmp_path / 'consent.db'}", tmp_path)
    with place.serve() as server:
        place.decide(server, "gil", {"coupons": "granted"})
        headers = {"Authorization": f"Bearer {place.key}"}
        provider = OFREPProvider(server.url, headers_factory=lambda: headers)
        api.set_provider(provider, domain="away")
        question = {"flag": "coupons", "context": {"targetingKey": "gil"}, "fallback": False}
        asked = {"url": server.url, "key": place.key, "questions": [question]}

        def ask() -> bool:
            if way == "JavaScript":
                return bool(evaluated(programs, asked)[0]["value"])
            return api.get_client("away").get_boolean_value("coupons", False, who("gil"))

        before = ask()
        server.kill()
        after = ask()
    provider.session.close()
    place.close()

    assert (before, after) == (True, False)


def test_a_retired_purpose_is_in_the_bulk_so_that_no_default_takes_its_place(
    place: Place, server: ConsentServer, programs: Path
) -> None:
    with WebClient(programs, place, server, "cleo", cacheMode="disabled") as client:
        details = client.next()["details"]

    assert (details["ai_assistance"]["value"], details["ai_assistance"].get("errorCode")) == (False, None)


def evaluated(programs: Path, question: Mapping[str, object]) -> list[dict[str, Any]]:
    node = installed_program("node", debian_package="nodejs")
    ran = subprocess.run(
        [node, str(programs / "server.mjs")],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    return answers


class WebClient:
    """The web client in a Node.js process, as one subject with her token."""

    def __init__(
        self, programs: Path, place: Place, server: ConsentServer, subject: str, **options: object
    ) -> None:
        token = place.post(server, "/v1/subject/token", None, subject).json()["token"]
        question = {
            "url": server.url,
            "token": token,
            "context": {"targetingKey": subject},
            "flags": ["recommendations", "coupons", "ai_assistance"],
            "options": options,
        }
        node = installed_program("node", debian_package="nodejs")
        self._process = subprocess.Popen(
            [node, str(programs / "web.mjs"), json.dumps(question)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def next(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the web client ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)


def test_an_event_stream_needs_its_ticket(server: ConsentServer) -> None:
    for ticket in ("", "1.AAAA", "x", "99999." + "A" * 60, "1." + "é" * 10):
        answer = httpx2.get(f"{server.url}/ofrep/v1/stream", params={"ticket": ticket})

        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
