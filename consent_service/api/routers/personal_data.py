"""Access and portability: everything that is held about a subject, as JSON or as a page."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from consent_service.api.acceptable import acceptable
from consent_service.api.answers import TEXT, PersonalDataAnswer, answers
from consent_service.api.callers import BackendOrSubject, Service, subject_of
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.routers.decisions import consents_document, history_document
from consent_service.api.routers.uses import use_items
from consent_service.domain.notice import Notice
from consent_service.domain.purpose import CategoryKey
from consent_service.ledger.record import format_time
from consent_service.operations.read_personal_data import PersonalData, read_personal_data
from consent_service.web.personal_data import personal_data_page

router = APIRouter(tags=["subject"])
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Vary": "Accept, Accept-Language",
}


_ANSWERS = answers(PersonalDataAnswer)
_ANSWERS[200]["content"] = {"text/html": {"schema": dict(TEXT)}}


@router.get("/v1/personal-data", summary="Read everything that is held about a subject", responses=_ANSWERS)
def get_personal_data(
    request: Request,
    service: Service,
    caller: BackendOrSubject,
    language: Annotated[str, Query(max_length=256, description="Languages of the page, best first.")] = "",
) -> Response:
    """Return profile, choices, history with the words shown, uses, recipients and retention (Art. 15, 20).

    JSON, or with `Accept: text/html` a page that fetches nothing and runs nothing.
    """
    subject = subject_of(request.headers, caller)
    data = read_personal_data(service.deployment, service.uses, caller.tenant, subject)
    wishes = acceptable(request.headers.getlist("accept"), ("application/json", "text/html"))
    if data.published is not None and wishes[:1] == ["text/html"]:
        wanted = f"{language},{request.headers.get('accept-language', '')}"
        taken, page = personal_data_page(data, data.published, wanted)
        return Response(page, media_type="text/html", headers={**_PAGE_HEADERS, "Content-Language": taken})
    return JsonBytes(personal_data_document(data))


def personal_data_document(data: PersonalData) -> dict[str, Any]:
    """Return everything that is held about a subject as JSON members."""
    notice = None if data.published is None else data.published.notice
    return {
        "held": data.ref is not None,
        "made_at": format_time(data.made_at),
        "subject": {"external_id": data.external_id, "ref": data.ref, "linked": list(data.linked)},
        "controller": None if notice is None else notice.document()["controller"],
        "consents": consents_document(data.consents),
        "history": [history_document(entry) for entry in data.history],
        "notices": {
            entry.notice.digest: entry.notice.notice.document()
            for entry in data.history
            if entry.notice is not None
        },
        "profile": _profile(data),
        "purposes": {} if notice is None else _purposes(notice),
        "retention": {"grace_days": data.grace_days, "uses_days": data.uses_days},
        "uses": [item for day in data.uses for item in use_items(day)],
    }


def _profile(data: PersonalData) -> Mapping[CategoryKey, Mapping[str, Any]]:
    profile: dict[CategoryKey, dict[str, Any]] = {}
    for held in data.values:
        profile.setdefault(held.category, {})[held.field] = {
            "value": held.value,
            "stored_at": format_time(held.stored_at),
            "derived_for": held.derived_for,
            "open_to": list(held.open_to),
            "kept_until": None if held.kept_until is None else format_time(held.kept_until),
        }
    return profile


def _purposes(notice: Notice) -> dict[str, Any]:
    """Return what the law wants said for each purpose: what it uses, who sees it, how long it is kept."""
    return {
        key: {
            "name": dict(purpose.name),
            "description": dict(purpose.description),
            "categories": list(purpose.categories),
            "recipients": [
                {
                    "name": notice.recipients[recipient].name,
                    "role": notice.recipients[recipient].role,
                    "country": notice.recipients[recipient].country,
                }
                for recipient in purpose.recipients
            ],
            "retention": purpose.retention.text,
            "validity": purpose.validity.text,
        }
        for key, purpose in notice.purposes.items()
    }
