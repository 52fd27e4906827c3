"""What an OKX v5 WebSocket frame can say, typed. Numbers are exact; times are ms since the epoch."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from core.instruments import Instrument
from core.trades import Trade


class TradesPush(msgspec.Struct, frozen=True, gc=False):
    """`trades` (aggregated) or `trades-all` (one match each) of one instrument."""

    channel: str
    symbol: str
    trades: Sequence[Trade]


class CandleRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of `candle*` and of the REST candles: open_ms is the OPEN time. Rows of 2022 and before have
    neither `quote_volume` nor `confirm`: they count as running."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    volume_currency: Decimal = Decimal(0)
    quote_volume: Decimal = Decimal(0)
    confirm: Literal["0", "1"] = "0"


class CandlesPush(msgspec.Struct, frozen=True):
    """`candle*`: bar is what follows the word, e.g. 1m or 1Dutc."""

    symbol: str
    bar: str
    rows: list[CandleRow]


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """`tickers`: a side without orders, or a pair never traded, has None."""

    symbol: str
    timestamp_ms: int
    last: Decimal | None
    last_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    bid: Decimal | None
    bid_size: Decimal | None
    open_24h: Decimal | None
    high_24h: Decimal | None
    low_24h: Decimal | None
    volume_24h: Decimal | None


class TickersPush(msgspec.Struct, frozen=True):
    """`tickers` of one instrument."""

    symbol: str
    tickers: list[Ticker]


class Level(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One price level; size 0 in an update removes it."""

    price: Decimal
    size: Decimal
    deprecated: str = "0"
    orders: int = 0


class Book(msgspec.Struct, frozen=True, rename={"timestamp_ms": "ts", "seq_id": "seqId"}):
    """Levels of one push, best first. seq_id and prev_seq_id are None in recordings before 2023."""

    asks: list[Level]
    bids: list[Level]
    timestamp_ms: int
    seq_id: int | None = None
    prev_seq_id: int | None = msgspec.field(default=None, name="prevSeqId")
    checksum: int | None = None


class BookPush(msgspec.Struct, frozen=True):
    """`books`, `books5`, `bbo-tbt`, `books-l2-tbt`, `books50-l2-tbt`. action is `snapshot` for the channels
    that only send whole books."""

    channel: str
    symbol: str
    action: Literal["snapshot", "update"]
    books: list[Book]


class InstrumentsPush(msgspec.Struct, frozen=True):
    """`instruments`: what changed."""

    instruments: list[Instrument]


class StatusPush(msgspec.Struct, frozen=True):
    """`status`: announced maintenance, as the exchange words it."""

    notes: list[dict[str, Any]]


class Ack(msgspec.Struct, frozen=True):
    """The answer to one argument of subscribe or unsubscribe. conn_id exists in newer answers only."""

    event: str
    channel: str
    symbol: str | None
    id: str | None = None
    conn_id: str | None = None


class ErrorFrame(msgspec.Struct, frozen=True):
    """`event: error`, e.g. 60018 for a channel on the wrong URL."""

    code: str
    message: str
    id: str | None = None


class Notice(msgspec.Struct, frozen=True):
    """`event: notice`; code 64008: the connection closes within 60 s."""

    code: str
    message: str


class Pong(msgspec.Struct, frozen=True):
    """The text `pong`."""


class Unknown(msgspec.Struct, frozen=True):
    """A frame that nothing here knows. reason: a short stable text to count by; raw: its first 500 bytes."""

    reason: str
    raw: bytes


Frame = (
    TradesPush
    | CandlesPush
    | TickersPush
    | BookPush
    | InstrumentsPush
    | StatusPush
    | Ack
    | ErrorFrame
    | Notice
    | Pong
    | Unknown
)
