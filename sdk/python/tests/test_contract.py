"""The SDK against the real service, over the real network."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from consent_sdk import (
    AsyncConsentClient,
    ConsentClient,
    NoLiveGrant,
    NotAuthorized,
    Reason,
    Refused,
    UnknownPurpose,
)
from consent_sdk.checkpoint import open_checkpoint
from consent_sdk.protocol import LONGEST_SUBJECT
from live_service import last_allowed, wait_for

from consent_service.operations.tenant import MAX_EXTERNAL_ID
from tests.forked import CONSENT, run
from tests.servers import PLAIN, ConsentServer, unused_port

NOTICE = Path(__file__).parents[3] / "examples" / "notice.yaml"
PATIENT = {"timeout": 20.0, "miss_timeout": 20.0, "max_staleness": 10.0}
STALENESS, SLACK = 2.0, 0.5
both = pytest.mark.parametrize("preload", [False, True], ids=["lazy", "preloaded"])


class Shop:
    """A service on SQLite, with what a shop has of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = unused_port()
        self.notice = self.publish(NOTICE)
        self.key = self.new_key()
        self.server = self.serve()

    def consent(self, *arguments: str, said: str = "") -> dict[str, object]:
        """Run the `consent` command, which reads what is `said`, and return what it printed."""
        environment = {**os.environ, "CONSENT_HOME": str(self.home)}
        done = run([CONSENT, *arguments], environment=environment, said=said)
        assert done.returncode == 0, done.stderr
        printed: dict[str, object] = json.loads(done.stdout)
        return printed

    def publish(self, notice: Path) -> str:
        return str(self.consent("notice", "publish", str(notice), "--json")["digest"])

    def new_key(self, role: str = "backend") -> str:
        return str(self.consent("key", "create", "--role", role, "--json")["key"])

    def serve(self) -> ConsentServer:
        return ConsentServer(
            home=self.home, database_url=f"sqlite:///{self.home / 'consent.db'}", port=self.port
        )

    @contextmanager
    def client(self, *, preload: bool = False, **options: float) -> Iterator[ConsentClient]:
        with ConsentClient(
            self.server.url,
            api_key=self.key,
            preload=preload,
            **{**PATIENT, **options},  # type: ignore[arg-type]  # seconds, all of them
        ) as client:
            assert client.wait_until_ready(30)
            yield client

    def decide(self, client: ConsentClient, subject: str, choices: Mapping[str, str]) -> int:
        return client.decide(subject, notice=self.notice, choices=choices, language="en").index


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that the tests of this file share; each has subjects of its own."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    yield shop
    shop.server.kill()


@both
def test_a_decision_opens_and_closes_the_gates_of_every_process(shop: Shop, *, preload: bool) -> None:
    subject = f"Ana Ünïcode {preload}"
    with shop.client(preload=preload) as ours, shop.client(preload=preload) as theirs:
        assert theirs.check(subject, "coupons").reason is Reason.NEVER_ASKED

        granted = shop.decide(ours, subject, {"coupons": "granted", "recommendations": "denied"})

        wait_for(lambda: theirs.allows(subject, "coupons"))
        assert theirs.check(subject, "coupons").index == granted
        assert theirs.check(subject, "recommendations").reason is Reason.REFUSED
        shop.decide(ours, subject, {"coupons": "denied"})
        wait_for(lambda: theirs.check(subject, "coupons").reason is Reason.WITHDRAWN)


@both
def test_what_a_client_decided_itself_holds_when_decide_returns(shop: Shop, *, preload: bool) -> None:
    with shop.client(preload=preload) as client:
        for number in range(10):
            subject = f"own-{preload}-{number}"
            shop.decide(client, subject, {"coupons": "granted"})
            wait_for(lambda who=subject: client.allows(who, "coupons"))

            shop.decide(client, subject, {"coupons": "denied"})

            assert not client.allows(subject, "coupons")


