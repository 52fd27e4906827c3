"""Messages as JSON: decimals are numbers with all their digits, in and out."""

from decimal import Decimal
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def encode(message: dict[str, Any]) -> bytes:
    """A message as JSON; Decimal("64000.10") becomes 64000.10."""
    return _encoder.encode(message)


def decode(data: bytes) -> dict[str, Any]:
    """JSON as a message; numbers with a fraction become Decimal. Raises msgspec.DecodeError."""
    return _decoder.decode(data)
