"""What is stored of a repeated request: enough to know it again, nothing to guess its subject by."""

import hashlib
import json
from collections.abc import Mapping

import httpx2
import pytest
from sqlalchemy import text

from tests.service_api import Json, ServiceApi


def send(
    api: ServiceApi, subject: str, key: str, *, batch: bool, token: str | None = None
) -> tuple[httpx2.Response, bytes]:
    """Send one decision under an idempotency key; return the answer and the bytes that were digested."""
    if batch:
        line = json.dumps({**api.body(), "subject": subject, "idempotency_key": key}).encode()
        return api.client.post("/v1/decisions/batch", content=line + b"\n", headers=api.headers()), line
    body = json.dumps(api.body()).encode()
    headers: Mapping[str, str] = api.headers(subject) if token is None else api.headers(key=token)
    return api.client.post("/v1/decisions", content=body, headers={**headers, "Idempotency-Key": key}), body


def stored(api: ServiceApi, index: int) -> tuple[bytes, bytes]:
    """What stands in the database of the request that an entry answers."""
    with api.service.deployment.database.reading() as connection:
        row = connection.execute(
            text(
                "SELECT key_digest, request_digest FROM idempotency"
                ' WHERE tenant_id = :tenant AND "index" = :at'
            ),
            {"tenant": api.tenant.id, "at": index},
        ).one()
    return bytes(row.key_digest), bytes(row.request_digest)


def answer_of(response: httpx2.Response) -> Json:
    document: Json = response.json()
    return document


@pytest.mark.parametrize("how", ["backend", "browser", "batch"])
def test_who_has_the_database_cannot_test_a_guess_of_the_subject(api: ServiceApi, how: str) -> None:
    subject, key = f"{how}@shop.example", f"{how}@shop.example-1"
    token = api.token(subject) if how == "browser" else None
    answer, body = send(api, subject, key, batch=how == "batch", token=token)
    digests = stored(api, answer_of(answer)["index"])

    ref = api.tenant.ref(api.tenant.subject(subject)).encode()
    words = (b"", ref, key.encode(), body, subject.encode())
    guesses = {hashlib.sha256(one + other).digest() for one in words for other in words}
    assert not guesses & {*digests}


@pytest.mark.parametrize("how", ["backend", "browser", "batch"])
def test_a_request_that_an_earlier_program_answered_is_known_again(api: ServiceApi, how: str) -> None:
    subject, key = f"earlier-{how}", f"earlier-{how}-1"
    token = api.token(subject) if how == "browser" else None
    first, body = send(api, subject, key, batch=how == "batch", token=token)
    index = answer_of(first)["index"]
    ref = api.tenant.ref(api.tenant.subject(subject)).encode()
    former = (
        hashlib.sha256((b"" if token is None else ref) + key.encode()).digest(),
        hashlib.sha256(ref + body).digest(),
    )
    with api.service.deployment.database.writing() as connection:
        connection.execute(
            text(
                "UPDATE idempotency SET key_digest = :key, request_digest = :request"
                ' WHERE tenant_id = :tenant AND "index" = :at'
            ),
            {"key": former[0], "request": former[1], "tenant": api.tenant.id, "at": index},
        )
    before = api.heads()

    again, _ = send(api, subject, key, batch=how == "batch", token=token)
    other, _ = send(api, f"{subject}-other", key, batch=how == "batch") if token is None else (again, body)

    assert answer_of(again) == answer_of(first)
    assert api.heads() == before
    if token is None:
        assert answer_of(other)["type"] == "/problems/idempotency-key-reused"
