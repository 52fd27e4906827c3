"""ccxt's OKX for an account: its signing, addresses, connections; answers stay as the exchange wrote them."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import ccxt
import ccxt.pro
import msgspec

from pipelines.exchanges.okx.keys import Keys

TIMEOUT_MS = 5_000

# ccxt logs whole requests, keys in their headers, at level DEBUG: this logger has nowhere to write.
_mute = logging.Logger("ccxt of an account", logging.CRITICAL + 1)
_decoder = msgspec.json.Decoder(float_hook=str)


class Answered(Exception):
    """The exchange refused a request with a document of its own. status: HTTP."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(f"{document.get('code')} {document.get('msg')}")
        self.status = status
        self.document = document


class PrivateOkx(ccxt.pro.okx):  # type: ignore[misc]
    """`ccxt.pro.okx` whose requests may carry an expiry, and whose order messages go to `on_order` unread."""

    on_order: Callable[[str], None]

    def sign(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Any = None,
        headers: Any = None,
        body: Any = None,
    ) -> Any:
        """ccxt's signature, and the caller's headers beside it, which ccxt would drop."""
        signed = super().sign(path, api, method, params or {}, None, body)
        return {**signed, "headers": {**(signed["headers"] or {}), **(headers or {})}}

    def on_json_response(self, response_body: str) -> Any:
        """JSON of a REST answer; no number goes through a float."""
        try:
            return _decoder.decode(response_body)
        except msgspec.DecodeError:
            return None

    def handle_errors(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        headers: Any,
        body: str,
        response: Any,
        *asked: Any,
    ) -> Any:
        """Errors of the exchange's own stay documents; what is none is ccxt's."""
        where = f"{method} {url.partition('?')[0]}: HTTP {code}"
        if not isinstance(response, Mapping) or "code" not in response:
            raise ccxt.ExchangeNotAvailable(f"{where}, not the exchange's JSON")
        if code >= 500:
            raise ccxt.ExchangeNotAvailable(f"{where}: {response.get('code')} {response.get('msg')}")
        if code >= 400 or response["code"] != "0":
            raise Answered(code, response)

    def handle_orders(self, client: Any, message: Mapping[str, Any]) -> None:
        """A push of `orders` or `orders-algo`: tell whose order it is about. What happened, REST says."""
        for row in message.get("data") or ():
            for name in ("clOrdId", "algoClOrdId"):
                if row.get(name):
                    self.on_order(str(row[name]))
        client.resolve(True, message["arg"]["channel"])

    async def watch_orders_of(self, channel: str, access: str) -> None:
        """Log in, subscribe, and wait for the next push of a channel."""
        await self.authenticate({"access": access})
        url = self.get_url(channel, access)
        args = [{"channel": channel, "instType": "SPOT"}]
        await self.watch(url, channel, {"op": "subscribe", "args": args}, channel)


def open_private(keys: Keys, is_demo: bool, urls: Mapping[str, str]) -> PrivateOkx:
    """ccxt's OKX with keys. urls: `rest` (without /api) and `ws` (without /private) over ccxt's own."""
    exchange = PrivateOkx(
        {"apiKey": keys.api_key, "secret": keys.secret, "password": keys.passphrase, "timeout": TIMEOUT_MS}
    )
    exchange.logger = _mute
    exchange.verbose = False
    # The limits are kept per endpoint and instrument by the caller, as OKX counts them.
    exchange.enableRateLimit = False
    if is_demo:
        exchange.set_sandbox_mode(True)
    exchange.urls["api"] = {**exchange.urls["api"], **urls}
    return exchange
