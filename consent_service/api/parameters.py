"""What comes behind `?`: each parameter once, and numbers in one spelling. A typing error gets no answer."""

import re
from typing import Annotated

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

MAX_NUMBER = 2**63 - 1
_SPELLING = re.compile(r"0|[1-9][0-9]*", re.ASCII)


def _spelt(value: object) -> object:
    if isinstance(value, str) and not _SPELLING.fullmatch(value):
        raise PydanticCustomError("number", "A number is written in digits only, without needless zeros")
    return value


Number = Annotated[int, BeforeValidator(_spelt), Field(ge=0, le=MAX_NUMBER)]
"""An index or a size: pydantic alone takes ` 1`, `01`, `+1`, `1.0` and `1_0` for numbers, too."""


async def each_once(request: Request) -> None:
    """Raise `RequestValidationError` where a parameter of the route comes twice: the last would count."""
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) == len(set(given)):
        return
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    if twice := [name for name in known if given.count(name) > 1]:
        message = "This comes twice: nobody can say which one is meant"
        raise RequestValidationError([{"loc": ("query", name), "msg": message} for name in twice])
