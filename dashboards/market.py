"""From a symbol, a timeframe and a stretch of time to a drawn chart whose candles fit the pixels. Runs in a
worker thread."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Engine

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.candles import PARTS, beginning, candles_between, newest, newest_candles, parts_with_candles
from dashboards.charts import Drawn
from dashboards.components import empty
from dashboards.figures.price import fitted, price_figure
from dashboards.queries import bots as bot_queries
from dashboards.queries import market as queries
from dashboards.queries.candles import Spans
from dashboards.queries.candles import spans as stored_spans
from dashboards.rows import epoch_ms, price_decimals
from dashboards.theme import Scheme
from strategies.indicators.averages import ema, sma, wma
from strategies.indicators.base import Indicator
from strategies.indicators.momentum import macd, macd_signal, rsi, stochastic_d, stochastic_k
from strategies.indicators.volatility import (
    atr,
    bollinger_lower,
    bollinger_upper,
    donchian_lower,
    donchian_upper,
    keltner_lower,
    keltner_upper,
)
from strategies.indicators.volume import vwap

Made = Mapping[str, Indicator]
View = tuple[float, float]
"""From and to on the time axis, epoch ms."""

LOADED = 500
MOST = 750
"""Candles in view before the next longer timeframe is drawn."""
ASIDE = 0.5
"""Of the view, loaded on either side of it, so that a pan by up to half of it needs no question."""
MOST_INDICATORS = 8
MOST_PERIOD = 1_000

KINDS: dict[str, tuple[int | None, Callable[[int], Made]]] = {
    "sma": (20, lambda n: {f"SMA {n}": sma(n)}),
    "ema": (20, lambda n: {f"EMA {n}": ema(n)}),
    "wma": (20, lambda n: {f"WMA {n}": wma(n)}),
    "vwap": (60, lambda n: {f"VWAP {n}": vwap(n)}),
    "bollinger": (20, lambda n: {f"Upper {n}": bollinger_upper(n), f"Lower {n}": bollinger_lower(n)}),
    "keltner": (20, lambda n: {f"Keltner high {n}": keltner_upper(n), f"Keltner low {n}": keltner_lower(n)}),
    "donchian": (20, lambda n: {f"Highest {n}": donchian_upper(n), f"Lowest {n}": donchian_lower(n)}),
    "rsi": (14, lambda n: {f"RSI {n}": rsi(n)}),
    "atr": (14, lambda n: {f"ATR {n}": atr(n)}),
    "stochastic": (
        14,
        lambda n: {f"Stochastic %K {n}": stochastic_k(n), f"Stochastic %D {n}": stochastic_d(n)},
    ),
    "macd": (None, lambda _: {"MACD": macd(), "MACD signal": macd_signal()}),
}
"""What can be drawn: the usual period (None: it has none to choose) and its lines."""
TEMPLATES = {
    "Trend": ("ema 12", "ema 26", "sma 200"),
    "Bands": ("bollinger 20",),
    "Channel": ("donchian 20", "atr 14"),
    "Momentum": ("rsi 14",),
    "MACD": ("macd",),
}
SUGGESTED = (
    "ema 12",
    "ema 26",
    "ema 50",
    "sma 20",
    "sma 50",
    "sma 200",
    "wma 20",
    "vwap 60",
    "bollinger 20",
    "keltner 20",
    "donchian 20",
    "rsi 14",
    "macd",
    "stochastic 14",
    "atr 14",
)


MOST_DIGITS = 9
"""Of a written period; int() reads none of thousands."""


def indicators_of(asked: Sequence[str]) -> dict[str, Indicator]:
    """The lines of what people wrote: `ema 20`, `rsi`, `bollinger 30`. BadInput says what there is."""
    found: dict[str, Indicator] = {}
    for text in asked[:MOST_INDICATORS]:
        kind, _, rest = text.strip().lower().partition(" ")
        if kind not in KINDS:
            raise BadInput("indicators", f"there is no {kind!r}; there are {', '.join(KINDS)}")
        usual, make = KINDS[kind]
        rest = rest.strip()
        if rest and not (rest.isdecimal() and len(rest) <= MOST_DIGITS):
            raise BadInput("indicators", f"{text!r}: the period must be a whole number, as in {kind} 20")
        period = int(rest) if rest else usual or 1
        if not 1 < period <= MOST_PERIOD and usual is not None:
            raise BadInput("indicators", f"{text!r}: the period must be from 2 to {MOST_PERIOD:,}")
        found |= make(period)
    return found


def resolution(wanted: Timeframe, span_ms: float, most: int = MOST) -> list[Timeframe]:
    """Timeframes to try for a stretch, best first: the wanted one or the next longer that fits the pixels."""
    longer = [frame for frame in Timeframe if frame.ms >= wanted.ms]
    fitting = [frame for frame in longer if span_ms / frame.ms <= most]
    return fitting or [Timeframe.D1]


def market_chart(
    engine: Engine,
    symbol: str,
    timeframe: Timeframe,
    asked: Sequence[str],
    view: View | None,
    scheme: Scheme,
    exchange_now: datetime,
) -> Drawn:
    """The chart of a symbol. view: (from, to) on the time axis, epoch ms; None: the newest candles.

    The browser gets the view and some of what lies on either side of it.
    """
    lines = indicators_of(asked)
    warm = max((line.memory or line.warmup for line in lines.values()), default=0)
    spans = stored_spans(engine, symbol)
    frame, candles = _candles(engine, symbol, timeframe, view, min(warm, 5_000), spans)
    if candles.is_empty():
        text = "Candles come with the daemon (`tcp up`); older ones are fetched on the Data page."
        return Drawn(None, None, empty(f"No {timeframe} candles of {symbol} here", text))
    shown = candles.tail(LOADED) if view is None else _from(candles, _loaded(view)[0])
    values = candles.select("timestamp", *(line.expression.alias(name) for name, line in lines.items()))
    base, _, quote = symbol.partition("-")
    decimals = _decimals(engine, symbol, float(candles["close"][-1]))
    figure = price_figure(
        shown, [], values.tail(shown.height) if lines else None, frame.ms, decimals, scheme, base, quote
    )
    figure["data"] = [trace for trace in figure["data"] if trace["meta"]["kind"] not in ("buy", "sell")]
    figure["layout"]["uirevision"] = f"{symbol} {frame} {view}"
    if view is not None:
        _look_at(figure["layout"], view, shown)
    meta = {
        "symbol": symbol,
        "timeframe": timeframe.value,
        "frame": frame.value,
        "timeframe_ms": frame.ms,
        "decimals": decimals,
        "base": base,
        "quote": quote,
        "reference": queries.price_at(engine, symbol, exchange_now - timedelta(days=1)),
        "lines": len(lines),
        "revision": figure["layout"]["uirevision"],
    }
    return Drawn(figure, meta | _extent(shown, view, frame, spans))


def newest_trades(engine: Engine, symbol: str, since: datetime) -> tuple[list[dict[str, Any]], int]:
    """The newest stored trades of a symbol (`queries.recent_trades`), and the decimals of its prices."""
    trades = queries.recent_trades(engine, symbol, since)
    return trades, _decimals(engine, symbol, float(trades[0]["price"]) if trades else 0.0)


def _decimals(engine: Engine, symbol: str, price: float) -> int:
    instrument = bot_queries.instrument(engine, symbol)
    return price_decimals(instrument["tick_size"] if instrument else None, price)


def _extent(shown: pl.DataFrame, view: View | None, frame: Timeframe, spans: Spans) -> dict[str, Any]:
    """What the browser must know of the stretch that it got, and of the one that is stored (times in ms).

    from, to: what was looked through; first, until: of all that is stored; newest: whether the last candle
    of all is drawn; over: close of the last candle drawn that is over; candle: it, if newest (as
    `hub.candle_point` has it), last: its price
    """
    times = shown["timestamp"].dt.epoch("ms")
    until = newest(spans) or 0
    complete = times[-1] >= until
    start, end = (times[0] - frame.ms, times[-1]) if view is None else _loaded(view)
    return {
        "from": start,
        "to": end,
        "first": beginning(spans),
        "until": until,
        "newest": complete,
        "over": times.filter(times <= until).max(),
        "candle": _last(shown) if complete else None,
        "last": float(shown["close"][-1]) if complete else None,
    }


def _last(candles: pl.DataFrame) -> dict[str, Any]:
    row = candles.row(-1, named=True)
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    return {"t": epoch_ms(row["timestamp"]), **{short: row[name] for short, name in names.items()}}


def _candles(
    engine: Engine, symbol: str, timeframe: Timeframe, view: View | None, warm: int, spans: Spans
) -> tuple[Timeframe, pl.DataFrame]:
    """The candles drawn and those that warm their indicators up; the newest where none are in view."""
    if view is not None:
        found = _in_view(engine, symbol, timeframe, view, warm, spans)
        if found is not None:
            return found
    for frame in resolution(timeframe, 0):
        candles = newest_candles(engine, symbol, frame, LOADED + warm, spans)
        if candles.height:
            return frame, candles
    return timeframe, pl.DataFrame()


def _in_view(
    engine: Engine, symbol: str, timeframe: Timeframe, view: View, warm: int, spans: Spans
) -> tuple[Timeframe, pl.DataFrame] | None:
    """The shortest timeframe, from the wanted one on, that fills the view but for a tenth as well as any, as
    far as anything is stored: old candles of a timeframe may lie alone, with nothing up to its newest."""
    start, end = _loaded(view)
    stored = max(view[0], beginning(spans) or 0), min(view[1], newest(spans) or 0)
    tried = []
    for frame in resolution(timeframe, view[1] - view[0]):
        candles = candles_between(engine, symbol, frame, start - warm * frame.ms, end, spans)
        parts = parts_with_candles(_seen(candles, view), frame, *stored)
        tried.append((parts, frame, candles))
        if parts == PARTS:
            break
    best = max(parts for parts, _, _ in tried)
    enough = max(best - PARTS // 10, 1)
    return next(((frame, candles) for parts, frame, candles in tried if parts >= enough), None)


def _loaded(view: View) -> tuple[int, int]:
    """The stretch that the browser gets for a view."""
    aside = ASIDE * (view[1] - view[0])
    return round(view[0] - aside), round(view[1] + aside)


def _seen(candles: pl.DataFrame, view: View) -> pl.DataFrame:
    return candles.filter(pl.col("timestamp").dt.epoch("ms").is_between(*view))


def _look_at(layout: dict[str, Any], view: View, candles: pl.DataFrame) -> None:
    """Bring a stretch of time into view, its prices and volumes with it."""
    ranges = (list(view), *fitted(_seen(candles, view)))
    for name, found in zip(("xaxis", "yaxis", "yaxis2"), ranges, strict=True):
        layout[name]["range"] = found
    layout["meta"]["view"] = list(view)


def _from(candles: pl.DataFrame, start_ms: float) -> pl.DataFrame:
    """Without the candles that only warm up; all of them if that is all there is."""
    shown = candles.filter(pl.col("timestamp").dt.epoch("ms") >= start_ms)
    return shown if shown.height else candles
