from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote

import pytest
from consent_sdk import InvalidSubject, NoLiveGrant, NotAuthorized, Reason, Refused, ServiceUnavailable
from consent_sdk.protocol import (
    Answer,
    Malformed,
    consents_request,
    encode_subject,
    failure,
    gate_request,
    is_purpose,
    read_consents,
    read_gate,
    read_history,
    read_recorded,
    rfc3339,
)
from hypothesis import given
from hypothesis import strategies as st

subjects = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=64
)


def an_answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def a_gate_answer(verdict: str) -> Answer:
    return an_answer(b'{"subject":"s_x","head":8,"verdicts":{"coupons":%s}}' % verdict.encode())


@given(subjects)
def test_a_subject_travels_as_printable_ascii_and_comes_out_as_it_went_in(subject: str) -> None:
    header = encode_subject(subject)

    assert unquote(header, errors="strict") == subject
    assert header.isascii()
    assert header.isprintable()
    assert " " not in header


@pytest.mark.parametrize("plain", ["customer-42", "ana@shop.example", "a/b:c+d"])
def test_an_ordinary_subject_is_not_encoded(plain: str) -> None:
    assert encode_subject(plain) == plain


@pytest.mark.parametrize(
    "bad", ["", "x" * 257, "é" * 257, "\ud800", "ana\n", "ana\xa0", None, 42, b"customer-42"]
)
def test_what_is_no_subject_is_refused(bad: object) -> None:
    with pytest.raises(InvalidSubject):
        encode_subject(bad)


@pytest.mark.parametrize("key", ["", "Coupons", "a b", "a/b", "é", "x" * 65, None])
def test_what_is_no_purpose_key_is_seen(key: object) -> None:
    assert not is_purpose(key)


def test_the_subject_is_in_a_header_and_not_in_the_path() -> None:
    request = gate_request("anne marie", ["coupons"])

    assert request.path == "/v1/gate"
    assert ("Consent-Subject", "anne%20marie") in request.headers
    assert "anne" not in repr(request)


def test_a_past_moment_is_sent_in_utc() -> None:
    paris = timezone(timedelta(hours=2))
    request = consents_request("c", as_of=datetime(2026, 7, 1, 2, 0, tzinfo=paris))

    assert request.path == "/v1/consents?as_of=2026-07-01T00:00:00Z"


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        rfc3339(datetime(2026, 7, 1))  # noqa: DTZ001  # the point of the test


def test_a_verdict_is_read() -> None:
    answer = a_gate_answer(
        '{"allowed":true,"reason":"granted","valid_until":"2030-01-01T00:00:00Z","index":7}'
    )

    gate = read_gate(answer)

    verdict = gate.verdicts["coupons"]
    assert verdict
    assert verdict.valid_until == datetime(2030, 1, 1, tzinfo=UTC)
    assert verdict.index == 7
    assert gate.head == 8


def test_a_member_of_a_newer_service_is_passed_over() -> None:
    verdict = '{"allowed":true,"reason":"granted","valid_until":"2030-01-01T00:00:00Z","index":7,"mood":{}}'
    answer = an_answer(b'{"subject":"s_x","head":8,"tide":[1],"verdicts":{"coupons":%s}}' % verdict.encode())

    assert read_gate(answer).verdicts["coupons"]


def test_a_reason_of_a_newer_service_denies() -> None:
    gate = read_gate(a_gate_answer('{"allowed":false,"reason":"mercury_retrograde"}'))

    assert not gate.verdicts["coupons"]
    assert gate.verdicts["coupons"].reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    "verdict",
    [
        "null",
        "true",
        "[]",
        '{"allowed":true}',
        '{"reason":"granted"}',
        '{"allowed":true,"reason":"withdrawn"}',
        '{"allowed":false,"reason":"granted"}',
        '{"allowed":1,"reason":"granted"}',
        '{"allowed":"true","reason":"granted"}',
        '{"allowed":true,"reason":"mercury_retrograde"}',
        '{"allowed":true,"reason":"granted","index":true}',
        '{"allowed":true,"reason":"granted","index":-1}',
        '{"allowed":true,"reason":"granted","valid_until":"soon"}',
        '{"allowed":true,"reason":"granted","valid_until":"2030-01-01T00:00:00"}',
        '{"allowed":true,"reason":"granted","valid_until":1893456000}',
    ],
)
def test_a_verdict_that_is_not_as_documented_is_not_guessed_at(verdict: str) -> None:
    with pytest.raises(Malformed):
        read_gate(a_gate_answer(verdict))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"{}", b"[" * 100_000])
@pytest.mark.parametrize("read", [read_gate, read_consents, read_history, read_recorded])
def test_an_answer_that_is_not_as_documented_is_malformed(read: object, body: bytes) -> None:
    with pytest.raises(Malformed):
        read(an_answer(body))  # type: ignore[operator]


@given(st.binary(max_size=200), st.sampled_from([200, 201, 204, 301, 403, 500]))
def test_no_bytes_make_a_reader_fail_otherwise(body: bytes, status: int) -> None:
    with pytest.raises(Malformed):
        read_gate(an_answer(body, status))


def test_consents_keep_unknown_apart() -> None:
    consents = read_consents(an_answer(b'{"consents":{"coupons":{"status":"unknown"}},"head":3}'))

    assert consents["coupons"].status == "unknown"
    assert consents["coupons"].index is None
    assert consents.head == 3


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (401, "unauthenticated", NotAuthorized),
        (403, "forbidden", NotAuthorized),
        (409, "no-live-grant", NoLiveGrant),
        (409, "idempotency-key-reused", Refused),
        (422, "malformed", Refused),
        (301, "x", Refused),
        (500, "bug", ServiceUnavailable),
        (503, "queue-full", ServiceUnavailable),
        (529, "x", ServiceUnavailable),
    ],
)
def test_a_problem_becomes_the_error_that_says_what_to_do(
    status: int, slug: str, kind: type[Exception]
) -> None:
    body = b'{"type":"/problems/%s","title":"T","status":%d,"detail":"D"}' % (slug.encode(), status)

    error = failure(an_answer(body, status))

    assert type(error) is kind


def test_the_wait_that_the_service_asks_for_is_kept() -> None:
    error = failure(an_answer(b"", 503, retry_after="7"))

    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == 7
