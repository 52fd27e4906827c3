"""Further numbers of a run for its report, beyond `core.metrics`: the shape of its returns, its trades one by
one, what it owes to the market.

Ratios are fractions, money is quote currency; None where undefined.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from core.statistics.sharpe import moments

Floats = NDArray[np.float64]
Described = dict[str, float | int | None]
TAIL = 0.05
RETURNS = (
    "best",
    "worst",
    "positive",
    "skewness",
    "kurtosis",
    "value_at_risk",
    "conditional_value_at_risk",
    "tail_ratio",
    "omega",
    "ulcer_index",
)


def of_returns(returns: Floats) -> Described:
    """The distribution of periodic returns r.

    best, worst · positive: share above 0 · skewness, kurtosis (3 if normal) · value_at_risk: 5 % quantile ·
    conditional_value_at_risk: mean of the worst ⌊5 %·(n − 1)⌋ + 1 · tail_ratio: |95 % / 5 % quantile| ·
    omega: Σ gains / Σ losses (Keating and Shadwick, 2002) · ulcer_index: √mean(drawdown²) (Martin, 1987)
    """
    if not returns.size:
        return dict.fromkeys(RETURNS)
    shape = moments(returns)
    low, high = np.quantile(returns, [TAIL, 1 - TAIL])
    lost = -float(returns[returns < 0].sum())
    value = np.concatenate(([1.0], np.cumprod(1 + returns)))
    below = value / np.maximum.accumulate(value) - 1
    return {
        "best": float(returns.max()),
        "worst": float(returns.min()),
        "positive": float((returns > 0).mean()),
        "skewness": shape.skewness if shape else None,
        "kurtosis": shape.kurtosis if shape else None,
        "value_at_risk": float(low),
        "conditional_value_at_risk": float(np.sort(returns)[: int(TAIL * (returns.size - 1)) + 1].mean()),
        "tail_ratio": abs(float(high / low)) if low != 0 else None,
        "omega": float(returns[returns > 0].sum()) / lost if lost > 0 else None,
        "ulcer_index": sqrt(float(np.mean(below[1:] ** 2))),
    }


def of_market(returns: Floats, market: Floats, periods: float) -> Described:
    """What is left of returns r once the market's m are taken out of them (Jensen, 1968).

    beta: cov(r, m) / var(m) · alpha: (1 + mean(r − beta·m))^periods − 1 a year · correlation: of r and m
    """
    empty: Described = dict.fromkeys(("alpha", "beta", "correlation"))
    if returns.size < 3 or float(market.std()) <= 1e-15:
        return empty
    covariance = np.cov(returns, market, ddof=1)
    beta = float(covariance[0, 1] / covariance[1, 1])
    with np.errstate(over="ignore"):
        alpha = float(np.float64(1 + np.mean(returns - beta * market)) ** periods - 1)
    moves = float(returns.std()) > 1e-15
    return {
        "alpha": alpha if np.isfinite(alpha) else None,
        "beta": beta,
        "correlation": float(np.corrcoef(returns, market)[0, 1]) if moves else None,
    }


def of_trades(pnl: Floats, held_seconds: Floats) -> Described:
    """Round trips one by one: results after fees, and how long each was held.

    payoff_ratio: average win / |average loss| · kelly: w − (1 − w) / payoff_ratio, w the share won (Kelly,
    1956) · losing_streak, winning_streak: most in a row
    """
    won, lost = pnl[pnl > 0], pnl[pnl < 0]
    payoff = float(won.mean() / -lost.mean()) if won.size and lost.size else None
    share = won.size / pnl.size if pnl.size else 0.0
    return {
        "average_win": float(won.mean()) if won.size else None,
        "average_loss": float(lost.mean()) if lost.size else None,
        "payoff_ratio": payoff,
        "kelly": share - (1 - share) / payoff if payoff else None,
        "best_trade": float(pnl.max()) if pnl.size else None,
        "worst_trade": float(pnl.min()) if pnl.size else None,
        "winning_streak": longest_run(pnl > 0),
        "losing_streak": longest_run(pnl < 0),
        "average_holding": float(held_seconds.mean()) if held_seconds.size else None,
    }


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Most neighbours in a row that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0
