"""A shop on FastAPI.

export CONSENT_URL=http://127.0.0.1:8000 CONSENT_API_KEY=ck_...
uvicorn --factory examples.shops.fastapi_shop:shop --port 8001
curl -H "X-Customer: ana" http://127.0.0.1:8001/
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from consent_sdk import ConsentClient, Verdict
from consent_sdk.fastapi import Consented
from fastapi import Depends, FastAPI, Header, Response


def customer(x_customer: Annotated[str | None, Header()] = None) -> str | None:
    """Return who is asking; a real shop looks into its session."""
    return x_customer


def shop(client: ConsentClient | None = None) -> FastAPI:
    """Return the application."""
    consent = client or ConsentClient.from_env()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        consent.close()

    app = FastAPI(lifespan=lifespan)
    consented = Consented(consent, subject=customer)

    @app.get("/")
    async def home(
        who: Annotated[str | None, Depends(customer)],
        *,
        personal: Annotated[bool, Depends(consented("recommendations"))],
    ) -> str:
        if not personal:
            return "best sellers"
        consent.report_use(str(who), "recommendations", feature="home_page")
        return f"chosen for {who}"

    @app.get("/coupons")
    async def coupons(verdict: Annotated[Verdict, Depends(consented.verdict("coupons"))]) -> dict[str, str]:
        return {"coupons": "yours" if verdict else "everybody's", "because": verdict.reason.value}

    @app.get("/ready")
    async def ready() -> Response:
        return Response(status_code=200 if consent.healthy else 503)

    return app
