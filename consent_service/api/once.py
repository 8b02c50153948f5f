"""Routes whose JSON bodies have every member once: of two, nobody can say which one was meant."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from consent_service.api.schemas import once


class _OnceRequest(Request):
    async def json(self) -> Any:  # as Starlette's
        return json.loads(await self.body(), object_pairs_hook=once)


class OnceRoute(APIRoute):
    """A route that answers a body with a repeated member with 422, where the last one would silently win."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, which reads the body from a request of ours."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_OnceRequest(request.scope, request.receive))

        return handle
