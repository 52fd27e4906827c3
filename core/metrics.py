"""What a run was worth: metrics from an equity curve and its round trips, each with its formula.

Ratios are fractions (0.05 is 5 %), money is quote currency, time is seconds. A metric that is undefined (no
trades, no movement, too few days) is None, never NaN or infinite. What lost everything has a total return,
a CAGR and a drawdown of −1, and returns of 0 from then on.

E_t is the equity at the close of candle t, E_−1 the initial cash, r_t = E_t / E_{t−1} − 1. A day's equity is
that of its last candle (UTC; a candle that closes at midnight belongs to the day before), d_k its daily
returns, the first against the initial cash.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
FLAT = 1e-15
"""Deviation of equal returns, which differ by their rounding, about 1e-16 of 1."""

METRICS = (
    "total_return",
    "cagr",
    "sharpe",
    "sharpe_bar",
    "sortino",
    "calmar",
    "volatility",
    "max_drawdown",
    "max_drawdown_duration",
    "win_rate",
    "profit_factor",
    "expectancy",
    "sqn",
    "exposure",
    "turnover",
    "fees",
    "trades",
    "closed_trades",
    "buy_and_hold_return",
)


@dataclass(frozen=True)
class Run:
    """What the metrics need of a run.

    equity: at each candle's close, quote currency; close: the candles' closes; close_ms: their labels
    held: candles at whose close a position was held; candle_ms: length of a candle
    pnl: of each round trip after fees, quote currency, one that is still open valued at the last close
    closed: how many of them were closed; fees: all of them; traded: value of all fills
    """

    initial_cash: float
    equity: Floats
    close: Floats
    close_ms: Ints
    candle_ms: int
    held: int
    pnl: Floats
    closed: int
    fees: float
    traded: float


def summarise(run: Run) -> dict[str, float | int | None]:
    """Every metric of `METRICS`, in that order.

    Those without a function of their own: total_return = E_last / cash − 1 · exposure = share of candles at
    whose close a position is held · turnover = value of all fills / cash · fees = Σ fees of all fills ·
    trades = round trips, closed_trades = those of them that were closed · buy_and_hold_return = last close /
    first close − 1, without fees
    """
    daily = returns(daily_equity(run.equity, run.close_ms), run.initial_cash)
    depth, seconds = drawdown(run.equity, run.close_ms, run.initial_cash, run.candle_ms)
    span_ms = int(run.close_ms[-1] - run.close_ms[0]) + run.candle_ms  # holes in the candles are time too
    growth = cagr(run.equity[-1] / run.initial_cash, span_ms)
    values: dict[str, Any] = {
        "total_return": run.equity[-1] / run.initial_cash - 1,
        "cagr": growth,
        "sharpe": sharpe(daily, 365),
        "sharpe_bar": sharpe(returns(run.equity, run.initial_cash), YEAR_MS / run.candle_ms),
        "sortino": sortino(daily, 365),
        "calmar": calmar(growth, depth),
        "volatility": volatility(daily, 365),
        "max_drawdown": depth,
        "max_drawdown_duration": seconds,
        **of_trades(run.pnl),
        "exposure": run.held / run.equity.size,
        "turnover": run.traded / run.initial_cash,
        "fees": run.fees,
        "trades": int(run.pnl.size),
        "closed_trades": run.closed,
        "buy_and_hold_return": run.close[-1] / run.close[0] - 1,
    }
    return {name: finite(values[name]) for name in METRICS}


def finite(value: Any) -> float | int | None:
    """The number, or None where there is none to tell."""
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return number if isfinite(number) else None


def returns(equity: Floats, initial_cash: float) -> Floats:
    """r_t = E_t / E_{t−1} − 1, the first against the initial cash; 0 after everything is lost."""
    before = np.concatenate(([initial_cash], equity[:-1]))
    if before.min() > 0:
        return np.asarray(equity / before - 1, dtype=np.float64)
    ratio = np.divide(equity, before, out=np.ones(equity.size), where=before > 0)
    return np.asarray(ratio - 1, dtype=np.float64)


def daily_equity(equity: Floats, close_ms: Ints) -> Floats:
    """Equity at the end of each UTC day that has candles."""
    day = (close_ms - 1) // DAY_MS
    last = np.append(day[1:] != day[:-1], True)
    return np.asarray(equity[last], dtype=np.float64)


def cagr(ratio: float, span_ms: int) -> float | None:
    """Compound annual growth: (E_last / cash)^(365 days / span) − 1; None where too large a number."""
    if span_ms <= 0 or ratio < 0:
        return None
    with np.errstate(over="ignore"):
        return finite(np.float64(ratio) ** (YEAR_MS / span_ms) - 1)


def sharpe(returned: Floats, periods: float) -> float | None:
    """mean(r) / sample deviation(r) · √periods a year (Sharpe, 1994); no risk-free rate. `sharpe` uses daily
    returns and 365, `sharpe_bar` those of candles and the number of candles in 365 days. None for fewer than
    two returns or where they do not vary."""
    if returned.size < 2:
        return None
    mean, deviation = float(returned.mean()), float(returned.std(ddof=1))
    return None if deviation <= FLAT else mean / deviation * sqrt(periods)


def sortino(returned: Floats, periods: float) -> float | None:
    """mean(r) / √mean(min(r, 0)²) · √periods a year (Sortino and Price, 1994), the downside below 0 over all
    returns; None where nothing was lost."""
    if returned.size < 2:
        return None
    downside = sqrt(np.mean(np.minimum(returned, 0.0) ** 2))
    return None if downside == 0 else float(returned.mean() / downside * sqrt(periods))


def volatility(returned: Floats, periods: float) -> float | None:
    """Sample deviation(r) · √periods a year; None for fewer than two returns."""
    return float(returned.std(ddof=1) * sqrt(periods)) if returned.size >= 2 else None


def calmar(growth: float | None, depth: float) -> float | None:
    """cagr / |max_drawdown| over the whole run; None without a drawdown."""
    return None if growth is None or depth == 0 else growth / abs(depth)


def drawdown(equity: Floats, close_ms: Ints, initial_cash: float, candle_ms: int) -> tuple[float, float]:
    """Deepest drawdown, min over t of E_t / max(cash, E_0 … E_t) − 1 (0 or negative), and the longest time
    in seconds from a peak until it was reached again or the run was over."""
    value = np.concatenate(([initial_cash], equity))
    at_ms = np.concatenate(([close_ms[0] - candle_ms], close_ms))
    peak = np.maximum.accumulate(value)
    depth = float((value / peak - 1).min())
    at_peak = np.append(np.flatnonzero(value == peak), value.size - 1)
    below = np.diff(at_peak) > 1
    below[-1:] = at_peak[-1] > at_peak[-2]
    spells = np.diff(at_ms[at_peak])[below]
    return depth, float(spells.max() / 1000) if spells.size else 0.0


def of_trades(pnl: Floats) -> dict[str, float | None]:
    """Metrics of the round trips' results after fees.

    win_rate: share with pnl > 0 · profit_factor: Σ gains / |Σ losses|, None without a loss · expectancy:
    mean(pnl), quote currency · sqn: √n · mean(pnl) / sample deviation(pnl) (Tharp), None for one trade
    """
    if not pnl.size:
        return {"win_rate": None, "profit_factor": None, "expectancy": None, "sqn": None}
    lost = -pnl[pnl < 0].sum()
    deviation = pnl.std(ddof=1) if pnl.size > 1 else 0.0
    return {
        "win_rate": float((pnl > 0).mean()),
        "profit_factor": float(pnl[pnl > 0].sum() / lost) if lost > 0 else None,
        "expectancy": float(pnl.mean()),
        "sqn": float(sqrt(pnl.size) * pnl.mean() / deviation) if deviation > 0 else None,
    }
