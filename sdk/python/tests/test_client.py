import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
from consent_sdk import (
    AsyncConsentClient,
    ConfigurationError,
    ConsentClient,
    InvalidSubject,
    NotAuthorized,
    Reason,
    ServiceUnavailable,
    UnknownPurpose,
)
from stand_in import StandIn, a_gate_answer, an_answer

RECORDED = {
    "index": 7,
    "recorded_at": "2026-11-21T12:00:00Z",
    "consents": {"coupons": {"status": "given", "valid_until": "2027-05-21T12:00:00Z"}},
    "links": {"receipt": "/v1/receipts/7"},
}


class Both:
    """The same call on the sync and on the async client."""

    def __init__(self, kind: str, url: str, **options: object) -> None:
        self._kind, self._url, self._options = kind, url, options

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if self._kind == "sync":
                with ConsentClient(self._url, api_key="ck_secret", **self._options) as client:  # type: ignore[arg-type]
                    return getattr(client, name)(*args, **kwargs)

            async def main() -> object:
                async with AsyncConsentClient(self._url, api_key="ck_secret", **self._options) as client:  # type: ignore[arg-type]
                    awaitable: Awaitable[object] = getattr(client, name)(*args, **kwargs)
                    return await awaitable

            return asyncio.run(main())

        return call


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, stand_in: StandIn) -> Both:
    return Both(request.param, stand_in.url, timeout=2.0, stream="off")


def body_of(request: bytes) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(request.partition(b"\r\n\r\n")[2])
    return parsed


