"""How far a backtest can be believed: intervals, p-values, trials, the order of trades, costs."""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.statistics import bootstrap, description
from core.statistics.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from core.statistics.timing import timing_test
from core.statistics.trade_order import trade_order
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import Outcome
from pipelines.backtest.request import Market
from pipelines.validation.costs import cost_sensitivity
from pipelines.validation.periods import Periods, periods_of
from pipelines.validation.trials import Trials
from strategies.base import Strategy

Floats = NDArray[np.float64]
LEAST_PERIODS, LEAST_TRADES = 10, 10
"""Below these a bootstrap would only repeat the few it has."""
NOTHING = 1e-9
"""Part of the cash at the start below which an account has lost everything, but for rounding."""


def validate(
    strategy: Strategy,
    piece: Stretch,
    market: Market,
    outcome: Outcome,
    trials: Trials | None,
    path: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """The `validation` part of a result's document; every number that cannot be had is None.

    path: bars inside the candles, as of the run.

    It runs the strategy three times more, for the costs, and is the same for the same input.
    """
    described = describe(outcome, market, trials)
    return described | {"costs": cost_sensitivity(strategy, piece, market, path)}


def describe(outcome: Outcome, market: Market, trials: Trials | None) -> dict[str, Any]:
    """All of it that needs no further run of the strategy."""
    periods = periods_of(outcome.equity, market.cash, market.candle_ms)
    pnl = outcome.trades["pnl"].to_numpy()
    before = market.cash + np.concatenate(([0.0], np.cumsum(pnl)))[:-1]
    gains = np.divide(pnl, before, out=np.zeros(pnl.size), where=before > NOTHING * market.cash)
    length = bootstrap.optimal_block_length(periods.returns)
    ordered = trade_order(gains)
    tested = timing_test(*_positions(outcome, market))
    held = (outcome.trades["exit_time"] - outcome.trades["entry_time"]).dt.total_milliseconds() / 1000
    return {
        "confidence": bootstrap.CONFIDENCE,
        "resamples": bootstrap.RESAMPLES,
        "returns": {
            "period": periods.unit,
            "observations": int(periods.returns.size),
            "block_length": length,
        },
        "intervals": intervals(periods, pnl, length),
        "sharpe": sharpe_of(periods, trials),
        "timing": asdict(tested) if tested else None,
        "trade_order": asdict(ordered) if ordered else None,
        "details": {
            "returns": description.of_returns(periods.returns),
            "market": description.of_market(periods.returns, periods.market, periods.a_year),
            "trades": description.of_trades(pnl, held.to_numpy()),
        },
    }


def intervals(periods: Periods, pnl: Floats, block_length: float) -> dict[str, list[float] | None]:
    """95 % stationary-bootstrap intervals of sharpe, total_return and max_drawdown from the periodic returns,
    of win_rate from the trades in their order."""
    found: dict[str, list[float] | None] = dict.fromkeys(
        ("sharpe", "total_return", "max_drawdown", "win_rate")
    )
    if periods.returns.size >= LEAST_PERIODS:
        drawn = bootstrap.resample(
            periods.returns,
            {
                "sharpe": bootstrap.sharpe_of(periods.a_year),
                "total_return": bootstrap.total_return_of,
                "max_drawdown": bootstrap.max_drawdown_of,
            },
            block_length,
        )
        found |= {name: _pair(bootstrap.interval(values)) for name, values in drawn.items()}
    if pnl.size >= LEAST_TRADES:
        won = (pnl > 0).astype(np.float64)
        drawn = bootstrap.resample(
            won, {"win_rate": bootstrap.win_rate_of}, bootstrap.optimal_block_length(won)
        )
        found["win_rate"] = _pair(bootstrap.interval(drawn["win_rate"]))
    return found


def sharpe_of(periods: Periods, trials: Trials | None) -> dict[str, float | int | None]:
    """What the Sharpe ratio of the periodic returns is worth; ratios annual, probabilities 0 … 1.

    value · probabilistic: that the true one is above 0 · deflated: the same after the trials · trials,
    trials_deviation · expected_maximum: what luck finds in so many · track_record_days and how many are
    needed for 95 %
    """
    measured = moments(periods.returns)
    a_year, n = periods.a_year, periods.returns.size
    found: dict[str, float | int | None] = {"value": None, "probabilistic": None, "deflated": None}
    found |= {"trials": trials.count if trials else None, "trials_deviation": None, "expected_maximum": None}
    found |= {"track_record_days": 365 * n / a_year, "minimum_track_record_days": None}
    if measured is None:
        return found
    yearly = float(np.sqrt(a_year))
    needed = minimum_track_record(measured)
    found |= {"value": measured.sharpe * yearly, "probabilistic": probabilistic_sharpe(measured)}
    found["minimum_track_record_days"] = None if needed is None else 365 * needed / a_year
    if trials is not None:
        deviation = trials.deviation_per_period(a_year, n)
        found["trials_deviation"] = deviation * yearly
        found["expected_maximum"] = expected_maximum_sharpe(trials.count, deviation) * yearly
        found["deflated"] = deflated_sharpe(measured, trials.count, deviation)
    return found


def _positions(outcome: Outcome, market: Market) -> tuple[Floats, Floats]:
    """(1 where a position was held over the candle, the market's return over it), the first candle left out,
    which has no close before it."""
    labels = outcome.equity["timestamp"].dt.epoch("ms").to_numpy()
    opened = labels - market.candle_ms
    entries, exits = (outcome.trades[name].dt.epoch("ms").to_numpy() for name in ("entry_time", "exit_time"))
    begun = np.searchsorted(entries, opened, side="right")
    over = np.searchsorted(exits, opened, side="right")
    close = outcome.equity["close"].to_numpy()
    return (begun - over)[1:].astype(np.float64), close[1:] / close[:-1] - 1


def _pair(found: tuple[float, float] | None) -> list[float] | None:
    return list(found) if found else None
