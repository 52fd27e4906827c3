"""Metrics are defined twice, in `core.metrics` and in the dbt models: here they are laid side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isclose
from typing import Any

import numpy as np
from sqlalchemy import Engine

from core.metrics import DAY_MS, cagr, daily_equity, drawdown, of_trades, returns, sharpe, sortino, volatility
from core.timeframes import Timeframe
from pipelines.warehouse.mart_metrics import History, backtest_marts, bot_history, bot_marts

TOLERANCE = 1e-9
"""Relative, and absolute below 1: SQL sums in another order than numpy."""
BACKTESTS = 200
DAYS_A_YEAR = 365
Number = float | int | Decimal | None


@dataclass(frozen=True)
class Difference:
    """One metric of a bot or a backtest that the two definitions tell differently."""

    of: str
    metric: str
    python: Number
    dbt: Number


@dataclass(frozen=True)
class Comparison:
    """bots, backtests and metrics that were compared; differences among them."""

    bots: int
    backtests: int
    metrics: int
    differences: list[Difference]


def compare_definitions(engine: Engine) -> Comparison:
    """Profit, returns, win rate, drawdown, Sharpe and the rest of every bot, and of the newest backtests."""
    bots, runs = bot_marts(engine), backtest_marts(engine, BACKTESTS)
    told = [(f"bot {row['bot_name']}", of_bot(row, _history(engine, row)), row) for row in bots]
    told += [(f"backtest {row['run_id']}", of_backtest(row), row) for row in runs]
    return Comparison(
        len(bots),
        len(runs),
        sum(len(python) for _, python, _ in told),
        [found for of, python, dbt in told for found in _differing(of, python, dbt)],
    )


def of_bot(mart: Mapping[str, Any], history: History) -> dict[str, Number]:
    """A bot's metrics by `core.metrics`, ratios as fractions, money in quote currency.

    mart: only its starting cash and timeframe are taken
    """
    cash, candle_ms = float(mart["cash"]), Timeframe(mart["timeframe"]).ms
    at_ms, value = history.at_ms, history.value
    daily = returns(daily_equity(value, at_ms), cash)
    span = int(at_ms[-1] - at_ms[0]) + candle_ms
    closed = [fill["pnl"] for fill in history.fills if fill["pnl"] is not None]
    trips = of_trades(np.array(closed, dtype=np.float64))
    return {
        "total_return": float(value[-1] / cash - 1),
        "cagr": cagr(float(value[-1] / cash), span) if span >= DAY_MS else None,
        "sharpe": sharpe(daily, DAYS_A_YEAR),
        "sortino": sortino(daily, DAYS_A_YEAR),
        "volatility": volatility(daily, DAYS_A_YEAR),
        "max_drawdown": -drawdown(value, at_ms, cash, candle_ms)[0],
        **{name: trips[name] for name in ("win_rate", "profit_factor", "expectancy")},
        "closed_trades": len(closed),
        "realised_pnl": sum(closed, Decimal(0)),
        "fees": sum((fill["fees"] for fill in history.fills), Decimal(0)),
    }


def of_backtest(row: Mapping[str, Any]) -> dict[str, Number]:
    """What the engine reported of a backtest that the mart calculates too."""
    return {
        "total_return": (row["metrics"] or {}).get("total_return"),
        "pnl": row["final_value"] - row["cash"],
    }


def _history(engine: Engine, mart: Mapping[str, Any]) -> History:
    return bot_history(engine, mart["bot_id"], mart["last_at"], mart["last_fill_at"])


def _differing(of: str, python: Mapping[str, Number], dbt: Mapping[str, Number]) -> Iterator[Difference]:
    for metric, value in python.items():
        if not _equal(value, dbt[metric]):
            yield Difference(of, metric, value, dbt[metric])


def _equal(one: Number, other: Number) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one == other
    return isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
