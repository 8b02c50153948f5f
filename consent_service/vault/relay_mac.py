"""What proves to a tenant's backends that a message is its relay's (ADR 0073)."""

import base64
import hmac

_RELAY_KEY = b"consent/v1/relay-key\x00"
_LENGTH = 4


def relay_key(reference_key: bytes) -> bytes:
    """Return the 32 bytes of the key that a relay and the tenant's backends share."""
    return hmac.digest(reference_key, _RELAY_KEY, "sha256")


def relay_mac(key: bytes, *parts: bytes) -> str:
    """Return the base64 of HMAC-SHA256 over the parts, each after its length in four big-endian bytes."""
    message = b"".join(len(part).to_bytes(_LENGTH, "big") + part for part in parts)
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode("ascii")
