"""What a bot said and did, read back: for parity with a backtest."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Select, Table, func, or_, select

from pipelines.warehouse.bots import BotRow, find_bot
from pipelines.warehouse.sql import to_datetime, to_ms
from pipelines.warehouse.tables import bot_performance, bot_starts, bots, orders, signals, trades

_TIME = pl.Datetime("us", "UTC")
_SIGNALS = {
    "timestamp": _TIME,
    "signal_type": pl.String,
    "price": pl.Float64,
    "confidence": pl.Float64,
    "indicators": pl.Object,
    "is_kept": pl.Boolean,
}
_ORDERS = {
    "timestamp": _TIME,
    "side": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "oco": pl.String,
}
_FILLS = {
    "timestamp": _TIME,
    "side": pl.String,
    "order_type": pl.String,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "fees": pl.Float64,
    "pnl": pl.Float64,
}
_VALUES = {"timestamp": _TIME, "total_value": pl.Float64, "crypto_balance": pl.Float64}
_STARTS = {"timestamp": _TIME, "after_candle": _TIME}


@dataclass(frozen=True)
class BotHistory:
    """Frames, oldest first; amounts as floats, times in UTC.

    signals: timestamp, signal_type, price, confidence, indicators (a mapping each), is_kept (an order or a
    fill is of it: `tcp data prune` never drops it, whatever its type) · orders: timestamp (the decision's),
    side, status, reason, oco (of protective ones) · fills: timestamp, side, order_type, price, quantity
    (before the fee), fees, pnl · values: timestamp, total_value and crypto_balance (quote currency) at the
    close of each judged candle · starts: timestamp of the candle at which it began, after_candle (the last
    one judged before)
    is_cut: it begins in the middle of the bot's life, whose limits remember what was before
    """

    row: BotRow
    signals: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    values: pl.DataFrame
    starts: pl.DataFrame
    is_cut: bool = field(default=False, kw_only=True)

    @property
    def last_judged(self) -> datetime:
        """Close of the newest candle it judged: that of a snapshot where the signal was pruned. There
        has to be a signal."""
        newest: datetime = self.signals["timestamp"][-1]
        return newest if self.values.is_empty() else max(newest, self.values["timestamp"][-1])


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
    is_kept = or_(
        *(select(table.c.id).where(table.c.signal_id == signals.c.id).exists() for table in (orders, trades))
    )
    said = [signals.c[name] for name in _SIGNALS if name in signals.c]
    parts = (
        (signals, select(*said, is_kept.label("is_kept")), _SIGNALS),
        (orders, select(*(orders.c[name] for name in _ORDERS)), _ORDERS),
        (trades, filled, _FILLS),
        (bot_performance, select(*(bot_performance.c[name] for name in _VALUES)), _VALUES),
        (bot_starts, select(*(bot_starts.c[name] for name in _STARTS)), _STARTS),
    )
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        read = [
            _frame(connection, statement.where(table.c.bot_id == row.id), table, schema, end_ms)
            for table, statement, schema in parts
        ]
    return BotHistory(row, *read)


def last_judged_ms(engine: Engine) -> int | None:
    """Close of the newest candle that any bot judged, by the exchange's time; None when none did."""
    with engine.connect() as connection:
        newest: datetime | None = connection.execute(
            select(
                func.max(
                    select(func.max(signals.c.timestamp))
                    .where(signals.c.bot_id == bots.c.id)
                    .scalar_subquery()
                )
            )
        ).scalar_one()
    return None if newest is None else to_ms(newest)


def judged_between(engine: Engine, start_ms: int, end_ms: int) -> list[str]:
    """Names of the bots that judged a candle closing in that time, both ends included."""
    judged = select(signals.c.id).where(
        signals.c.bot_id == bots.c.id,
        signals.c.timestamp.between(to_datetime(start_ms), to_datetime(end_ms)),
    )
    with engine.connect() as connection:
        return list(
            connection.execute(select(bots.c.name).where(judged.exists()).order_by(bots.c.name)).scalars()
        )


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
