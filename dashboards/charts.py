"""From a selection to a drawn chart: which bot, which candles, which indicators. Runs in a worker thread."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Engine

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.components import empty, failure
from dashboards.figures.price import price_figure
from dashboards.hub import fill_point
from dashboards.queries import bots as bot_queries
from dashboards.queries import market as market_queries
from dashboards.rows import day_start, epoch_ms, price_decimals
from pipelines.warehouse.candles import read_candles
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.registry import build

LOADED = 400
MOST_FILLS = 5000
"""Marked on a chart: the newest of them."""
MOST_WARM = 5000


@dataclass(frozen=True, slots=True)
class Drawn:
    """figure: for the graph, or None when there is nothing to draw; meta: what the browser needs to keep it
    live; face: what is shown instead of the chart, if anything."""

    figure: dict[str, Any] | None
    meta: dict[str, Any] | None
    face: Any = None


def live_chart(
    engine: Engine, name: str | None, timeframe: str | None, scheme: str | None, exchange_now: datetime
) -> Drawn:
    """The chart of a bot (the first one if none is named) at its timeframe or another one."""
    bot = _bot(engine, name, exchange_now)
    if bot is None:
        return Drawn(
            None, None, empty("No bot is selected", "The chart shows the market of the selected bot.")
        )
    frame = _timeframe(timeframe, bot["timeframe"])
    strategy = _strategy(bot) if frame.value == bot["timeframe"] else None
    history = read_candles(engine, bot["symbol"], frame.value, limit=LOADED + _warm(strategy))
    candles = history.tail(LOADED)
    meta = _meta(engine, bot, frame, candles, exchange_now)
    if candles.is_empty():
        text = "The first one closes within a timeframe of the daemon's start: `tcp up` or `tcp live`."
        return Drawn(None, meta, empty(f"No {frame.value} candles of {bot['symbol']} yet", text))
    first = candles["timestamp"][0] - timedelta(milliseconds=frame.ms)
    newest = bot_queries.fills(engine, bot["id"], MOST_FILLS + 1, span=(first, None))
    if len(newest) > MOST_FILLS:
        meta["note"] = f"the last {MOST_FILLS:,} trades are marked"
    indicators = indicator_frame(strategy, history).tail(candles.height) if strategy else None
    figure = price_figure(
        candles,
        [fill_point(fill) for fill in reversed(newest[:MOST_FILLS])],
        indicators,
        frame.ms,
        meta["decimals"],
        "light" if scheme == "light" else "dark",
        meta["base"],
        meta["quote"],
    )
    figure["layout"]["uirevision"] = f"{bot['name']} {frame.value}"
    return Drawn(figure, meta)


def _bot(engine: Engine, name: str | None, exchange_now: datetime) -> dict[str, Any] | None:
    """The named bot, else the first of all; None where there is none. Reading one costs a fraction of all."""
    today = day_start(exchange_now)
    named = bot_queries.overview(engine, today, name) if name else []
    if named and named[0]["deleted_at"] is None:
        return named[0]
    return next(iter(bot_queries.overview(engine, today)), None)


def indicator_frame(strategy: Strategy, candles: pl.DataFrame) -> pl.DataFrame:
    """timestamp and the strategy's indicators at each candle."""
    return evaluate(strategy, candles).select("timestamp", *strategy.indicator_names)


def _strategy(bot: dict[str, Any]) -> Strategy | None:
    """The bot's strategy, or None when this version cannot build it any more."""
    try:
        return build(bot["strategy_name"], (bot["config"] or {}).get("parameters", {}), bot["timeframe"])
    except BadInput:
        return None


def _warm(strategy: Strategy | None) -> int:
    """Candles before the first shown one that its indicators need."""
    return min(strategy.window, MOST_WARM) if strategy else 0


def chart_failure(error: Exception) -> Any:
    """What the chart's panel shows when it cannot be drawn."""
    return failure("The chart cannot be drawn", error)


def _timeframe(wanted: str | None, own: str) -> Timeframe:
    try:
        return Timeframe(wanted or own)
    except ValueError:
        return Timeframe(own)


def _meta(
    engine: Engine, bot: dict[str, Any], frame: Timeframe, candles: pl.DataFrame, exchange_now: datetime
) -> dict[str, Any]:
    base, _, quote = bot["symbol"].partition("-")
    last = float(candles["close"][-1]) if candles.height else 0.0
    return {
        "bot": bot["name"],
        "symbol": bot["symbol"],
        "timeframe": frame.value,
        "timeframe_ms": frame.ms,
        "bot_timeframe": bot["timeframe"],
        "decimals": price_decimals(bot["tick_size"], last),
        "base": base,
        "quote": quote,
        "last": last,
        "last_ms": epoch_ms(candles["timestamp"][-1]) if candles.height else 0,
        "reference": market_queries.price_at(engine, bot["symbol"], exchange_now - timedelta(days=1)),
    }
