"""Is the best of many better than a benchmark, or only the luckiest?

Hansen's test for superior predictive ability (2005), whose `upper` p-value, unstudentised, is White's reality
check (2000): the largest mean advantage over the benchmark against its distribution when none has any. Paired
differences of two series by the same stationary bootstrap; Holm's correction (1979) for making several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from core.statistics.bootstrap import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    interval,
    optimal_block_length,
    stationary_rows,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Superiority:
    """p-values of "none is better than the benchmark", and the column of the best.

    lower and upper bound the consistent one: with the bad ones left out, and with all of them counted.
    """

    lower: float
    consistent: float
    upper: float
    best: int
    block_length: float


def superiority(
    advantage: Floats,
    block_length: float | None = None,
    resamples: int = RESAMPLES,
    studentise: bool = True,
    seed: int = SEED,
) -> Superiority | None:
    """Test d[t, k], the return of candidate k in period t less that of the benchmark.

    The statistic is max over k of √n·mean(d_k)/ω_k (or 0, if that is more); ω_k is the deviation of
    √n·mean(d_k) under the bootstrap, in closed form. None for fewer than 10 periods, or when no candidate
    ever differs from the benchmark.
    """
    n, _ = advantage.shape
    if n < 10:
        return None
    length = block_length or max(optimal_block_length(column) for column in advantage.T)
    spread = np.sqrt(long_run_variance(advantage, length))
    means = advantage.mean(axis=0)
    moves = spread > 1e-12 * np.abs(means)
    if not moves.any():
        return None
    spread = np.where(moves, spread, np.inf)
    scale = spread if studentise else np.where(moves, 1.0, np.inf)
    # Consistent: a candidate worse than −ω·√(2·log log n / n) is no rival, and its mean stays where it is.
    bound = -spread * sqrt(2 * log(log(n)) / n)
    centres = (np.maximum(means, 0.0), np.where(means >= bound, means, 0.0), means)
    reached = max(float((sqrt(n) * means / scale).max()), 0.0)
    beyond, drawn = np.zeros(3), 0
    for rows in stationary_rows(n, length, resamples, seed):
        resampled = _means(advantage, rows)
        drawn += rows.shape[0]
        for j, centre in enumerate(centres):
            best = (sqrt(n) * (resampled - centre) / scale).max(axis=1)
            beyond[j] += np.count_nonzero(np.maximum(best, 0.0) >= reached)
    lower, consistent, upper = (float(count + 1) / (drawn + 1) for count in beyond)
    best_one = int(np.argmax(means / scale))
    return Superiority(lower, consistent, upper, best_one, float(length))


def long_run_variance(series: Floats, block_length: float) -> Floats:
    """Variance of √n·mean under the stationary bootstrap (Politis and Romano, 1994), a number a column.

    R(0) + 2·Σ κ(i)·R(i), κ(i) = (1 − i/n)·(1 − p)^i + i/n·(1 − p)^(n − i), p = 1 / block length
    """
    n, p = series.shape[0], 1 / block_length
    off = series - series.mean(axis=0)
    # All autocovariances at once; padded, so that nothing wraps around.
    spectrum = np.fft.rfft(off, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=0)[:n] / n
    i = np.arange(1, n)
    kappa = (1 - i / n) * (1 - p) ** i + i / n * (1 - p) ** (n - i)
    return np.asarray(np.maximum(covariance[0] + 2 * kappa @ covariance[1:], 0.0))


@dataclass(frozen=True)
class Difference:
    """Mean of a − b per period, its interval, and the p-value of "there is none" (two-sided)."""

    mean: float
    low: float
    high: float
    p_value: float


def difference(
    a: Floats, b: Floats, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = SEED
) -> Difference | None:
    """Paired difference of two series of returns over the same periods, by the stationary bootstrap.

    p = (1 + #{|mean* − mean| ≥ |mean|}) / (resamples + 1), mean* that of a resampled difference. None for
    fewer than 10 periods, or when the two never differ.
    """
    paired = a - b
    n, mean = paired.size, float(paired.mean()) if paired.size else 0.0
    if n < 10 or float(paired.std()) <= 1e-12 * max(abs(mean), 1e-300):
        return None
    length = optimal_block_length(paired)
    rows = stationary_rows(n, length, resamples, seed)
    means = np.concatenate([paired[some].mean(axis=1) for some in rows])
    low, high = interval(means, confidence) or (mean, mean)
    beyond = int(np.count_nonzero(np.abs(means - mean) >= abs(mean)))
    return Difference(mean, low, high, (1 + beyond) / (resamples + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the k-th smallest times (m − k + 1), none above 1 nor below the
    one before it."""
    corrected = [1.0] * len(p_values)
    so_far = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = so_far
    return corrected


def _means(advantage: Floats, rows: NDArray[np.int64]) -> Floats:
    """Mean of each resampled set of periods, a row a resample and a column a candidate.

    By how often each period was drawn, as one matrix product: a copy of all candidates for each resample
    would be large.
    """
    n = advantage.shape[0]
    counts = np.zeros((rows.shape[0], n))
    for row, drawn in enumerate(rows):
        counts[row] = np.bincount(drawn, minlength=n)
    return np.asarray(counts @ advantage / n)
