"""The provider inside the unmodified OpenFeature SDK: no way leads to the caller's default."""

import asyncio
import sys
from collections.abc import Iterator

import pytest
from consent_sdk import ConsentClient
from consent_sdk.openfeature import ConsentProvider
from consent_sdk.testing import FakeConsent
from live_service import LiveService, a_live_service, wait_for
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.flag_evaluation import Reason as FlagReason

from examples.shops import openfeature_shop

ANA = EvaluationContext(targeting_key="ana")


@pytest.fixture
def consent() -> FakeConsent:
    return FakeConsent(grants={"ana": ["coupons"]}, purposes=["coupons", "recommendations"])


@pytest.fixture
def flags(consent: FakeConsent) -> Iterator[OpenFeatureClient]:
    api.set_provider_and_wait(ConsentProvider(consent))
    yield api.get_client()
    api.shutdown()
    api.clear_providers()


def both_ways(flags: OpenFeatureClient, key: str, context: EvaluationContext | None) -> set[object]:
    """The value with a default of true, asked plainly and awaited."""
    plain = flags.get_boolean_value(key, default_value=True, evaluation_context=context)
    awaited = asyncio.run(flags.get_boolean_value_async(key, default_value=True, evaluation_context=context))
    return {plain, awaited}


def test_a_grant_is_true(flags: OpenFeatureClient) -> None:
    details = flags.get_boolean_details("coupons", default_value=False, evaluation_context=ANA)

    assert details.value is True
    assert details.variant == "granted"
    assert details.reason == FlagReason.TARGETING_MATCH
    assert details.flag_metadata == {"why": "granted"}


@pytest.mark.parametrize(
    ("key", "context"),
    [
        ("recommendations", ANA),
        ("no_such_purpose", ANA),
        ("NOT A KEY", ANA),
        ("coupons", EvaluationContext(targeting_key="stranger")),
        ("coupons", EvaluationContext()),
        ("coupons", None),
    ],
)
def test_whatever_is_no_grant_is_false_and_no_error(
    flags: OpenFeatureClient, key: str, context: EvaluationContext | None
) -> None:
    details = flags.get_boolean_details(key, default_value=True, evaluation_context=context)

    assert both_ways(flags, key, context) == {False}
    assert details.error_code is None
    assert details.reason in (FlagReason.DEFAULT, FlagReason.TARGETING_MATCH)
    assert details.variant == "denied"


def test_a_stale_copy_is_false_and_no_error(flags: OpenFeatureClient, consent: FakeConsent) -> None:
    consent.go_stale()

    details = flags.get_boolean_details("coupons", default_value=True, evaluation_context=ANA)

    assert both_ways(flags, "coupons", ANA) == {False}
    assert details.error_code is None
    assert details.reason == FlagReason.STALE
    assert details.flag_metadata == {"why": "stale"}


def test_other_types_have_closed_values_too(flags: OpenFeatureClient) -> None:
    stranger = EvaluationContext(targeting_key="stranger")

    assert flags.get_string_value("coupons", "on", stranger) == "never_asked"
    assert flags.get_integer_value("coupons", 7, stranger) == 0
    assert flags.get_float_value("coupons", 7.0, stranger) == 0.0
    assert flags.get_object_value("coupons", {"allowed": True}, stranger) == {
        "allowed": False,
        "reason": "never_asked",
    }
    verdict = flags.get_object_value("coupons", {}, ANA)
    assert isinstance(verdict, dict)
    assert verdict["allowed"] is True
    assert str(verdict["valid_until"]).endswith("Z")


def test_awaited_no_type_of_value_holds_the_event_loop_up() -> None:
    async def values(flags: OpenFeatureClient, service: LiveService) -> list[object]:
        asking = asyncio.gather(
            flags.get_boolean_value_async("coupons", default_value=False, evaluation_context=ANA),
            flags.get_string_value_async("coupons", "", ANA),
            flags.get_integer_value_async("coupons", 7, ANA),
            flags.get_float_value_async("coupons", 7.0, ANA),
            flags.get_object_value_async("coupons", {}, ANA),
        )
        await asyncio.to_thread(wait_for, lambda: service.count("/v1/gate"))
        service.gate_answers.set()
        return await asking

    with a_live_service() as service, ConsentClient(service.url, api_key="ck", miss_timeout=30.0) as client:
        service.grant("ana")
        service.gate_answers.clear()
        assert client.wait_until_ready(10)
        api.set_provider_and_wait(ConsentProvider(client))
        found = asyncio.run(values(api.get_client(), service))
    api.shutdown()
    api.clear_providers()

    assert found[:4] == [True, "granted", 1, 1.0]
    assert isinstance(found[4], dict)
    assert found[4]["allowed"] is True


def test_not_even_the_first_moment_gives_the_callers_default(consent: FakeConsent) -> None:
    for _ in range(50):
        api.set_provider(ConsentProvider(consent))
        value = api.get_client().get_boolean_value(
            "recommendations", default_value=True, evaluation_context=ANA
        )

        assert value is False
    api.shutdown()
    api.clear_providers()


def test_a_service_that_is_dead_from_the_beginning_is_false() -> None:
    with ConsentClient("http://127.0.0.1:9", api_key="ck_test") as client:
        provider = ConsentProvider(client)
        provider.initialize(EvaluationContext())
        api.set_provider_and_wait(provider)

        assert both_ways(api.get_client(), "coupons", ANA) == {False}
        api.shutdown()
        api.clear_providers()


@pytest.fixture
def service() -> Iterator[LiveService]:
    with a_live_service() as service:
        service.grant("ana")
        yield service


def test_the_stream_comes_and_goes_as_events(service: LiveService) -> None:
    told: list[str] = []
    with ConsentClient(service.url, api_key="ck_test", max_staleness=1.0, miss_timeout=5.0) as client:
        api.set_provider_and_wait(ConsentProvider(client))
        flags = api.get_client()

        def hear(event: str) -> None:
            def handler(_details: EventDetails) -> None:
                told.append(event)

            flags.add_handler(getattr(ProviderEvent, f"PROVIDER_{event}"), handler)

        for event in ("READY", "STALE", "ERROR"):
            hear(event)
        assert client.wait_until_ready(10)
        wait_for(lambda: both_ways(flags, "coupons", ANA) == {True})

        service.suffer("closed")
        wait_for(lambda: "STALE" in told)
        assert both_ways(flags, "coupons", ANA) == {False}
        told.clear()
        service.suffer(None)
        wait_for(lambda: "READY" in told)
        service.suffer("revoked")
        service.hang_up()
        wait_for(lambda: "ERROR" in told)

        assert both_ways(flags, "coupons", ANA) == {False}
        api.shutdown()
        api.clear_providers()


def test_the_example_prints_a_page_for_each_customer(
    service: LiveService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service.purposes = ("recommendations",)
    service.grant("ana")
    monkeypatch.setenv("CONSENT_URL", service.url)
    monkeypatch.setenv("CONSENT_API_KEY", "ck_test")
    monkeypatch.setenv("CONSENT_MISS_TIMEOUT", "5")
    monkeypatch.setattr(sys, "argv", ["openfeature_shop"])

    openfeature_shop.main(["ana", "bob"])

    api.clear_providers()
    assert capsys.readouterr().out == "chosen for ana\nbest sellers\n"