def header_of(request: bytes, name: str) -> str | None:
    for line in request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def reset(connection: socket.socket, _request: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def half(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(an_answer(a_gate_answer())[:-20])


def silence(connection: socket.socket, _request: bytes) -> None:
    connection.recv(1)  # until the client gives up


def test_a_grant_opens_the_gate(client: Both, stand_in: StandIn) -> None:
    stand_in.say(an_answer(a_gate_answer()))

    verdict = client.check("anne marie", "recommendations")

    assert verdict
    assert body_of(stand_in.requests[0]) == {"purposes": ["recommendations"]}
    assert header_of(stand_in.requests[0], "Consent-Subject") == "anne%20marie"
    assert header_of(stand_in.requests[0], "Authorization") == "Bearer ck_secret"
    assert stand_in.requests[0].startswith(b"POST /v1/gate HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason not in (Reason.GRANTED, Reason.PURPOSE_UNKNOWN)]
)
def test_every_other_reason_closes_it(client: Both, stand_in: StandIn, reason: Reason) -> None:
    stand_in.say(an_answer(a_gate_answer(reason)))

    assert client.check("c", "recommendations").reason is reason  # type: ignore[attr-defined]
    assert client.allows("c", "recommendations") is False


@pytest.mark.parametrize(
    "answer",
    [
        an_answer(a_gate_answer(), status=500),
        an_answer(a_gate_answer(), status=503, headers="Retry-After: 1\r\n"),
        an_answer(a_gate_answer(), status=401),
        an_answer(a_gate_answer(), status=301, headers="Location: http://127.0.0.1:1/\r\n"),
        an_answer(a_gate_answer(purpose="coupons")),
        an_answer(b"<html>allowed</html>", kind="text/html"),
        b"garbage\r\n\r\n",
        reset,
        half,
        silence,
    ],
    ids=[
        "500",
        "503",
        "401",
        "redirect",
        "another purpose",
        "html",
        "garbage",
        "reset",
        "half an answer",
        "silence",
    ],
)
def test_a_broken_service_denies_and_nothing_is_raised(
    client: Both, stand_in: StandIn, answer: bytes
) -> None:
    stand_in.say(answer)

    verdict = client.check("c", "recommendations")

    assert verdict.reason is Reason.UNAVAILABLE  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_dead_service_denies_and_says_so_once_without_naming_anybody(
    kind: str, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Both(kind, stand_in.url, stream="off")
    stand_in.close()

    with caplog.at_level(logging.WARNING, "consent_sdk"):
        assert dead.check("customer-42", "coupons").reason is Reason.UNAVAILABLE  # type: ignore[attr-defined]
        assert dead.consents("customer-42").reason is Reason.UNAVAILABLE  # type: ignore[attr-defined]
        assert dead.history("customer-42").reason is Reason.UNAVAILABLE  # type: ignore[attr-defined]

    assert "ConnectError" in caplog.text
    assert not any(word in caplog.text for word in ("customer-42", "ck_secret", "127.0.0.1"))


def test_a_warning_is_not_repeated(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    stand_in.say(an_answer({}, status=500))

    with ConsentClient(stand_in.url, stream="off", api_key="ck_secret") as client:
        for _ in range(5):
            client.check("c", "coupons")

    assert len([record for record in caplog.records if record.name == "consent_sdk"]) == 1


def test_an_unknown_purpose_denies_and_is_said_once(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.say(an_answer(a_gate_answer("purpose_unknown", purpose="recomendations")))

    with ConsentClient(stand_in.url, stream="off", api_key="ck_secret") as client:
        verdicts = [client.check("c", "recomendations") for _ in range(3)]

    assert {verdict.reason for verdict in verdicts} == {Reason.PURPOSE_UNKNOWN}
    assert len([record for record in caplog.records if "recomendations" in record.message]) == 1


def test_an_unknown_purpose_raises_in_strict_mode(stand_in: StandIn) -> None:
    stand_in.say(an_answer(a_gate_answer("purpose_unknown", purpose="recomendations")))

    with (
        ConsentClient(stand_in.url, stream="off", api_key="ck_secret", strict=True) as client,
        pytest.raises(UnknownPurpose),
    ):
        client.check("c", "recomendations")


@pytest.mark.parametrize("subject", [None, "", 42, "\ud800", "x" * 257])
def test_nobody_was_never_asked(client: Both, stand_in: StandIn, subject: object) -> None:
    assert client.check(subject, "coupons").reason is Reason.NEVER_ASKED  # type: ignore[attr-defined]
    assert client.consents(subject).reason is Reason.NEVER_ASKED  # type: ignore[attr-defined]
    assert stand_in.requests == []


def test_an_overlong_subject_is_not_written_about(client: Both, stand_in: StandIn) -> None:
    with pytest.raises(InvalidSubject, match="256"):
        client.decide("x" * 257, notice="ab" * 32, choices={"coupons": "granted"}, language="en")
    with pytest.raises(InvalidSubject):
        client.subject_token("x" * 257)

    assert stand_in.requests == []


def test_nobody_raises_in_strict_mode(stand_in: StandIn) -> None:
    with (
        ConsentClient(stand_in.url, stream="off", api_key="ck_secret", strict=True) as client,
        pytest.raises(InvalidSubject),
    ):
        client.check("", "coupons")


def test_a_decision_is_sent_with_a_key_of_its_own(client: Both, stand_in: StandIn) -> None:
    stand_in.say(an_answer(RECORDED, status=201))

    recorded = client.decide("c", notice="ab" * 32, choices={"coupons": "granted"}, language="en")

    assert recorded.index == 7  # type: ignore[attr-defined]
    assert recorded.receipt == "/v1/receipts/7"  # type: ignore[attr-defined]
    sent = body_of(stand_in.requests[0])
    assert sent.pop("decided_at")
    assert sent == {
        "notice": "ab" * 32,
        "choices": {"coupons": "granted"},
        "method": "save",
        "source": "backend",
        "language": "en",
    }
    assert len(header_of(stand_in.requests[0], "Idempotency-Key") or "") == 32


def test_a_retried_decision_is_the_same_request(client: Both, stand_in: StandIn) -> None:
    stand_in.say(
        reset, an_answer({}, status=503, headers="Retry-After: 0\r\n"), an_answer(RECORDED, status=201)
    )

    recorded = client.decide("c", notice="ab" * 32, choices={"coupons": "granted"}, language="en")

    assert recorded.index == 7  # type: ignore[attr-defined]
    assert len(stand_in.requests) == 3
    assert len(set(stand_in.requests)) == 1


def test_a_decision_that_found_no_service_raises(client: Both, stand_in: StandIn) -> None:
    stand_in.say(an_answer({}, status=503, headers="Retry-After: 0\r\n"))

    with pytest.raises(ServiceUnavailable):
        client.decide("c", notice="ab" * 32, choices={"coupons": "granted"}, language="en")

    assert len(stand_in.requests) == 3


def test_a_refused_decision_raises_at_once(client: Both, stand_in: StandIn) -> None:
    stand_in.say(an_answer({"type": "/problems/unauthenticated", "title": "No", "status": 401}, status=401))

    with pytest.raises(NotAuthorized):
        client.decide("c", notice="ab" * 32, choices={"coupons": "granted"}, language="en")

    assert len(stand_in.requests) == 1


def test_an_inclusion_proof_is_fetched_and_verified(client: Both, stand_in: StandIn) -> None:
    body = {"index": 0, "size": 1, "leaf_hash": "A" * 43 + "=", "proof": [], "root": "A" * 43 + "="}
    stand_in.say(an_answer(body))

    proof = client.inclusion_proof(0, size=1)

    proof.verify()  # type: ignore[attr-defined]
    assert stand_in.requests[0].startswith(b"GET /v1/ledger/proof/inclusion?index=0&size=1 ")


def test_a_client_is_made_from_the_environment(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.say(an_answer(a_gate_answer()))
    monkeypatch.setenv("CONSENT_URL", stand_in.url + "/")
    monkeypatch.setenv("CONSENT_API_KEY", "ck_env")
    monkeypatch.setenv("CONSENT_TIMEOUT", "1.5")
    monkeypatch.setenv("CONSENT_STRICT", "yes")
    monkeypatch.setenv("CONSENT_STREAM", "off")

    with ConsentClient.from_env() as client:
        assert client.allows("c", "recommendations")

    assert header_of(stand_in.requests[0], "Authorization") == "Bearer ck_env"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"CONSENT_URL": "http://x"},
        {"CONSENT_API_KEY": "ck_x"},
        {"CONSENT_URL": "ftp://x", "CONSENT_API_KEY": "ck_x"},
        {"CONSENT_URL": "http://x", "CONSENT_API_KEY": "ck_\n"},
        {"CONSENT_URL": "http://x", "CONSENT_API_KEY": "ck_x", "CONSENT_TIMEOUT": "0"},
        {"CONSENT_URL": "http://x", "CONSENT_API_KEY": "ck_x", "CONSENT_STRICT": "perhaps"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONSENT_URL", raising=False)
    monkeypatch.delenv("CONSENT_API_KEY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError):
        ConsentClient.from_env()


def test_no_repr_shows_the_key_or_the_address() -> None:
    client = ConsentClient("http://consent.internal", api_key="ck_secret", stream="off")

    shown = repr(client) + repr(vars(client))

    assert "ck_secret" not in shown
    assert "consent.internal" not in shown


def test_no_log_line_of_any_library_names_the_service_the_key_or_the_subject(
    client: Both, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.say(an_answer(a_gate_answer()))

    with caplog.at_level(logging.INFO):
        client.check("customer-42", "recommendations")

    assert not any(word in caplog.text for word in ("customer-42", "ck_secret", "127.0.0.1"))
