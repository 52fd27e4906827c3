"""Parity of a bot in the database: its history, its candles, the comparison."""

from core.errors import BadInput
from pipelines.backtest.parity import ParityReport, compare_history, history_needed
from pipelines.warehouse.bot_history import read_history
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.instruments import read_instruments
from pipelines.warehouse.sql import to_datetime, to_ms


def check_bot(
    database_url: str, name: str, start_ms: int | None = None, end_ms: int | None = None
) -> ParityReport:
    """Replay the bot from its beginning and compare what lies between the two times (none: everything).

    BadInput when there is no such bot or it has no signals there.
    """
    engine = engine_of(database_url)
    history = read_history(engine, name, end_ms)
    if history.signals.is_empty():
        raise BadInput("bot", f"{name} has no signals in that time")
    before, candle_ms = history_needed(history)
    first_ms = to_ms(history.signals["timestamp"][0]) - before * candle_ms
    last_ms = to_ms(history.signals["timestamp"][-1])
    row = history.row
    candles = read_candles(engine, row.symbol, row.timeframe, first_ms, last_ms)
    instrument = read_instruments(engine).get(row.symbol)
    return compare_history(
        history,
        candles,
        float(instrument.lot_size) if instrument else 1e-8,
        None if start_ms is None else to_datetime(start_ms),
        None if end_ms is None else to_datetime(end_ms),
    )