def test_verdicts_are_those_of_the_service(shop: Shop) -> None:
    with shop.client() as lazy, shop.client(preload=True) as preloaded:
        shop.decide(lazy, "same", {"coupons": "granted", "recommendations": "denied"})
        direct = ConsentClient(shop.server.url, api_key=shop.key, stream="off", timeout=20.0)
        purposes = ["coupons", "recommendations", "support_context", "no_such_purpose"]
        wait_for(lambda: preloaded.allows("same", "coupons"))

        verdicts = [[client.check("same", p) for p in purposes] for client in (direct, lazy, preloaded)]

        direct.close()
    reasons = [[verdict.reason for verdict in row] for row in verdicts]
    assert reasons[0] == [Reason.GRANTED, Reason.REFUSED, Reason.NEVER_ASKED, Reason.PURPOSE_UNKNOWN]
    assert reasons[0] == reasons[1] == reasons[2]
    assert verdicts[0][:2] == verdicts[1][:2]
    assert [verdict.until for verdict in verdicts[0]] == [verdict.until for verdict in verdicts[2]]


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_a_subject_may_be_as_long_as_the_service_takes_it(shop: Shop, letter: str) -> None:
    longest = letter * LONGEST_SUBJECT
    with shop.client() as client, shop.client(preload=True) as preloaded:
        shop.decide(client, longest, {"coupons": "granted"})

        wait_for(lambda: preloaded.allows(longest, "coupons"))
        assert client.allows(longest, "coupons")
        refused = ask_about(shop, longest + letter)
        assert not client.check(longest + letter, "coupons")

    assert LONGEST_SUBJECT == MAX_EXTERNAL_ID
    assert refused.status_code == 400
    assert "256" in refused.text


def ask_about(shop: Shop, subject: str) -> httpx2.Response:
    """Ask the service itself, whatever the SDK thinks of the subject."""
    return httpx2.get(
        f"{shop.server.url}/v1/consents",
        headers={"Authorization": f"Bearer {shop.key}", "Consent-Subject": quote(subject, safe="")},
    )


def test_history_and_consents_are_read(shop: Shop) -> None:
    with shop.client() as client:
        index = shop.decide(client, "reader", {"coupons": "granted"})

        consents, history = client.consents("reader"), client.history("reader")

    assert consents["coupons"].status == "given"
    assert consents["coupons"].index == index
    assert consents["recommendations"].status == "unknown"
    assert [decision.choices for decision in history] == [{"coupons": "granted"}]


def test_a_profile_opens_for_a_purpose_and_its_uses_are_noted(shop: Shop) -> None:
    with shop.client() as client:
        shop.decide(client, "profiled", {"recommendations": "granted"})
        stored = client.update_profile("profiled", {"purchases": {"last_basket": ["milk"]}})

        profile = client.profile("profiled", purpose="recommendations")
        several = client.profiles(["profiled", "stranger"], purpose="recommendations")
        client.report_use("profiled", "recommendations", feature="home_page")

        assert stored == ("purchases.last_basket",)
        assert dict(profile) == {"purchases": {"last_basket": ["milk"]}}
        assert several["profiled"] == profile
        assert several["stranger"].reason is Reason.NEVER_ASKED
        assert client.profile("profiled", purpose="coupons").reason is Reason.NEVER_ASKED
        with pytest.raises(NoLiveGrant):
            client.update_profile("profiled", {"household": {"size": 2}})
        assert client._uses.flush()
        wait_for(lambda: "home_page" in uses_of(shop, "profiled"))


def test_what_was_derived_for_a_purpose_goes_with_its_grant(shop: Shop) -> None:
    basket, both_fields = {"last_basket": ["milk"]}, {"last_basket": ["milk"], "taste": 0.7}
    with shop.client() as client:
        shop.decide(client, "derived", {"recommendations": "granted", "coupons": "granted"})
        client.update_profile("derived", {"purchases": basket})
        stored = client.update_profile(
            "derived", {"purchases": {"taste": 0.7}}, derived_for="recommendations"
        )
        assert stored == ("purchases.taste",)
        assert dict(client.profile("derived", purpose="coupons")) == {"purchases": both_fields}

        shop.decide(client, "derived", {"recommendations": "denied"})

        assert dict(client.profile("derived", purpose="coupons")) == {"purchases": basket}
        with pytest.raises(Refused):
            client.update_profile("derived", {"purchases": {"taste": 1}}, derived_for="recommendations")
        for wrong in ("No purpose", "a&b=c", ""):
            with pytest.raises(UnknownPurpose):
                client.update_profile("derived", {"purchases": {"taste": 1}}, derived_for=wrong)


