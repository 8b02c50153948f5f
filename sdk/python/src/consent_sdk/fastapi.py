"""FastAPI: gates as dependencies. Needs the extra `consent-sdk[fastapi]`.

consented = Consented(client, subject=current_customer)

@app.get("/")
async def home(personal: Annotated[bool, Depends(consented("recommendations"))]): ...
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends

from consent_sdk.aio import AsyncConsentClient
from consent_sdk.client import ConsentClient
from consent_sdk.verdict import Reason, Verdict

__all__ = ["Consented"]


class Consented:
    """Makes dependencies that ask about the subject of the request.

    `subject` is a dependency of yours that gives the subject, None for a visitor nobody knows: everything is
    denied then. No dependency raises, but for mistakes in strict mode; a view gets a bool, or a `Verdict`,
    and decides what to show.
    """

    def __init__(self, client: ConsentClient | AsyncConsentClient, *, subject: Callable[..., object]) -> None:
        self._client = client
        self._subject = subject

    def __call__(self, purpose: str) -> Callable[..., Awaitable[bool]]:
        """Return the dependency that is true where the purpose is allowed."""
        verdict_of = self.verdict(purpose)

        async def allowed(verdict: Annotated[Verdict, Depends(verdict_of)]) -> bool:
            return verdict.allowed

        return allowed

    def verdict(self, purpose: str) -> Callable[..., Awaitable[Verdict]]:
        """Return the dependency that is the verdict on the purpose."""
        client = self._client

        async def verdict(subject: Annotated[object, Depends(self._subject)]) -> Verdict:
            if subject is None or subject == "":
                return Verdict.of(Reason.NEVER_ASKED)
            if isinstance(client, AsyncConsentClient):
                return await client.check(subject, purpose)  # type: ignore[arg-type]  # what is no subject is denied
            return await client.check_async(subject, purpose)  # type: ignore[arg-type]  # as above

        return verdict
