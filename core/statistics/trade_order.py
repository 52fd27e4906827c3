"""What the order of trades had to do with it: Monte-Carlo over the round trips of a run.

Shuffled, the same trades end at the same value but on the way fall as far as their order has it. Drawn with
repeats, they also end elsewhere, and some paths fall below what one can bear (Vince, Portfolio Management
Formulas, 1990; Davey, Building Winning Algorithmic Trading Systems, 2014). Both take trades as independent of
each other; where losses come in runs, the truth is worse.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.statistics.bootstrap import SEED, max_drawdown_of, total_return_of

Floats = NDArray[np.float64]
PATHS = 5_000
LEAST_TRADES = 2
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NUMBERS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class TradeOrder:
    """drawdown: max drawdown of the shuffled order by quantile, the deepest first; total_return: of trades
    drawn with repeats, by quantile; loss: share of those paths that end below their start; ruin: share that
    at some time lost the fraction `ruin_at` of the start."""

    paths: int
    drawdown: dict[str, float]
    total_return: dict[str, float]
    loss: float
    ruin: float
    ruin_at: float


def trade_order(
    gains: Floats, ruin_at: float = 0.5, paths: int = PATHS, seed: int = SEED
) -> TradeOrder | None:
    """From each round trip's result as a fraction of the equity before it; None for fewer than two trades."""
    if gains.size < LEAST_TRADES:
        return None
    random = np.random.default_rng(seed)
    depths = _paths(
        gains, paths, lambda shape: random.permuted(np.broadcast_to(np.arange(shape[1]), shape), axis=1)
    )[0]
    _, ends, lowest = _paths(gains, paths, lambda shape: random.integers(shape[1], size=shape))
    return TradeOrder(
        paths=paths,
        drawdown=_quantiles(depths),
        total_return=_quantiles(ends),
        loss=float((ends < 0).mean()),
        ruin=float((lowest <= 1 - ruin_at).mean()),
        ruin_at=ruin_at,
    )


def _paths(
    gains: Floats, paths: int, draw: Callable[[tuple[int, int]], NDArray[np.int64]]
) -> tuple[Floats, Floats, Floats]:
    """(max drawdown, total return, lowest value) of each path."""
    at_once = max(1, _NUMBERS_AT_ONCE // gains.size)
    depths, ends, lowest = [], [], []
    for done in range(0, paths, at_once):
        drawn = gains[draw((min(at_once, paths - done), gains.size))]
        depths.append(max_drawdown_of(drawn))
        ends.append(total_return_of(drawn))
        lowest.append(np.cumprod(1 + drawn, axis=1).min(axis=1))
    return np.concatenate(depths), np.concatenate(ends), np.concatenate(lowest)


def _quantiles(values: Floats) -> dict[str, float]:
    found = np.quantile(values, QUANTILES)
    return {f"p{round(q * 100):02d}": float(value) for q, value in zip(QUANTILES, found, strict=True)}