class ForYou:
    """A feature of a shop, as a class."""

    def render(self, who: str) -> str:
        """Return a page."""
        return f"for {who}"


def test_uses_of_features_with_any_name_are_noted_beside_the_others(shop: Shop) -> None:
    with shop.client() as client:
        shop.decide(client, "named", {"recommendations": "granted"})

        def nested(who: str) -> str:
            return f"for {who}"

        for function in (ForYou().render, nested):
            gated = client.personalized("recommendations", fallback=None)(function)
            wait_for(lambda gated=gated: gated("named") == "for named")
        for feature in ("Home page (2)", "für dich", "_" * 40, "\N{SNOWMAN}"):
            client.report_use("named", "recommendations", feature=feature)
        for subject, purpose in (("x" * 300, "coupons"), ("a\tb", "coupons"), ("named", "No purpose")):
            client.report_use(subject, purpose, feature="lost")

        assert client._uses.flush()
        named = {"foryou.render", "nested", "home_page__2_", "f_r_dich", "feature"}
        wait_for(lambda: all(f'"{feature}"' in uses_of(shop, "named") for feature in named))
        assert "lost" not in uses_of(shop, "named")


def uses_of(shop: Shop, subject: str) -> str:
    headers = {"Authorization": f"Bearer {shop.key}", "Consent-Subject": subject}
    return httpx2.get(f"{shop.server.url}/v1/uses", headers=headers, timeout=20.0, verify=PLAIN).text


def test_a_subject_token_is_given(shop: Shop) -> None:
    with shop.client() as client:
        token = client.subject_token("token-bearer")

    assert str(token).count(".") == 2
    assert str(token) not in repr(token)


def test_an_entry_is_proved_to_be_in_the_ledger_that_the_service_signed(shop: Shop) -> None:
    with shop.client() as client:
        index = shop.decide(client, "proved", {"coupons": "granted"})
        auditing = shop.new_key("auditor")
        headers = {"Authorization": f"Bearer {auditing}"}
        key = httpx2.get(
            f"{shop.server.url}/v1/ledger/key", headers=headers, timeout=20.0, verify=PLAIN
        ).text.strip()
        note = httpx2.get(
            f"{shop.server.url}/v1/ledger/checkpoint", headers=headers, timeout=20.0, verify=PLAIN
        ).content
    checkpoint = open_checkpoint(note, key=key)
    with ConsentClient(
        shop.server.url, api_key=headers["Authorization"][7:], stream="off", timeout=20.0
    ) as auditor:
        proof = auditor.inclusion_proof(index, size=checkpoint.size)

    proof.verify(root=checkpoint.root)


def test_a_mistake_is_told(shop: Shop) -> None:
    with shop.client() as client:
        with pytest.raises(Refused, match="40"):
            client.decide("x", notice="0" * 64, choices={"coupons": "granted"}, language="en")
        with ConsentClient(shop.server.url, api_key="ck_wrong", stream="off", timeout=20.0) as stranger:
            assert stranger.check("x", "coupons").reason is Reason.UNAVAILABLE
            with pytest.raises(NotAuthorized):
                shop.decide(stranger, "x", {"coupons": "granted"})
    strict = ConsentClient(shop.server.url, api_key=shop.key, stream="off", timeout=20.0, strict=True)
    with strict, pytest.raises(UnknownPurpose):
        strict.check("x", "cupons")


