"""Parity of a bot in the database: its history, its candles, the comparison."""

from functools import partial

import polars as pl

from config.settings import settings
from core.errors import BadInput
from pipelines.backtest.intrabar import TRADES, path_from_warehouse
from pipelines.backtest.parity import ParityReport, compare_history, history_needed
from pipelines.backtest.parity_life import since_change
from pipelines.backtest.result import iso
from pipelines.warehouse.bot_history import BotHistory, read_history
from pipelines.warehouse.bot_starts import read_configurations
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.instruments import read_instruments
from pipelines.warehouse.sql import to_datetime, to_ms


def check_bot(
    database_url: str, name: str, start_ms: int | None = None, end_ms: int | None = None
) -> ParityReport:
    """Replay the bot from its beginning, or from its last change of configuration before `end_ms`, and
    compare what lies between the two times (none: everything).

    BadInput when there is no such bot, it has no signals there, or its configuration changed in between.
    """
    engine = engine_of(database_url)
    history = read_history(engine, name, end_ms)
    if history.signals.is_empty():
        raise BadInput("bot", f"{name} has no signals in that time")
    instrument = read_instruments(engine).get(history.row.symbol)
    lot_size = float(instrument.lot_size) if instrument else 1e-8
    start = None if start_ms is None else to_datetime(start_ms)
    history, changed = since_change(history, read_configurations(engine, history.row), start, lot_size)
    if history.signals.is_empty():
        raise BadInput("bot", f"{name} has judged no candle since its configuration changed")
    before, candle_ms = history_needed(history)
    first_ms = to_ms(history.signals["timestamp"][0]) - before * candle_ms
    last_ms = to_ms(history.last_judged)
    row = history.row
    candles = read_candles(engine, row.symbol, row.timeframe, first_ms, last_ms)
    return compare_history(
        history,
        candles,
        lot_size,
        start,
        None if end_ms is None else to_datetime(end_ms),
        float(instrument.tick_size) if instrument else 1e-8,
        _path(database_url, history, last_ms),
        None if changed is None else iso(changed),
    )


def _path(database_url: str, history: BotHistory, last_ms: int) -> pl.DataFrame | None:
    """The inside of the candles on which the bot judged its orders; minutes where no trades are stored."""
    block = history.row.config.get("execution")
    chosen = "candle" if block is None else block.get("intrabar", TRADES)
    if chosen == "candle":
        return None
    first_ms = to_ms(history.signals["timestamp"][0])
    read = partial(path_from_warehouse, database_url, settings().lake_url, history.row.symbol)
    path = read(chosen, first_ms, last_ms)
    return read("1m", first_ms, last_ms) if path.is_empty() and chosen == TRADES else path
