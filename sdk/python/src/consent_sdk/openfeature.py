"""An OpenFeature provider: a purpose is a flag, the targeting key is the subject. Extra `openfeature`.

It never gives the caller's default. OpenFeature returns that default where a provider is not ready or fails,
and a default of true would then open a gate. So every denial is a value (false) with a normal reason, nothing
raises, and the provider is ready from the moment it is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.flag_evaluation import Reason as FlagReason
from openfeature.provider import AbstractProvider, Metadata

from consent_sdk.errors import MisuseError
from consent_sdk.verdict import Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openfeature.evaluation_context import EvaluationContext
    from openfeature.provider import FeatureProvider

    from consent_sdk.client import ConsentClient

    Emit = Callable[[FeatureProvider, ProviderEvent, ProviderEventDetails], None]
    Value = TypeVar("Value")

__all__ = ["ConsentProvider"]

_EVENTS = {
    "live": ProviderEvent.PROVIDER_READY,
    "stale": ProviderEvent.PROVIDER_STALE,
    "not_ready": ProviderEvent.PROVIDER_STALE,
    "refused": ProviderEvent.PROVIDER_ERROR,
}
_WITHOUT_A_CHOICE = frozenset({Reason.NEVER_ASKED, Reason.PURPOSE_UNKNOWN, Reason.PURPOSE_RETIRED})
_WITHOUT_AN_ANSWER = frozenset({Reason.STALE, Reason.NOT_READY, Reason.UNAVAILABLE})


class ConsentProvider(AbstractProvider):
    """Booleans are gates; objects are verdicts; strings are reasons; numbers are 1 and 0.

    `variant` is `granted` or `denied`, and the reason in our words is in the metadata as `why`.
    """

    def __init__(self, client: ConsentClient) -> None:
        super().__init__()
        self._client = client
        self._told = ""
        client.on_state(self._tell)

    def attach(self, on_emit: Emit) -> None:
        """Be ready at once: while a provider is not, OpenFeature gives the caller's default."""
        super().attach(on_emit)
        self.emit_provider_ready(ProviderEventDetails())
        self._told = ""

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Do nothing: the client began to follow when it was made."""

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="consent")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Return whether the purpose is allowed."""
        verdict = self._verdict(flag_key, evaluation_context)
        return _details(verdict, verdict.allowed)

    async def resolve_boolean_details_async(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Return whether the purpose is allowed, without holding up the event loop."""
        verdict = await self._verdict_async(flag_key, evaluation_context)
        return _details(verdict, verdict.allowed)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Return the reason."""
        verdict = self._verdict(flag_key, evaluation_context)
        return _details(verdict, verdict.reason.value)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Return 1 where the purpose is allowed, else 0."""
        verdict = self._verdict(flag_key, evaluation_context)
        return _details(verdict, int(verdict.allowed))

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return 1.0 where the purpose is allowed, else 0.0."""
        verdict = self._verdict(flag_key, evaluation_context)
        return _details(verdict, float(verdict.allowed))

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return the verdict: allowed, reason, and valid_until and index where they are known."""
        verdict = self._verdict(flag_key, evaluation_context)
        return _details(verdict, _object(verdict))

    async def resolve_string_details_async(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Return the reason, as all of these without holding up the event loop."""
        verdict = await self._verdict_async(flag_key, evaluation_context)
        return _details(verdict, verdict.reason.value)

    async def resolve_integer_details_async(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Return 1 where the purpose is allowed, else 0."""
        verdict = await self._verdict_async(flag_key, evaluation_context)
        return _details(verdict, int(verdict.allowed))

    async def resolve_float_details_async(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return 1.0 where the purpose is allowed, else 0.0."""
        verdict = await self._verdict_async(flag_key, evaluation_context)
        return _details(verdict, float(verdict.allowed))

    async def resolve_object_details_async(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return the verdict."""
        verdict = await self._verdict_async(flag_key, evaluation_context)
        return _details(verdict, _object(verdict))

    def _verdict(self, purpose: str, context: EvaluationContext | None) -> Verdict:
        subject = context.targeting_key if context else None
        try:
            return self._client.check(subject or "", purpose)
        except MisuseError:
            return Verdict.of(Reason.PURPOSE_UNKNOWN)

    async def _verdict_async(self, purpose: str, context: EvaluationContext | None) -> Verdict:
        subject = context.targeting_key if context else None
        try:
            return await self._client.check_async(subject or "", purpose)
        except MisuseError:
            return Verdict.of(Reason.PURPOSE_UNKNOWN)

    def _tell(self, state: str) -> None:
        """Pass a change of the client's state on."""
        if state == self._told or state not in _EVENTS:
            return
        self._told = state
        self.emit(_EVENTS[state], ProviderEventDetails(message=state))


def _object(verdict: Verdict) -> dict[str, FlagValueType]:
    body: dict[str, FlagValueType] = {"allowed": verdict.allowed, "reason": verdict.reason.value}
    if verdict.valid_until is not None:
        body["valid_until"] = verdict.valid_until.isoformat().replace("+00:00", "Z")
    if verdict.index is not None:
        body["index"] = verdict.index
    return body


def _details(verdict: Verdict, value: Value) -> FlagResolutionDetails[Value]:
    reason = FlagReason.TARGETING_MATCH
    if verdict.reason in _WITHOUT_A_CHOICE:
        reason = FlagReason.DEFAULT
    elif verdict.reason in _WITHOUT_AN_ANSWER:
        reason = FlagReason.STALE
    return FlagResolutionDetails(
        value=value,
        reason=reason,
        variant="granted" if verdict else "denied",
        flag_metadata={"why": verdict.reason.value},
    )
