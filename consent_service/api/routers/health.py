"""Is the process alive, may it be used, what has it counted."""

import os

from fastapi import APIRouter, Response

from consent_service.api.answers import TEXT, StateAnswer, answers, media
from consent_service.api.callers import Service
from consent_service.api.hot_routes import JsonBytes
from consent_service.observability import WAITING, render_metrics

router = APIRouter(tags=["operation"])


@router.get("/health", summary="Liveness", responses=answers(StateAnswer))
async def health() -> Response:
    """Return 200 while the process runs."""
    return JsonBytes({"status": "ok"})


@router.get("/ready", summary="Readiness", responses=answers(StateAnswer))
def ready(service: Service) -> Response:
    """Return 200 when requests may be sent: the database answers and its keys open here; 503 otherwise."""
    service.deployment.require_keys()
    return JsonBytes({"status": "ready"})


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses=media("Prometheus text format", {"text/plain": TEXT}),
)
def metrics(service: Service) -> Response:
    """Return counters and histograms in Prometheus text format; they name no subject and no tenant."""
    WAITING.set(service.committer.waiting)
    body = render_metrics(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")
