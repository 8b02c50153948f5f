"""Profiles: sealed writes where a live grant covers the category, reads through one purpose."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from consent_service.api.answers import ProfileAnswer, ProfilesAnswer, StoredAnswer, answers
from consent_service.api.callers import Backend, Service, gpc_of, subject_of
from consent_service.api.hot_routes import JsonBytes
from consent_service.api.once import OnceRoute
from consent_service.api.schemas import PurposeName, Word
from consent_service.domain.profile import parse_changes, parse_fields
from consent_service.domain.purpose import PurposeKey
from consent_service.domain.uses import Feature
from consent_service.errors import PurposeClosed
from consent_service.operations.credentials import Caller
from consent_service.operations.read_profile import Profile, ProfileQuestion, read_profiles
from consent_service.operations.service import ConsentService
from consent_service.operations.update_profile import update_profile

router = APIRouter(tags=["profile"], route_class=OnceRoute)
MAX_SUBJECTS = 500

Fields = Annotated[
    str | None,
    Query(
        max_length=8192,
        description=(
            "Only these, separated by commas: `category.field` or `category`. 400 for a category that no "
            "notice has; a field without a value is left out."
        ),
    ),
]


class ProfilesBody(BaseModel):
    """Whose profiles, through which purpose."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"purpose": "recommendations", "subjects": ["customer-42", "customer-43"]}]
        },
    )

    purpose: PurposeName
    subjects: Annotated[list[str], Field(min_length=1, max_length=MAX_SUBJECTS)]
    fields: Annotated[list[str], Field(max_length=500)] | None = None
    feature: Word = "profile"


ChangesBody = Annotated[
    dict[str, dict[str, JsonValue] | None],
    Body(
        min_length=1,
        max_length=100,
        examples=[{"purchases": {"last_basket": ["milk"]}, "household": {"size": 2}}],
    ),
]


@router.patch("/v1/profile", summary="Change a subject's profile", responses=answers(StoredAnswer, 409))
def patch_profile(
    request: Request,
    changes: ChangesBody,
    service: Service,
    caller: Backend,
    derived_for: Annotated[
        PurposeName | None,
        Query(description="Purpose these values were derived for: they disappear with its grant."),
    ] = None,
) -> Response:
    """Merge fields into the profile, sealed; null deletes a field or a whole category.

    Refused as a whole (409 `no-live-grant`) where a category gets a value that no live grant covers.
    """
    stored = update_profile(
        service.deployment,
        caller.tenant,
        subject_of(request.headers, caller),
        parse_changes(changes),
        derived_for=None if derived_for is None else PurposeKey(derived_for),
    )
    return JsonBytes({"stored": stored})


@router.get(
    "/v1/profile", summary="Read a subject's profile through one purpose", responses=answers(ProfileAnswer)
)
def get_profile(
    request: Request,
    service: Service,
    caller: Backend,
    purpose: Annotated[PurposeName, Query(description="The purpose the data is for.")],
    fields: Fields = None,
    feature: Annotated[Word, Query(description="What reads it, as the subject is told.")] = "profile",
) -> Response:
    """Return what this purpose may see; 403 `purpose-closed` with the gate's reason where it is closed."""
    question = ProfileQuestion(
        subjects=[subject_of(request.headers, caller)],
        purpose=PurposeKey(purpose),
        fields=parse_fields(None if fields is None else _listed(fields)),
        gpc=gpc_of(request.headers),
    )
    [answer] = read_profiles(service.deployment, caller.tenant, question)
    if isinstance(answer, PurposeClosed):
        raise answer
    _note(service, caller, question.purpose, feature, [answer])
    return JsonBytes({"purpose": purpose, **_document(answer)})


@router.post(
    "/v1/profiles/query",
    summary="Read up to 500 profiles through one purpose",
    responses=answers(ProfilesAnswer),
)
def post_query(request: Request, body: ProfilesBody, service: Service, caller: Backend) -> Response:
    """Return one item for each subject, in the order asked: her attributes, or why the gate is closed."""
    question = ProfileQuestion(
        subjects=[caller.tenant.subject(subject) for subject in body.subjects],
        purpose=PurposeKey(body.purpose),
        fields=parse_fields(body.fields),
        gpc=gpc_of(request.headers),
    )
    answers = read_profiles(service.deployment, caller.tenant, question)
    _note(service, caller, question.purpose, body.feature, answers)
    return JsonBytes({"purpose": body.purpose, "profiles": [_item(answer) for answer in answers]})


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _note(
    service: ConsentService,
    caller: Caller,
    purpose: PurposeKey,
    feature: str,
    answers: Sequence[Profile | PurposeClosed],
) -> None:
    """Leave the trace that the subject sees under GET /v1/uses."""
    read = [(answer.subject_id, answer.attributes) for answer in answers if isinstance(answer, Profile)]
    service.uses.note_reads(caller.tenant, (purpose, Feature(feature)), read)


def _item(answer: Profile | PurposeClosed) -> dict[str, Any]:
    return {"reason": answer.reason} if isinstance(answer, PurposeClosed) else _document(answer)


def _document(profile: Profile) -> dict[str, Any]:
    return {"attributes": profile.attributes, "index": profile.index}
