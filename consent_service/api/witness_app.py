"""A witness over HTTP (C2SP tlog-witness): one route, plain Starlette, no database."""

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consent_service.errors import (
    ConsentToolkitError,
    InvalidInput,
    InvalidNote,
    InvalidProof,
    UnknownLog,
    WitnessConflict,
)
from consent_service.operations.witness import Witness
from consent_service.settings import WitnessSettings

_MAX_BODY = 65_536
_TEXT = "text/plain; charset=utf-8"


def create_witness_app(
    settings: WitnessSettings | None = None, *, clock: Callable[[], float] = time.time
) -> Starlette:
    """Return the ASGI application of a witness; the settings come from the environment by default."""
    settings = settings or WitnessSettings()
    witness = Witness(settings.home, name=settings.name, vkeys=settings.logs.split())

    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_BODY:
                return Response("Too large.\n", status_code=413, media_type=_TEXT)
        return await run_in_threadpool(_answer, witness, bytes(body), int(clock()))

    async def key(_request: Request) -> Response:
        return Response(witness.cosigner.vkey + "\n", media_type=_TEXT)

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"]), Route("/key", key)])


_STATUSES: dict[type[ConsentToolkitError], int] = {
    UnknownLog: 404,
    InvalidNote: 403,
    InvalidProof: 422,
    InvalidInput: 400,
}


def _answer(witness: Witness, body: bytes, timestamp: int) -> Response:
    try:
        return Response(witness.add_checkpoint(body, timestamp), media_type=_TEXT)
    except WitnessConflict as error:
        return Response(f"{error.size}\n", status_code=409, headers={"Content-Type": "text/x.tlog.size"})
    except tuple(_STATUSES) as error:
        return Response(f"{error}\n", status_code=_STATUSES[type(error)], media_type=_TEXT)
