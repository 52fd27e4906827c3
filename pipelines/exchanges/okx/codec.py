"""WebSocket frames → typed values. No frame raises; an unknown one is counted and handed on as `Unknown`."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import InvalidOperation
from typing import Any

import msgspec
import structlog

from core.trades import Trade
from pipelines.exchanges.okx import wire
from pipelines.exchanges.okx.frames import (
    Ack,
    Book,
    BookPush,
    CandleRow,
    CandlesPush,
    ErrorFrame,
    Frame,
    InstrumentsPush,
    Notice,
    Pong,
    StatusPush,
    TickersPush,
    TradesPush,
    Unknown,
)

_RAW_KEPT = 500
_RAW_LOGGED = 200
_REASONS_KEPT = 200  # garbage can make up reasons without end; further new ones are counted as "other"
_TRADES_PREFIX = b'{"arg":{"channel":"trades",'
_TRADE_CHANNELS = frozenset({"trades", "trades-all"})
# Channels that send whole books carry no `action`.
_BOOK_CHANNELS = frozenset(
    {"books", "books5", "bbo-tbt", "books-l2-tbt", "books50-l2-tbt", "books-elp", "books-rpi"}
)


class _TradesFrame(msgspec.Struct, frozen=True, gc=False):
    # `arg` is left undecoded: each row names its symbol as well.
    data: list[wire.TradeRow]


# OKX quotes every number, hence strict=False. Decimals come straight from the text: no float on the way.
_trades_frame = msgspec.json.Decoder(_TradesFrame, strict=False)
_trade_rows = msgspec.json.Decoder(list[wire.TradeRow], strict=False)
_envelope = msgspec.json.Decoder(wire.Envelope, strict=False)
_candle_rows = msgspec.json.Decoder(list[CandleRow], strict=False)
_ticker_rows = msgspec.json.Decoder(list[wire.TickerRow], strict=False)
_books = msgspec.json.Decoder(list[Book], strict=False)
_instrument_rows = msgspec.json.Decoder(list[wire.InstrumentRow], strict=False)
_notes = msgspec.json.Decoder(list[dict[str, Any]])

_GARBAGE = (msgspec.MsgspecError, InvalidOperation, UnicodeDecodeError, RecursionError)

_log = structlog.get_logger("codec")


def is_trades(raw: bytes) -> bool:
    """Whether a frame is a push of `trades` with the fields in OKX's own order."""
    return raw.startswith(_TRADES_PREFIX)


class Codec:
    """Decodes the frames of one feed. `unknown` counts by reason what it could not."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()

    def decode(self, raw: bytes | str) -> Frame:
        """The frame's meaning. A malformed or unknown frame is an `Unknown`, counted; nothing is raised."""
        data = raw.encode(errors="replace") if isinstance(raw, str) else raw
        try:
            if data == b"pong":
                return Pong()
            frame = _meaning(_envelope.decode(data))
        except _GARBAGE as error:
            frame = _why(error)
        if isinstance(frame, str):
            self._count(frame, data)
            return Unknown(frame, data[:_RAW_KEPT])
        return frame

    def decode_trades(self, pushes: Sequence[bytes]) -> dict[str, list[Trade]]:
        """The trades of many pushes of `trades`, by symbol, each list in the order they came.

        All are decoded in one call, which takes half the time of one call for each; when one of them is
        malformed each is decoded by itself, so that it alone is left out, and counted.
        """
        try:
            frames = _trades_frame.decode_lines(b"\n".join(pushes))
            if len(frames) != len(pushes):
                raise msgspec.ValidationError("a push is not one document")
            rows: Sequence[Trade] = wire.checked([row for frame in frames for row in frame.data])
        except _GARBAGE:
            decoded = [self.decode(raw) for raw in pushes]
            rows = [row for push in decoded if isinstance(push, TradesPush) for row in push.trades]
        by_symbol: defaultdict[str, list[Trade]] = defaultdict(list)
        for row in rows:
            by_symbol[row.symbol].append(row)
        return by_symbol

    def _count(self, reason: str, data: bytes) -> None:
        """Every unknown frame is counted, the first of each reason is also logged."""
        if reason not in self.unknown and len(self.unknown) >= _REASONS_KEPT:
            reason = "other"
        self.unknown[reason] += 1
        if self.unknown[reason] == 1:
            raw = data[:_RAW_LOGGED].decode(errors="replace")
            _log.warning("a frame of the exchange is not known", reason=reason, frame=raw)


def decode_books(data: bytes) -> list[Book]:
    """`data` of a push of books, or of an answer of /market/books. MsgspecError when it is something else."""
    return _books.decode(data)


def _why(error: Exception) -> str:
    """A reason with few distinct values: a field at fault is worth telling apart, a byte position is not."""
    if isinstance(error, msgspec.ValidationError):
        return f"invalid: {error}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return "invalid: not a number" if isinstance(error, InvalidOperation) else "not JSON"


def _meaning(envelope: wire.Envelope) -> Frame | str:
    """The typed value, or the reason why there is none."""
    if envelope.event is not None:
        return _event(envelope.event, envelope)
    if envelope.arg is None:
        return "neither event nor arg"
    if not bytes(envelope.data):
        return f"{envelope.arg.channel} without data"
    return _push(envelope.arg, envelope.data, envelope.action)


def _event(event: str, envelope: wire.Envelope) -> Frame | str:
    if event in {"subscribe", "unsubscribe"} and envelope.arg is not None:
        argument = envelope.arg
        return Ack(event, argument.channel, argument.instId, envelope.id, envelope.connId)
    if event == "error":
        return ErrorFrame(envelope.code or "", envelope.msg, envelope.id)
    if event == "notice":
        return Notice(envelope.code or "", envelope.msg)
    return f"event {event}"


def _push(argument: wire.Argument, data: msgspec.Raw, action: str | None) -> Frame | str:
    channel, symbol = argument.channel, argument.instId or ""
    if channel in _TRADE_CHANNELS:
        return TradesPush(channel, symbol, wire.checked(_trade_rows.decode(data)))
    if channel.startswith("candle"):
        return CandlesPush(symbol, channel.removeprefix("candle"), _candle_rows.decode(data))
    if channel == "tickers":
        return TickersPush(symbol, [row.ticker() for row in _ticker_rows.decode(data)])
    if channel in _BOOK_CHANNELS:
        whole = action is None or action == "snapshot"
        return BookPush(channel, symbol, "snapshot" if whole else "update", decode_books(bytes(data)))
    if channel == "instruments":
        return InstrumentsPush([row.instrument() for row in _instrument_rows.decode(data)])
    if channel == "status":
        return StatusPush(_notes.decode(data))
    return f"channel {channel}"
