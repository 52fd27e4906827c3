"""What the marts say of bots and runs, and the rows that they say it of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from pipelines.warehouse.sql import to_datetime

Mart = Literal[
    "backtest_versus_live",
    "bot_costs_daily",
    "bot_daily_pnl",
    "bot_exposure_daily",
    "bot_leaderboard",
    "portfolio_daily",
    "strategy_leaderboard",
    "sweep_summary",
]

_BUILT = text("SELECT to_regclass('marts.bot_risk') IS NOT NULL")
_BOTS = text("""
    SELECT r.*, s.win_rate, s.profit_factor, s.expectancy, s.closed_trades, s.fees, s.realised_pnl,
           s.last_fill_at, b.timeframe, b.virtual_balance AS cash, b.strategy_name
    FROM marts.bot_risk AS r
    JOIN marts.bot_trade_statistics AS s ON s.bot_id = r.bot_id
    JOIN bots AS b ON b.id = r.bot_id
    ORDER BY r.bot_name
""")
_SNAPSHOTS = text("""
    SELECT (extract(epoch FROM timestamp) * 1000)::bigint AS at_ms, total_value::float8 AS value,
           crypto_balance::float8 AS coins
    FROM bot_performance WHERE bot_id = :bot_id AND timestamp <= :until ORDER BY timestamp
""")
_VALUES = text("""
    SELECT total_value FROM bot_performance
    WHERE bot_id = :bot_id AND timestamp = ANY(:times) ORDER BY timestamp
""")
_FILLS = text("""
    SELECT (extract(epoch FROM timestamp) * 1000)::bigint AS at_ms, fees, pnl,
           (price * quantity)::numeric(38, 18) AS value
    FROM trades WHERE bot_id = :bot_id AND timestamp <= :until ORDER BY timestamp, id
""")
_COMBINATIONS = text("""
    SELECT (metrics ->> 'sharpe')::float8 AS sharpe, (metrics ->> 'total_return')::float8 AS earned
    FROM sweep_results WHERE sweep_id = :sweep_id ORDER BY n
""")
_WALKED = text("SELECT (parameters ->> 'combinations')::bigint FROM strategy_runs WHERE id = :sweep_id")
_OF_RUNS = {
    "backtest": text("""
        SELECT m.*, r.metrics, r.final_value AS ended_with, r.initial_cash::float8 AS cash
        FROM marts.backtest_summary AS m JOIN strategy_runs AS r ON r.id = m.run_id
        ORDER BY m.created_at DESC
    """),
    "walk-forward": text("""
        SELECT m.*, r.metrics,
               ARRAY(SELECT w.train_metrics FROM walk_forward_windows AS w WHERE w.run_id = r.id) AS trained,
               ARRAY(SELECT w.test_metrics FROM walk_forward_windows AS w WHERE w.run_id = r.id) AS tested
        FROM marts.walk_forward_summary AS m JOIN strategy_runs AS r ON r.id = m.run_id
        ORDER BY m.created_at DESC
    """),
}


@dataclass(frozen=True)
class History:
    """A bot's snapshots and fills as stored, up to what the marts have seen.

    at_ms, value, coins: close of the judged candle, total value and what of it is in coins, quote currency
    fills: at_ms, value, fees and, of sells, pnl
    """

    at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    coins: NDArray[np.float64]
    fills: list[dict[str, Any]]


def are_built(engine: Engine) -> bool:
    """Whether any build has made the marts."""
    with engine.connect() as connection:
        return bool(connection.scalar(_BUILT))


def bot_marts(engine: Engine) -> list[dict[str, Any]]:
    """A row a bot with snapshots, of bot_risk and bot_trade_statistics."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_BOTS).mappings()]


def mart_rows(engine: Engine, mart: Mart) -> list[dict[str, Any]]:
    """All rows of a mart that has few."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM marts.{mart}")).mappings()]  # noqa: S608 - one of `Mart`


def bot_history(engine: Engine, bot_id: int, last_at: datetime, last_fill_at: datetime | None) -> History:
    """What the daemon stored of a bot up to these times."""
    with engine.connect() as connection:
        rows = connection.execute(_SNAPSHOTS, {"bot_id": bot_id, "until": last_at}).all()
        fills = connection.execute(_FILLS, {"bot_id": bot_id, "until": last_fill_at}).mappings()
        return History(
            np.array([row.at_ms for row in rows], dtype=np.int64),
            np.array([row.value for row in rows], dtype=np.float64),
            np.array([row.coins for row in rows], dtype=np.float64),
            [dict(fill) for fill in fills],
        )


def exact_values(engine: Engine, bot_id: int, at_ms: Sequence[int]) -> list[Decimal]:
    """A bot's values at the times of some of its snapshots, ascending."""
    times = [to_datetime(moment) for moment in at_ms]
    with engine.connect() as connection:
        rows = connection.execute(_VALUES, {"bot_id": bot_id, "times": times})
        return [row.total_value for row in rows]


def run_marts(engine: Engine, kind: Literal["backtest", "walk-forward"]) -> list[dict[str, Any]]:
    """The finished runs of a kind, as the mart and as the engine tell them, the newest first."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_OF_RUNS[kind]).mappings()]


def sweep_rows(engine: Engine, sweep_id: str) -> tuple[int | None, list[tuple[float | None, float | None]]]:
    """How many combinations a sweep walked, None where that was not written down; Sharpe ratio and return of
    each that was kept, by its place."""
    with engine.connect() as connection:
        walked: int | None = connection.scalar(_WALKED, {"sweep_id": sweep_id})
        rows = connection.execute(_COMBINATIONS, {"sweep_id": sweep_id})
        return walked, [(row.sharpe, row.earned) for row in rows]
