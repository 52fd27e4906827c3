"""ccxt's class of an exchange, made exact: no number goes through a float, an odd answer is an error."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import ccxt.pro
import msgspec
import structlog

from core.errors import BadInput
from pipelines.exchanges.ccxt.traits import Traits

TRADES_KEPT = 5_000
"""Trades of a symbol that ccxt keeps until they are looked at."""

# Every number with a point stays the text it was; ccxt's `number` makes a Decimal of it.
_decoder = msgspec.json.Decoder(float_hook=str)

_log = structlog.get_logger("ccxt")


def open_exchange(exchange_id: str, traits: Traits, urls: Mapping[str, str]) -> Any:
    """ccxt's exchange of that id for public data of spot markets. Close it when done.

    `urls` go over those of ccxt by their key (`rest`, `ws`, `public` …, as ccxt's class names them).
    BadInput for an id that ccxt does not know.
    """
    kind = exchange_class(exchange_id)
    exchange = type(f"Exact{kind.__name__}", (_Exact, kind), {})({"number": Decimal})
    exchange.traits = traits
    options = exchange.options
    options["defaultType"] = "spot"
    options["tradesLimit"] = TRADES_KEPT
    markets = options.get("fetchMarkets")
    if isinstance(markets, dict) and "types" in markets:
        options["fetchMarkets"] = {**markets, "types": _only_spot(markets["types"])}
    for name, value in traits.options.items():
        options[name] = {**options.get(name, {}), **value} if isinstance(value, Mapping) else value
    exchange.urls["api"] = {**_by_key(exchange.urls["api"]), **urls}
    return exchange


def exchange_class(exchange_id: str) -> Any:
    """ccxt's class with WebSocket support, else the one with REST only; BadInput when there is neither."""
    if exchange_id in ccxt.pro.exchanges:
        return getattr(ccxt.pro, exchange_id)
    if exchange_id in ccxt.exchanges:
        return getattr(ccxt.async_support, exchange_id)
    raise BadInput(
        "TCP_EXCHANGE",
        f"{exchange_id!r} is not sim, okx or an exchange of ccxt {ccxt.__version__}, such as binance, kraken "
        "or ccxt:okx (`python -c 'import ccxt; print(*ccxt.exchanges)'` lists them)",
    )


class _Exact:
    """Goes before ccxt's class: how texts become values."""

    traits: Traits

    def on_json_response(self, response_body: str) -> Any:
        """JSON of a REST answer."""
        try:
            return _decoder.decode(response_body)
        except msgspec.DecodeError:
            return None

    def parse_ohlcvs(self, ohlcvs: list[Any], *asked: Any, **named: Any) -> Any:
        """ccxt's candles say no more whether they are confirmed; the exchange's rows may."""
        final = self.traits.is_confirmed
        rows = ohlcvs if final is None else [row for row in ohlcvs if final(row)]
        return super().parse_ohlcvs(rows, *asked, **named)  # type: ignore[misc]

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
        """ccxt takes a page of HTML for an answer without rows; it is none."""
        if response is None and code < 400:
            raise ccxt.BadResponse(f"{url}: HTTP {code}, not JSON")
        return super().handle_errors(code, reason, url, method, headers, body, response, *asked)  # type: ignore[misc]

    def client(self, url: str) -> Any:
        """ccxt's connection to that URL, with our reading of its messages."""
        client = super().client(url)  # type: ignore[misc]
        client.handle_text_or_binary_message = partial(_on_message, client, self.traits.consecutive_ids)
        return client


def _on_message(client: Any, is_numbered: bool, data: str | bytes) -> None:
    """An error here would end ccxt's reading of a connection that stays open. A message that nobody can read
    is passed over where a trade in it shows as a hole in the ids; elsewhere it ends the connection, because
    trades are asked for anew after that."""
    text = data.decode(errors="replace") if isinstance(data, bytes) and client.decompressBinary else data
    try:
        is_json = isinstance(text, str) and text[:1] in ("{", "[")
        client.on_message_callback(client, _decoder.decode(text) if is_json else text)
    except Exception as error:
        _log.warning("unreadable message", url=client.url, reason=repr(error))
        if not is_numbered:
            client.on_error(ccxt.BadResponse(f"a message that cannot be read: {error!r}"))


def _only_spot(types: Any) -> Any:
    if isinstance(types, Mapping):
        return {name: wanted and name == "spot" for name, wanted in types.items()}
    return ["spot"] if "spot" in types else types


def _by_key(urls: Any) -> dict[str, Any]:
    return dict(urls) if isinstance(urls, Mapping) else {"rest": urls}
