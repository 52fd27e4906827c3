"""Rolling windows over whole columns, in the arithmetic of Polars, to the last bit.

A sum adds and takes away with Kahan's correction, one for each. A variance is put together of two parts: what
has come since the last multiple of the window, and what is left of the window before, which is summed up from
its end. Each multiple stands for itself, so several are computed side by side: one recursion alone leaves the
processor waiting for its own last step.
"""

from collections.abc import Sequence

import numba
import numpy as np

from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import njit, njit_parallel

KINDS = ("Sum", "Mean", "Var", "Std", "Max", "Min")
SUM, MEAN, VAR, STD, MAX, MIN = range(len(KINDS))
# Columns of a job: KINDS, the rows that it reads and writes, window, what is taken off the number of values
# to divide by, and the first candle with a value.
KIND, SOURCE, TARGET, WINDOW, LESS, SINCE = range(6)
LANES = 8
"""Stretches of a variance that are computed side by side."""
SUMS_AT_ONCE = 4
"""Windows of a sum, likewise."""


def parts_of_jobs(jobs: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Jobs in the order of `roll`, and where each part begins and the last one ends."""
    ordered = sorted(jobs, key=lambda job: (job[KIND] > MEAN, job[SOURCE], job[KIND], job[WINDOW]))
    starts = [0]
    for n, (job, before) in enumerate(zip(ordered[1:], ordered, strict=False), 1):
        sums = before[KIND] <= MEAN and job[KIND] <= MEAN and before[SOURCE] == job[SOURCE]
        if not sums or n - starts[-1] == SUMS_AT_ONCE:
            starts.append(n)
    return np.array(ordered, np.int64), np.array([*starts, len(ordered)], np.int64)


@njit
def first_known(values: Floats) -> int:
    """The first candle with a value; −1 where one is missing after it."""
    since = 0
    while since < values.size and values[since] != values[since]:
        since += 1
    for t in range(since, values.size):
        if values[t] != values[t]:
            return -1
    return since


@njit
def _sums(values: Floats, jobs: Ints) -> None:
    """Sums and means of several windows over the same column."""
    since, lanes, n = jobs[0, SINCE], jobs.shape[0], values.shape[1]
    widest = jobs[:, WINDOW].max()
    # Zeros before the first value: taking them away changes nothing.
    padded = np.zeros(widest + n - since)
    padded[widest:] = values[jobs[0, SOURCE], since:]
    total, added, taken = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    windows, targets, parts = jobs[:, WINDOW].copy(), jobs[:, TARGET].copy(), np.ones(lanes)
    for j in range(lanes):
        values[targets[j], : min(n, since + windows[j] - 1)] = np.nan
        if jobs[j, KIND] == MEAN:
            parts[j] = windows[j]
    for t in range(n - since):
        comes = padded[widest + t]
        for j in range(lanes):
            goes = (0.0 - padded[widest + t - windows[j]]) - taken[j]
            less = total[j] + goes
            taken[j] = (less - total[j]) - goes
            more = comes - added[j]
            total[j] = less + more
            added[j] = (total[j] - less) - more
            if t >= windows[j] - 1:
                values[targets[j], since + t] = total[j] / parts[j]


@njit
def _tails(x: Floats, begin: int, lanes: int, window: int, means: Floats, spreads: Floats) -> None:
    """Mean and spread (the sum of squared differences from it) of the last values of each stretch of
    `window` values from `begin` on: row k without its first k."""
    mean, spread = np.zeros(LANES), np.zeros(LANES)
    for k in range(window - 1, 0, -1):
        count = float(window - k)
        for j in range(lanes):
            value = x[begin + j * window + k]
            off = value - mean[j]
            mean[j] += off / count
            spread[j] += (value - mean[j]) * off
            means[k, j], spreads[k, j] = mean[j], spread[j]


@njit
def _heads(
    x: Floats, begin: int, lanes: int, upto: int, window: int, means: Floats, spreads: Floats, out: Floats
) -> None:
    """The spread of each window that ends in one of the stretches from `begin` on, which begin like those of
    `_tails` one stretch later; of their first `upto` values."""
    mean, spread = np.zeros(LANES), np.zeros(LANES)
    for k in range(upto):
        count, rest = k + 1.0, window - 1.0 - k
        part = rest / window
        for j in range(lanes):
            t = begin + j * window + k
            value = x[t]
            off = value - mean[j]
            mean[j] += off / count
            spread[j] += (value - mean[j]) * off
            if rest == 0.0:
                out[t] = spread[j]
            else:
                apart = means[k + 1, j] - mean[j]
                both = mean[j] + apart * part
                out[t] = spread[j] + (spreads[k + 1, j] + rest * (means[k + 1, j] - both) * apart)


@njit
def _spread(values: Floats, job: Ints) -> None:
    """A variance or a deviation."""
    window, since, less = job[WINDOW], job[SINCE], job[LESS]
    x, out = values[job[SOURCE], since:], values[job[TARGET], since:]
    values[job[TARGET], :since] = np.nan
    means, spreads = np.zeros((window + 1, LANES)), np.zeros((window + 1, LANES))
    n = x.size
    _heads(x, 0, 1, min(window, n), window, means, spreads, out)
    out[: min(window - 1, n)] = np.nan
    begin = window
    while begin < n:
        lanes = min(LANES, (n - begin) // window)
        _tails(x, begin - window, max(lanes, 1), window, means, spreads)
        if lanes > 0:
            _heads(x, begin, lanes, window, window, means, spreads, out)
        else:  # the last stretch is not whole
            _heads(x, begin, 1, n - begin, window, means, spreads, out)
        begin += max(lanes, 1) * window
    known, divisor = out[min(window - 1, n) :], float(window - less)
    for t in range(known.size):
        variance = known[t] / divisor
        known[t] = 0.0 if variance < 0.0 else variance
    if job[KIND] == STD:
        for t in range(known.size):
            known[t] = np.sqrt(known[t])


@njit
def _extreme(values: Floats, job: Ints) -> None:
    """A highest or lowest value: of the end of one stretch of `window` values and the beginning of the
    next."""
    window, since, sign = job[WINDOW], job[SINCE], 1.0 if job[KIND] == MAX else -1.0
    x, out = values[job[SOURCE], since:], values[job[TARGET], since:]
    values[job[TARGET], :since] = np.nan
    n, tail = x.size, np.empty(window + 1)
    tail[window] = -np.inf
    for begin in range(0, n, window):
        end = min(begin + window, n)
        head = -np.inf
        for k in range(end - begin):
            value = sign * x[begin + k]
            head = value if value > head else head
            out[begin + k] = (
                sign * (head if head > tail[k + 1] else tail[k + 1]) if begin > 0 else sign * head
            )
        if end < n:
            for k in range(window - 1, 0, -1):
                value = sign * x[begin + k]
                tail[k] = value if value > tail[k + 1] else tail[k + 1]
    out[: min(window - 1, n)] = np.nan


@njit_parallel
def roll(values: Floats, jobs: Ints, starts: Ints) -> None:
    """Every job; those of a part, jobs starts[p] … starts[p + 1] − 1, are sums of the same column, or one
    job of another kind."""
    for p in numba.prange(starts.size - 1):
        own = jobs[starts[p] : starts[p + 1]]
        if own[0, KIND] <= MEAN:
            _sums(values, own)
        elif own[0, KIND] <= STD:
            _spread(values, own[0])
        else:
            _extreme(values, own[0])
