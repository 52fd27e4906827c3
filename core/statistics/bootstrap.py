"""Intervals of statistics of a time series, by resampling blocks of it.

The stationary bootstrap of Politis and Romano (1994) glues blocks of random, geometrically distributed length
together and so keeps what neighbours have in common. The mean length follows Politis and White (2004), with
the correction of Patton, Politis and White (2009). All of it is seeded: the same input, the same numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from math import ceil, log10, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Floats], Floats]
"""Resampled series, a row each → one number a row."""

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 20_260_101
_NUMBERS_AT_ONCE = 1_000_000


def optimal_block_length(series: Floats) -> float:
    """Mean block length of the stationary bootstrap for that series, at least 1.

    (2·G² / D)^(1/3)·n^(1/3) with G = Σ λ(k/M)·|k|·R(k), D = 2·(Σ λ(k/M)·R(k))², R the autocovariance, λ the
    flat-top window, M twice the lag after which max(5, log10 n) autocorrelations are within ±2·√(log10 n / n)
    """
    n = series.size
    off = series - series.mean() if n else series
    if n < 10 or not np.any(off):
        return 1.0
    steps = max(5, int(log10(n)))
    most = min(ceil(sqrt(n)) + steps, n - 2)
    covariance = np.array([off[k:] @ off[: n - k] for k in range(most + 1)]) / n
    lags = _lags_that_matter(off, covariance * n, steps, most)
    k = np.arange(1, lags + 1)
    window = np.where(k / lags <= 0.5, 1.0, 2 * (1 - k / lags))
    g = 2 * float(np.sum(window * k * covariance[1 : lags + 1]))
    long_run = float(covariance[0] + 2 * np.sum(window * covariance[1 : lags + 1]))
    if long_run == 0:
        return 1.0
    length = float(np.cbrt(g**2 / long_run**2 * n))
    return float(min(max(length, 1.0), ceil(min(3 * sqrt(n), n / 3))))


def _lags_that_matter(off: Floats, products: Floats, steps: int, most: int) -> int:
    n = off.size
    squares = off**2
    ahead, behind = np.cumsum(squares[::-1])[::-1], np.cumsum(squares)
    inside, band = 0, 2 * sqrt(log10(n) / n)
    for lag in range(most):
        norm = sqrt(float(ahead[lag + 1] * behind[n - lag - 2]))
        inside = inside + 1 if norm > 0 and abs(products[lag]) / norm < band else 0
        if inside == steps:
            return min(2 * max(lag + 1 - steps, 1), most)
    return most


def stationary_rows(n: int, block_length: float, resamples: int, seed: int = SEED) -> Iterator[Ints]:
    """Indices of resampled series of length n, a row each, some rows at a time so that memory is bounded."""
    random = np.random.default_rng(seed)
    rows_at_once = max(1, _NUMBERS_AT_ONCE // n)
    steps = np.arange(n)
    for done in range(0, resamples, rows_at_once):
        shape = (min(rows_at_once, resamples - done), n)
        begins = random.random(shape) < 1 / block_length
        begins[:, 0] = True
        starts = random.integers(n, size=shape)
        since = np.maximum.accumulate(np.where(begins, steps, 0), axis=1)
        yield (np.take_along_axis(starts, since, axis=1) + steps - since) % n


def resample(
    series: Floats,
    statistics: Mapping[str, Statistic],
    block_length: float,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Floats]:
    """Each statistic of every resampled series, in the order they were drawn."""
    parts: dict[str, list[Floats]] = {name: [] for name in statistics}
    for rows in stationary_rows(series.shape[0], block_length, resamples, seed):
        drawn = series[rows]
        for name, statistic in statistics.items():
            parts[name].append(statistic(drawn))
    return {name: np.concatenate(values) for name, values in parts.items()}


def interval(values: Floats, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Percentile interval: the quantiles (1 ∓ confidence) / 2 of the resampled values (Efron, 1979).

    None when more than one value in twenty is undefined: then it would say nothing of the others.
    """
    known = values[np.isfinite(values)]
    if known.size < 0.95 * values.size or not known.size:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def sharpe_of(periods: float) -> Statistic:
    """mean / sample deviation · √periods a year, NaN where nothing varies."""

    def statistic(drawn: Floats) -> Floats:
        mean, deviation = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
        with np.errstate(all="ignore"):
            flat = deviation <= 1e-12 * np.abs(mean)
            return np.where(flat, np.nan, mean / deviation) * sqrt(periods)

    return statistic


def total_return_of(drawn: Floats) -> Floats:
    """Π(1 + r) − 1."""
    return np.asarray(np.prod(1 + drawn, axis=1) - 1)


def max_drawdown_of(drawn: Floats) -> Floats:
    """min over t of value / highest value so far − 1, beginning at 1."""
    value = np.cumprod(1 + drawn, axis=1)
    peak = np.maximum(np.maximum.accumulate(value, axis=1), 1.0)
    return np.asarray(np.minimum((value / peak - 1).min(axis=1), 0.0))


def win_rate_of(drawn: Floats) -> Floats:
    """Share above zero."""
    return np.asarray((drawn > 0).mean(axis=1))
