"""The transparency log: C2SP checkpoint and tiles, RFC 9162 proofs."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from consent_service.api.answers import (
    BYTES,
    TEXT,
    ConsistencyAnswer,
    HandoffsAnswer,
    InclusionAnswer,
    answers,
    media,
)
from consent_service.api.callers import LedgerTenant, Service, cached_for_ever
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.parameters import Number
from consent_service.ledger.tiles import parse_tile_path
from consent_service.operations.read_cosigned import read_cosigned_checkpoint
from consent_service.operations.read_ledger import (
    prove_consistency,
    prove_inclusion,
    read_checkpoint,
    read_handoffs,
    read_keys,
    read_tile_at,
)

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])
Size = Annotated[Number | None, Query(description="Size of the log; today's if absent")]


@router.get(
    "/checkpoint",
    summary="Read the checkpoint",
    response_class=Response,
    responses=media("A C2SP signed note", {"text/plain": TEXT}, 404),
)
def get_checkpoint(
    service: Service,
    tenant: LedgerTenant,
    *,
    cosigned: Annotated[
        bool, Query(description="The latest that enough witnesses cosigned, instead of the latest")
    ] = False,
) -> Response:
    """Return the latest checkpoint, a C2SP signed note, with the cosignatures that it has so far.

    A monitor wants the latest, whoever saw it. Who relies on an entry wants one that witnesses saw.
    """
    read = read_cosigned_checkpoint if cosigned else read_checkpoint
    note = read(service.deployment, tenant)
    return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-cache"})


@router.get(
    "/key",
    summary="Read the log's key",
    response_class=Response,
    responses=media("Verifier keys, a line each", {"text/plain": TEXT}),
)
def get_key(service: Service, tenant: LedgerTenant) -> Response:
    """Return the verifier key of the checkpoints in C2SP signed-note form, for a caller to pin.

    Older keys of the log follow, newest first, a line each: key entries lead from one to the next.
    """
    lines = "".join(f"{vkey}\n" for vkey in read_keys(service.deployment, tenant))
    return Response(lines, media_type="text/plain; charset=utf-8")


@router.get("/handoffs", summary="Follow the log's keys", responses=answers(HandoffsAnswer))
def get_handoffs(service: Service, tenant: LedgerTenant) -> Response:
    """Return how each key of the log was followed by the next, oldest first.

    Each step is the opening and the record of a key entry, with a C2SP tlog-proof that both keys signed: who
    trusts the first may trust the second.
    """
    handoffs = read_handoffs(service.deployment, tenant)
    return JsonBytes({"handoffs": [handoff.document() for handoff in handoffs]})


@router.get(
    "/tile/{path:path}",
    summary="Read a tile",
    response_class=Response,
    responses=media("Hashes, or a bundle of entries", {"application/octet-stream": BYTES}, 404),
)
def get_tile(request: Request, service: Service, tenant: LedgerTenant, path: str) -> Response:
    """Return a tile of hashes or a bundle of entries by its C2SP tlog-tiles path; it never changes."""
    data = read_tile_at(service.deployment, tenant, parse_tile_path(f"tile/{path}"))
    return Response(data, media_type="application/octet-stream", headers=cached_for_ever(request))


@router.get("/proof/inclusion", summary="Prove inclusion", responses=answers(InclusionAnswer, 404))
def get_inclusion(
    service: Service,
    tenant: LedgerTenant,
    index: Annotated[Number, Query(description="Index of the entry")],
    size: Size = None,
) -> Response:
    """Return the RFC 9162 proof that the entry at `index` is in the log of `size` entries."""
    proof = prove_inclusion(service.deployment, tenant, index=index, size=size)
    return JsonBytes(
        {
            "index": proof.index,
            "size": proof.size,
            "leaf_hash": _text(proof.leaf_hash),
            "proof": [_text(node) for node in proof.proof],
            "root": _text(proof.root),
        }
    )


@router.get("/proof/consistency", summary="Prove consistency", responses=answers(ConsistencyAnswer, 404))
def get_consistency(
    service: Service,
    tenant: LedgerTenant,
    old_size: Annotated[Number, Query(alias="from", description="The smaller size")],
    new_size: Annotated[
        Number | None, Query(alias="to", description="The larger size; today's if absent")
    ] = None,
) -> Response:
    """Return the RFC 9162 proof that the log of `to` entries begins with the one of `from`."""
    proof = prove_consistency(service.deployment, tenant, old_size=old_size, new_size=new_size)
    return JsonBytes(
        {
            "from": proof.old_size,
            "to": proof.new_size,
            "proof": [_text(node) for node in proof.proof],
            "old_root": _text(proof.old_root),
            "new_root": _text(proof.new_root),
        }
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
