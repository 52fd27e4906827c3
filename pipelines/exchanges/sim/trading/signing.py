"""Who sends a private request: OKX's headers and login, checked as OKX checks them."""

import base64
import datetime
import hmac
from collections.abc import Mapping
from typing import Any

from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.trading.keys import ApiKey

_VALID_MS = 30_000


def signature(secret: str, text: str) -> str:
    """base64 of the HMAC-SHA256 of a text."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha256")).decode()


class Gate:
    """Checks signatures. Timestamps may follow the virtual clock or the wall's: 30 s off at most.

    speed: virtual seconds a second, which a client with a clock of its own falls behind the virtual one
    """

    def __init__(self, keys: tuple[ApiKey, ...], speed: float) -> None:
        self._keys = {key.key: key for key in keys}
        self._valid_ms = _VALID_MS * max(1.0, speed)

    def request(
        self, headers: Mapping[str, str], method: str, path: str, body: str, clocks: tuple[int, int]
    ) -> str:
        """The API key of a REST request (path with its query); Refused with 501xx.

        clocks: virtual and wall time, ms
        """
        given = {}
        for name, code in (
            ("KEY", "50103"),
            ("PASSPHRASE", "50104"),
            ("SIGN", "50106"),
            ("TIMESTAMP", "50107"),
        ):
            given[name] = headers.get(f"OK-ACCESS-{name}", "")
            if not given[name]:
                raise Refused(code, f"Request header OK-ACCESS-{name} cannot be empty.", 401)
        if not self._recent(_iso_ms(given["TIMESTAMP"]), clocks):
            raise Refused("50102", "Timestamp request expired.", 401)
        known = self._keys.get(given["KEY"])
        if known is None:
            raise Refused("50111", "Invalid OK-ACCESS-KEY.", 401)
        expected = signature(known.secret, given["TIMESTAMP"] + method + path + body)
        # a header may hold bytes that are no text
        if not hmac.compare_digest(expected.encode(), given["SIGN"].encode("utf-8", "surrogateescape")):
            raise Refused("50113", "Invalid Sign.", 401)
        if given["PASSPHRASE"] != known.passphrase:
            raise Refused("50105", "Request header OK-ACCESS-PASSPHRASE incorrect.", 401)
        return known.key

    def login(self, args: Mapping[str, Any], clocks: tuple[int, int]) -> str:
        """The API key of a WebSocket login (timestamp in seconds); Refused with 600xx."""
        stamp, known = str(args.get("timestamp", "")), self._keys.get(str(args.get("apiKey", "")))
        try:
            at = int(float(stamp) * 1000)
        except (ValueError, OverflowError):
            raise Refused("60004", "Invalid timestamp") from None
        if known is None:
            raise Refused("60005", "Invalid apiKey")
        if not self._recent(at, clocks):
            raise Refused("60006", "Timestamp request expired")
        expected = signature(known.secret, stamp + "GET/users/self/verify")
        if not hmac.compare_digest(expected.encode(), str(args.get("sign", "")).encode()):
            raise Refused("60007", "Invalid sign")
        if args.get("passphrase") != known.passphrase:
            raise Refused("60024", "Wrong passphrase")
        return known.key

    def _recent(self, at: int, clocks: tuple[int, int]) -> bool:
        return any(abs(clock - at) <= self._valid_ms for clock in clocks)


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Refused("50112", "Invalid OK-ACCESS-TIMESTAMP.", 401) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1000)
