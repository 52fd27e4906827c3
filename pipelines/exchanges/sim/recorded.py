"""Recorded files as a market: the trades as they were, or trades made of recorded candles."""

import numpy as np

from core.errors import BadInput
from pipelines.exchanges.sim import recorded_files
from pipelines.exchanges.sim.days import DAY_MS, DayTrades, Ints, no_trades
from pipelines.exchanges.sim.recorded_files import CandleRows, Labels, TradeRows
from pipelines.exchanges.sim.specs import SymbolSpec

_END_MARGIN_MS = 120_000  # virtual time goes this far past the last trade, so that its candle closes
_LOT_DECIMALS = 6


class RecordedMarket:
    """The market of some files (`PATH` or `SYMBOL=PATH`), each of trades or of candles.

    Trades keep their ids; those without are numbered from 1. Ids rule: a trade never happens before the one
    with the lower id, and of two with one id the first counts. A candle becomes up to four trades at its
    open, low and high (high first when it fell) and close, which together are exactly that candle.
    """

    def __init__(self, sources: tuple[str, ...], labels: Labels = "close") -> None:
        parts: dict[str, list[TradeRows | CandleRows]] = {}
        for source in sources:
            for symbol, rows in recorded_files.read(source, labels).items():
                parts.setdefault(symbol, []).append(rows)
        self.specs: dict[str, SymbolSpec] = {}
        self._all: dict[str, DayTrades] = {}
        for symbol, pieces in parts.items():
            self.specs[symbol], self._all[symbol] = _combine(symbol, pieces)

    def natural_start_ms(self) -> int | None:
        """Just before the first trade of all."""
        return min(int(trades.ts[0]) for trades in self._all.values()) - 1

    def first_ms(self, symbol: str) -> int:
        """Time of the symbol's first trade."""
        return int(self._all[symbol].ts[0])

    def end_ms(self) -> int:
        """When nothing happens any more."""
        return max(int(trades.ts[-1]) for trades in self._all.values()) + _END_MARGIN_MS

    def day(self, symbol: str, day: int) -> DayTrades:
        """The recorded trades of a UTC day (days since 1970)."""
        trades = self._all[symbol]
        start, stop = np.searchsorted(trades.ts, (day * DAY_MS, (day + 1) * DAY_MS))
        return trades.part(int(start), int(stop)) if stop > start else no_trades()

    def day_of_id(self, symbol: str, trade_id: int) -> int:
        """The day of the newest trade whose id is not above `trade_id`."""
        trades = self._all[symbol]
        place = int(np.searchsorted(trades.ids, trade_id, side="right")) - 1
        return int(trades.ts[place]) // DAY_MS if place >= 0 else int(trades.ts[0]) // DAY_MS - 1


def _combine(symbol: str, pieces: list[TradeRows | CandleRows]) -> tuple[SymbolSpec, DayTrades]:
    trades = [piece for piece in pieces if isinstance(piece, TradeRows)]
    candles = [piece for piece in pieces if isinstance(piece, CandleRows)]
    if trades and candles:
        raise BadInput("source", f"{symbol}: files of trades and of candles cannot be mixed")
    prices = [piece.price for piece in trades] + [column for piece in candles for column in piece.prices]
    sizes = [piece.size for piece in trades] + [piece.volume for piece in candles]
    tick = max(column.decimals for column in prices)
    lot = max(column.decimals for column in sizes)
    if candles:
        lot = max(lot + 1, _LOT_DECIMALS)  # so that the smallest volume can be split over four trades
    rows = _from_trades(trades, tick, lot) if trades else _from_candles(candles, tick, lot)
    mean = float(rows.size.mean()) / 10**lot
    return SymbolSpec(symbol, tick, lot, 1, mean_size=mean), rows


def _from_trades(pieces: list[TradeRows], tick: int, lot: int) -> DayTrades:
    ts = np.concatenate([piece.timestamp_ms for piece in pieces])
    price = np.concatenate([piece.price.at(tick) for piece in pieces])
    size = np.concatenate([piece.size.at(lot) for piece in pieces])
    given = [piece.ids for piece in pieces if piece.ids is not None]
    ids = np.concatenate(given) if len(given) == len(pieces) else None
    order = np.argsort(ts if ids is None else ids, kind="stable")
    if ids is not None:
        fresh = np.diff(ids[order], prepend=ids[order][0] - 1) != 0
        order = order[fresh]
    ts, price, size = np.maximum.accumulate(ts[order]), price[order], size[order]
    numbers = np.arange(1, len(ts) + 1, dtype=np.int64) if ids is None else ids[order]
    sides = [piece.buy for piece in pieces if piece.buy is not None]
    known = len(sides) == len(pieces)
    buy = np.concatenate(sides)[order] if known else np.diff(price, prepend=price[0]) >= 0
    # matches of one instant and side were one taker order; a hole in the ids ends it
    opens = np.ones(len(ts), np.bool_)
    opens[1:] = (ts[1:] != ts[:-1]) | (buy[1:] != buy[:-1]) | (np.diff(numbers) != 1)
    return DayTrades(numbers, ts, price, size, buy, opens)


def _from_candles(pieces: list[CandleRows], tick: int, lot: int) -> DayTrades:
    rows = [_piece_trades(piece, tick, lot) for piece in pieces]
    ts, price, size = (np.concatenate([row[column] for row in rows]) for column in range(3))
    order = np.argsort(ts, kind="stable")
    ts, price, size = ts[order], price[order], size[order]
    ids = np.arange(1, len(ts) + 1, dtype=np.int64)
    buy = np.diff(price, prepend=price[0]) >= 0
    return DayTrades(ids, ts, price, size, buy, np.ones(len(ts), np.bool_))


def _piece_trades(piece: CandleRows, tick: int, lot: int) -> tuple[Ints, Ints, Ints]:
    open_, high, low, close = (column.at(tick) for column in piece.prices)
    volume = piece.volume.at(lot)
    rose = close >= open_
    price = np.stack([open_, np.where(rose, low, high), np.where(rose, high, low), close], axis=1)
    quarter = volume // 4
    size = np.stack([volume - 3 * quarter, quarter, quarter, quarter], axis=1)
    last = piece.interval_ms - 1
    ts = piece.open_ms[:, None] + np.array([0, last // 3, 2 * last // 3, last])
    traded = size > 0  # a candle without volume is a candle without trades
    return ts[traded], price[traded], size[traded]
