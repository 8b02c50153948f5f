"""What Schemathesis has to be told of our media types; it runs this file by itself."""

import json
from collections.abc import Sequence
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """A line for each value of a list."""
    lines = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
