"""OKX's JSON as it is on the wire, where it differs from the typed values, and how one becomes the other."""

from decimal import Decimal

import msgspec

from core.instruments import Instrument
from core.trades import Side, Trade
from pipelines.exchanges.okx.frames import Ticker

_ZERO, _INFINITY = Decimal(0), Decimal("Infinity")


class TradeRow(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "symbol": "instId",
        "trade_id": "tradeId",
        "price": "px",
        "size": "sz",
        "timestamp_ms": "ts",
    },
):
    """A trade of `trades`, `trades-all`, /market/trades or /market/history-trades. Oldest lack `count`."""

    symbol: str
    trade_id: int
    price: Decimal
    size: Decimal
    side: Side
    timestamp_ms: int
    count: int = 1


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


def trades(rows: list[TradeRow], source: str) -> list[Trade]:
    """Wire rows as domain trades, in the order given. ValidationError for one whose price or size is not a
    finite number above 0: JSON text can say NaN."""
    for row in rows:
        if not (_ZERO < row.price < _INFINITY and _ZERO < row.size < _INFINITY):
            raise msgspec.ValidationError("price or size is not above 0")
    return [
        Trade(row.symbol, row.trade_id, row.timestamp_ms, row.price, row.size, row.side, row.count, source)
        for row in rows
    ]


def _optional(text: str) -> Decimal | None:
    return Decimal(text) if text else None
