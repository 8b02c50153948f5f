"""Numbers in an address, which have one spelling: a proof has one address, a typing error no answer."""

import re
from typing import Annotated

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
