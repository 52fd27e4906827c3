"""What the marts say of each bot, and the rows of the daemon that they say it of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

_BUILT = text("SELECT to_regclass('marts.bot_risk') IS NOT NULL")
_MARTS = text("""
    SELECT r.*, s.win_rate, s.profit_factor, s.expectancy, s.closed_trades, s.fees, s.realised_pnl,
           s.last_fill_at, b.timeframe, b.virtual_balance AS cash
    FROM marts.bot_risk AS r
    JOIN marts.bot_trade_statistics AS s ON s.bot_id = r.bot_id
    JOIN bots AS b ON b.id = r.bot_id
    ORDER BY r.bot_name
""")
_SNAPSHOTS = text("""
    SELECT (extract(epoch FROM timestamp) * 1000)::bigint AS at_ms, total_value::float8 AS value
    FROM bot_performance WHERE bot_id = :bot_id AND timestamp <= :until ORDER BY timestamp
""")
_FILLS = text("""
    SELECT fees, pnl FROM trades WHERE bot_id = :bot_id AND timestamp <= :until ORDER BY timestamp, id
""")
_RUNS = text("""
    SELECT m.run_id, m.total_return, m.pnl::float8 AS pnl, r.metrics, r.final_value,
           r.initial_cash::float8 AS cash
    FROM marts.backtest_summary AS m JOIN strategy_runs AS r ON r.id = m.run_id
    ORDER BY m.created_at DESC LIMIT :limit
""")


@dataclass(frozen=True)
class History:
    """A bot's snapshots and fills as stored, up to what the marts have seen.

    at_ms, value: close of the judged candle and total value, quote currency; fills: fees and, of sells, pnl
    """

    at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    fills: list[dict[str, Any]]


def bot_marts(engine: Engine) -> list[dict[str, Any]]:
    """A row a bot with snapshots, of bot_risk and bot_trade_statistics; none before the first build."""
    with engine.connect() as connection:
        if not connection.scalar(_BUILT):
            return []
        return [dict(row) for row in connection.execute(_MARTS).mappings()]


def bot_history(engine: Engine, bot_id: int, last_at: datetime, last_fill_at: datetime | None) -> History:
    """What the daemon stored of a bot up to these times."""
    with engine.connect() as connection:
        rows = connection.execute(_SNAPSHOTS, {"bot_id": bot_id, "until": last_at}).all()
        fills = connection.execute(_FILLS, {"bot_id": bot_id, "until": last_fill_at}).mappings()
        return History(
            np.array([row.at_ms for row in rows], dtype=np.int64),
            np.array([row.value for row in rows], dtype=np.float64),
            [dict(fill) for fill in fills],
        )


def backtest_marts(engine: Engine, limit: int) -> list[dict[str, Any]]:
    """The newest finished backtests, as the mart and as the engine tell them."""
    with engine.connect() as connection:
        if not connection.scalar(_BUILT):
            return []
        return [dict(row) for row in connection.execute(_RUNS, {"limit": limit}).mappings()]
