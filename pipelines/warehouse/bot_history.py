"""What a bot said and did, read back: for parity with a backtest."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Select, Table, select

from pipelines.warehouse.bots import BotRow, find_bot
from pipelines.warehouse.sql import to_datetime
from pipelines.warehouse.tables import bot_performance, orders, signals, trades

_TIME = pl.Datetime("us", "UTC")
_SIGNALS = {
    "timestamp": _TIME,
    "signal_type": pl.String,
    "price": pl.Float64,
    "confidence": pl.Float64,
    "indicators": pl.Object,
}
_ORDERS = {"timestamp": _TIME, "side": pl.String, "status": pl.String, "reason": pl.String}
_FILLS = {
    "timestamp": _TIME,
    "side": pl.String,
    "order_type": pl.String,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "fees": pl.Float64,
    "pnl": pl.Float64,
}
_VALUES = {"timestamp": _TIME, "total_value": pl.Float64}


@dataclass(frozen=True)
class BotHistory:
    """Frames, oldest first; amounts as floats, times in UTC.

    signals: timestamp, signal_type, price, confidence, indicators (a mapping each) · orders: timestamp (the
    decision's), side, status, reason · fills: timestamp, side, order_type, price, quantity (before the fee),
    fees, pnl · values: timestamp, total_value at the close of each judged candle
    """

    row: BotRow
    signals: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    values: pl.DataFrame


def read_history(engine: Engine, name: str, end_ms: int | None = None) -> BotHistory:
    """A bot's whole history, to the candle that closes at `end_ms`, in one snapshot of the database.

    BadInput when there is no such bot.
    """
    row = find_bot(engine, name)
    filled = select(
        trades.c.timestamp,
        trades.c.side,
        orders.c.order_type,
        trades.c.price,
        trades.c.quantity,
        trades.c.fees,
        trades.c.pnl,
    ).join_from(trades, orders, trades.c.order_id == orders.c.id)
    parts = (
        (signals, select(*(signals.c[name] for name in _SIGNALS)), _SIGNALS),
        (orders, select(*(orders.c[name] for name in _ORDERS)), _ORDERS),
        (trades, filled, _FILLS),
        (bot_performance, select(*(bot_performance.c[name] for name in _VALUES)), _VALUES),
    )
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        read = [
            _frame(connection, statement.where(table.c.bot_id == row.id), table, schema, end_ms)
            for table, statement, schema in parts
        ]
    return BotHistory(row, *read)


def _frame(
    connection: Connection, statement: Select[Any], table: Table, schema: dict[str, Any], end_ms: int | None
) -> pl.DataFrame:
    if end_ms is not None:
        statement = statement.where(table.c.timestamp <= to_datetime(end_ms))
    order = [table.c.timestamp, *(table.c[name] for name in ("id",) if name in table.c)]
    rows = [
        [float(value) if isinstance(value, Decimal) else value for value in row]
        for row in connection.execute(statement.order_by(*order))
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")