def test_asyncio_decides_alike(shop: Shop) -> None:
    async def main() -> None:
        async with AsyncConsentClient(shop.server.url, api_key=shop.key, **PATIENT) as client:  # type: ignore[arg-type]
            assert await client.wait_until_ready(30)
            await client.decide("async", notice=shop.notice, choices={"coupons": "granted"}, language="en")
            assert await client.allows("async", "coupons")
            await client.decide("async", notice=shop.notice, choices={"coupons": "denied"}, language="en")
            assert (await client.check("async", "coupons")).reason is Reason.WITHDRAWN
            assert (await client.consents("async"))["coupons"].status == "withdrawn"

    asyncio.run(main())


@both
def test_a_killed_service_closes_every_gate_and_its_return_opens_them(shop: Shop, *, preload: bool) -> None:
    with shop.client(preload=preload, max_staleness=STALENESS) as client:
        gone = f"gone-{preload}"
        shop.decide(client, "outage", {"coupons": "granted"})
        shop.decide(client, gone, {"coupons": "granted"})
        gate = client.gate("coupons")
        wait_for(lambda: gate("outage") and gate(gone))

        shop.server.kill()

        began = time.monotonic()
        assert last_allowed(lambda: gate("outage")) < began + STALENESS + SLACK
        assert client.check("outage", "coupons").reason is Reason.STALE
        assert not gate("outage")
        shop.consent("subject", "erase", "--json", said=gone)  # while the client hears nothing
        shop.server = shop.serve()
        wait_for(lambda: gate("outage"), seconds=20)
        assert not gate(gone)


def test_a_frozen_service_closes_every_gate(shop: Shop) -> None:
    with shop.client(max_staleness=STALENESS) as client:
        shop.decide(client, "frozen", {"coupons": "granted"})
        assert client.allows("frozen", "coupons")

        shop.server.send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert last_allowed(lambda: client.allows("frozen", "coupons")) < began + STALENESS + SLACK
            assert client.check("frozen", "coupons").reason is Reason.STALE
        finally:
            shop.server.send(signal.SIGCONT)

        wait_for(lambda: client.allows("frozen", "coupons"), seconds=20)


@both
def test_a_newer_notice_closes_what_it_asks_again(shop: Shop, tmp_path: Path, *, preload: bool) -> None:
    with shop.client(preload=preload) as client:
        shop.decide(client, f"outdated-{preload}", {"coupons": "granted"})
        wait_for(lambda: client.allows(f"outdated-{preload}", "coupons"))
        newer = tmp_path / "notice.yaml"
        text = NOTICE.read_text()
        newer.write_text(text.replace("version: 1\n", f"version: {3 if preload else 2}\n"))

        shop.notice = shop.publish(newer)

        wait_for(lambda: client.check(f"outdated-{preload}", "coupons").reason is Reason.NOTICE_OUTDATED)


@both
def test_an_erased_subject_has_no_open_gate(shop: Shop, *, preload: bool) -> None:
    subject = f"erased-{preload}"
    with shop.client(preload=preload) as client:
        shop.decide(client, subject, {"coupons": "granted"})
        wait_for(lambda: client.allows(subject, "coupons"))
        headers = {"Authorization": f"Bearer {shop.key}", "Consent-Subject": subject}

        erased = httpx2.delete(f"{shop.server.url}/v1/subject", headers=headers, timeout=20.0)

        assert erased.status_code == 200
        wait_for(lambda: not client.allows(subject, "coupons"))
        assert client.check(subject, "coupons").reason in (Reason.SUBJECT_ERASED, Reason.NEVER_ASKED)


def test_a_revoked_key_closes_every_gate(shop: Shop) -> None:
    key = shop.consent("key", "create", "--role", "backend", "--json")
    with ConsentClient(
        shop.server.url, api_key=str(key["key"]), **{**PATIENT, "max_staleness": 2.0}
    ) as client:  # type: ignore[arg-type]
        assert client.wait_until_ready(30)
        shop.decide(client, "revoked", {"coupons": "granted"})
        assert client.allows("revoked", "coupons")

        shop.consent("key", "revoke", str(key["id"]), "--json")

        wait_for(lambda: client.check("revoked", "coupons").reason is Reason.STALE, seconds=10)
