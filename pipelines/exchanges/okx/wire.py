"""OKX's JSON as it is on the wire, where it differs from the typed values, and how one becomes the other."""

from decimal import Decimal
from typing import Annotated

import msgspec

from core.instruments import Instrument
from core.trades import Side, Trade
from pipelines.exchanges.okx.frames import Ticker

_ZERO, _TOO_LARGE = Decimal(0), Decimal(10) ** 20
"""Prices and sizes lie between: what the database's NUMERIC(38, 18) holds."""
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999: what a date can hold."""

Id = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]


class TradeRow(
    Trade,
    frozen=True,
    gc=False,
    rename={
        "symbol": "instId",
        "trade_id": "tradeId",
        "price": "px",
        "size": "sz",
        "timestamp_ms": "ts",
        "source": "-",
    },
):
    """A trade of `trades`, `trades-all`, /market/trades or /market/history-trades. Oldest lack `count`.

    Decoding makes the domain's trade itself: a second object for each costs as much as half the decoding.
    The fields are those of `Trade`, named again because renaming is for a class's own fields; OKX's `source`
    (the kind of order book) is not ours (how the trade came), hence the name that no field has.
    """

    symbol: str
    trade_id: Id
    timestamp_ms: Milliseconds
    price: Decimal
    size: Decimal
    side: Side
    count: Count = 1
    source: str = "websocket"


class Argument(msgspec.Struct, frozen=True):
    """`arg` of a push or an acknowledgement."""

    channel: str = ""
    instId: str | None = None
    instType: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The outside of any JSON frame; `data` stays undecoded until the channel is known."""

    event: str | None = None
    arg: Argument | None = None
    action: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    code: str | None = None
    msg: str = ""
    id: str | None = None
    connId: str | None = None


class TickerRow(msgspec.Struct, frozen=True):
    """A row of `tickers`: text, because a missing side is an empty string."""

    instId: str
    ts: int
    last: str = ""
    lastSz: str = ""
    askPx: str = ""
    askSz: str = ""
    bidPx: str = ""
    bidSz: str = ""
    open24h: str = ""
    high24h: str = ""
    low24h: str = ""
    vol24h: str = ""

    def ticker(self) -> Ticker:
        """The typed value."""
        return Ticker(
            symbol=self.instId,
            timestamp_ms=self.ts,
            last=_optional(self.last),
            last_size=_optional(self.lastSz),
            ask=_optional(self.askPx),
            ask_size=_optional(self.askSz),
            bid=_optional(self.bidPx),
            bid_size=_optional(self.bidSz),
            open_24h=_optional(self.open24h),
            high_24h=_optional(self.high24h),
            low_24h=_optional(self.low24h),
            volume_24h=_optional(self.vol24h),
        )


class InstrumentRow(msgspec.Struct, frozen=True):
    """A row of /public/instruments or of the `instruments` channel. Derivatives have no base and quote."""

    instId: str
    tickSz: Decimal
    lotSz: Decimal
    minSz: Decimal
    state: str
    baseCcy: str = ""
    quoteCcy: str = ""

    def instrument(self) -> Instrument:
        """The domain's record."""
        return Instrument(
            symbol=self.instId,
            base=self.baseCcy,
            quote=self.quoteCcy,
            tick_size=self.tickSz,
            lot_size=self.lotSz,
            min_size=self.minSz,
            state=self.state,
        )


def checked(rows: list[TradeRow]) -> list[TradeRow]:
    """The rows. ValidationError for one whose price or size is not above 0, or larger than the database
    holds: JSON text can say NaN."""
    for row in rows:
        if not (_ZERO < row.price < _TOO_LARGE and _ZERO < row.size < _TOO_LARGE):
            raise msgspec.ValidationError("price or size is not above 0, or too large")
    return rows


def requested(rows: list[TradeRow]) -> list[Trade]:
    """Rows of a REST answer as trades, checked, in the order given."""
    return [
        Trade(row.symbol, row.trade_id, row.timestamp_ms, row.price, row.size, row.side, row.count, "rest")
        for row in checked(rows)
    ]


def _optional(text: str) -> Decimal | None:
    return Decimal(text) if text else None
