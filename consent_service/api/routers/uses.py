"""Uses: what a subject's data was used for, reported by the shop and shown to her."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from consent_service.api.answers import NotedAnswer, UsesAnswer, answers
from consent_service.api.callers import Backend, BackendOrSubject, Service, subject_of
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.once import OnceRoute
from consent_service.api.schemas import PurposeName, Word
from consent_service.domain.uses import date_of
from consent_service.ledger.record import format_time
from consent_service.ledger.words import FALLBACK, spoken_languages
from consent_service.operations.read_uses import DayOfUses, read_uses
from consent_service.operations.report_uses import ReportedUse, report_uses
from consent_service.web.words import best_language

router = APIRouter(tags=["uses"], route_class=OnceRoute)
MAX_USES = 1000


def _whole(value: object) -> object:
    """Return 3.0 as 3: both are an integer of JSON Schema, which OpenAPI 3.1 speaks."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class UseBody(BaseModel):
    """One use, or several of one kind; `categories` are the purpose's where they are not named."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subject: Annotated[str, Field(max_length=256)] | None = None
    purpose: PurposeName
    feature: Word
    categories: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    times: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(_whole)] = 1


class UsesBody(BaseModel):
    """Uses to be noted, of the subject of the request or each of the subject it names."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"uses": [{"purpose": "recommendations", "feature": "home_page", "times": 3}]}]
        },
    )

    uses: Annotated[list[UseBody], Field(min_length=1, max_length=MAX_USES)]


@router.post("/v1/uses", status_code=202, summary="Report uses", responses=answers(NotedAnswer, status=202))
def post_uses(request: Request, body: UsesBody, service: Service, caller: Backend) -> Response:
    """Note uses for their subjects to see; `noted` counts those about subjects of whom something is held."""
    own = None if all(use.subject for use in body.uses) else subject_of(request.headers, caller)
    reported = []
    for use in body.uses:
        subject = own if use.subject is None else caller.tenant.subject(use.subject)
        if subject is not None:
            reported.append(
                ReportedUse(
                    subject=subject,
                    purpose=use.purpose,
                    feature=use.feature,
                    categories=use.categories,
                    times=use.times,
                )
            )
    noted = report_uses(service.deployment, service.uses, caller.tenant, reported)
    return JsonBytes({"noted": noted}, status_code=202)


@router.get("/v1/uses", summary="Read what a subject's data was used for", responses=answers(UsesAnswer))
def get_uses(
    request: Request,
    service: Service,
    caller: BackendOrSubject,
    language: Annotated[str, Query(max_length=256, description="Languages wanted, best first.")] = "",
    purpose: Annotated[str | None, Query(max_length=64, description="Of this purpose alone.")] = None,
) -> Response:
    """Return the uses by day, purpose, feature and category, and in plain words."""
    subject = subject_of(request.headers, caller)
    wanted = f"{language},{request.headers.get('accept-language', '')},{FALLBACK}"
    spoken = best_language(wanted, spoken_languages())
    days, told = read_uses(
        service.deployment, service.uses, caller.tenant, subject, language=spoken, purpose=purpose
    )
    return JsonBytes({"uses": [item for day in days for item in use_items(day)], "sentences": told})


def use_items(day: DayOfUses) -> list[dict[str, Any]]:
    """Return the JSON members of each count of one day."""
    return [
        {
            "day": date_of(day.day).isoformat(),
            "purpose": kind.purpose,
            "feature": kind.feature,
            "category": kind.category,
            "times": count.times,
            "last": format_time(count.last),
        }
        for kind, count in day.uses.items()
    ]
