"""The seeded market: any UTC day of any symbol on demand, the same whenever and wherever it is asked for.

The price at day boundaries comes from `path.PricePath`; inside a day, minutes are a Brownian bridge whose
variance follows the minute's activity, and taker orders walk between two minutes. Trade ids are consecutive
over all history, because the number of matches before a day is a closed formula.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pipelines.exchanges.sim.days import DAY_MS, MINUTE_MS, DayTrades, Flags, Ints, no_trades
from pipelines.exchanges.sim.path import FIRST_DAY, LEVELS, PricePath, mix
from pipelines.exchanges.sim.specs import MODEL_SPECS, SymbolSpec

MINUTES = 1_440
_NEW_ORDER = 154  # of 256: chance that a match is the first of its taker order
_NEXT_LEVEL = 102  # of 256: chance that a further match of an order is at a worse price
_QUANTILES = 4_096

Floats = NDArray[np.float64]
Milliseconds = NDArray[np.int32]


class MarketModel:
    """A market of several symbols. `activity` multiplies the number of matches (another history for each)."""

    def __init__(self, seed: int, activity: float = 1.0, specs: Sequence[SymbolSpec] = MODEL_SPECS) -> None:
        self.specs = {spec.symbol: spec for spec in specs}
        self._keys = {spec.symbol: mix(seed, *spec.symbol.encode()) for spec in specs}
        self._paths = {s.symbol: PricePath(self._keys[s.symbol], s.price, s.volatility) for s in specs}
        self._mean = {s.symbol: max(1_440 // 4, round(s.matches_a_day * activity)) for s in specs}

    def first_ms(self, symbol: str) -> int:
        """When the history of every symbol begins: 2018-01-01."""
        return FIRST_DAY * DAY_MS

    def natural_start_ms(self) -> int | None:
        """The model has no beginning of its own worth starting at: the wall's time is used."""
        return None

    def end_ms(self) -> int:
        """When the history ends: in 2062."""
        return (FIRST_DAY + (1 << LEVELS)) * DAY_MS

    def ids_before(self, symbol: str, day: int) -> int:
        """How many matches happened before 00:00 UTC of a day (days since 1970); ids start at 1."""
        mean = self._mean[symbol]
        if day <= FIRST_DAY:
            return 0
        jitter = mix(self._keys[symbol], 3, day) % (2 * mean // 3) - mean // 3
        return mean * (day - FIRST_DAY) + jitter

    def day_of_id(self, symbol: str, trade_id: int) -> int:
        """The day (since 1970) in which a trade id falls; before the first day for ids below 1."""
        day = FIRST_DAY + trade_id // self._mean[symbol] + 1
        while self.ids_before(symbol, day) >= trade_id and day >= FIRST_DAY:
            day -= 1
        return day

    def day(self, symbol: str, day: int) -> DayTrades:
        """All matches of a UTC day (days since 1970); empty before the first and after the last day."""
        if not FIRST_DAY <= day < FIRST_DAY + (1 << LEVELS):
            return no_trades()
        spec, key = self.specs[symbol], self._keys[symbol]
        before, after = self.ids_before(symbol, day), self.ids_before(symbol, day + 1)
        rng = np.random.Generator(np.random.PCG64(mix(key, 4, day)))
        weights = _activity(rng, spec.quiet)
        counts = rng.multinomial(after - before - 1, weights / weights.sum())
        counts[0] += 1  # so that no day needs the one before it to know its first open
        ms, opens_order = _order_times(rng, counts)
        starts = np.flatnonzero(opens_order)
        lengths = np.diff(starts, append=len(ms))
        turnover = math.sqrt((after - before) / self._mean[symbol])
        boundaries = self._minute_path(rng, symbol, day, weights, turnover)
        noise = turnover * spec.volatility / math.sqrt(365) * np.sqrt(weights / weights.sum())
        log_price = _walk(rng, ms[starts] // MINUTE_MS, boundaries, noise)
        mid = np.rint(np.exp(log_price) * 10**spec.tick_decimals).astype(np.int64)
        # takers buy a bit more often when the price rose since the order before
        buy = rng.integers(0, 256, len(mid), dtype=np.uint8) < 128 + 50 * np.sign(
            np.diff(mid, prepend=mid[0])
        )
        best = mid + np.where(buy, (spec.spread_ticks + 1) // 2, -(spec.spread_ticks // 2))
        levels = _levels(rng, opens_order, starts, lengths)
        bought = np.repeat(buy, lengths)
        price = np.maximum(np.repeat(best, lengths) + np.where(bought, levels, -levels), 1)
        size = _sizes(rng, spec, len(price))
        ids = np.arange(before + 1, after + 1, dtype=np.int64)
        ts = day * DAY_MS + np.repeat(ms[starts].astype(np.int64), lengths)
        return DayTrades(ids, ts, price, size, bought, opens_order)

    def _minute_path(
        self, rng: np.random.Generator, symbol: str, day: int, weights: Floats, turnover: float
    ) -> Floats:
        path = self._paths[symbol]
        share = weights / weights.sum()
        sigma = self.specs[symbol].volatility / math.sqrt(365) * turnover
        steps = rng.standard_normal(MINUTES) * np.sqrt(share) * sigma
        noise, time = np.cumsum(steps), np.cumsum(share)
        start, end = path.at_day(day), path.at_day(day + 1)
        inner = start + noise + time / time[-1] * (end - start - noise[-1])
        return np.concatenate(([start], inner))


def _activity(rng: np.random.Generator, quiet: float) -> Floats:
    """Relative activity of each minute: a daily curve, slow noise, bursts, and minutes of silence.

    Rounded to whole numbers, so that the last bit of a transcendental function changes nothing.
    """
    minute = np.arange(MINUTES)
    curve = 1 + 0.4 * np.cos(2 * np.pi * (minute - 870) / MINUTES)
    slow = np.convolve(rng.standard_normal(MINUTES + 14), np.ones(15) / math.sqrt(15), mode="valid")
    curve *= np.exp(0.5 * slow + 0.3 * rng.standard_normal(MINUTES))
    for at, height in zip(rng.integers(0, MINUTES, 6), rng.uniform(2, 9, 6), strict=True):
        tail = minute[at:] - at
        curve[at:] *= 1 + height * np.exp(-tail / 6)
    curve[rng.random(MINUTES) < quiet] = 0
    curve[0] = max(curve[0], 0.1)
    return np.rint(curve * 65_536)


def _order_times(rng: np.random.Generator, counts: Ints) -> tuple[Milliseconds, Flags]:
    """Of each match: its ms of the day, and whether it opens a taker order."""
    total = int(counts.sum())
    begins = np.arange(MINUTES, dtype=np.int32) * MINUTE_MS
    ms = np.repeat(begins, counts) + rng.integers(0, MINUTE_MS, total, dtype=np.uint16)
    ms.sort()
    opens_order = rng.integers(0, 256, total, dtype=np.uint8) < _NEW_ORDER
    opens_order[(np.cumsum(counts) - counts)[counts > 0]] = True
    return ms, opens_order


def _walk(rng: np.random.Generator, minute: Milliseconds, boundaries: Floats, noise: Floats) -> Floats:
    """Log price at each taker order: a bridge between the boundaries of its minute."""
    orders = np.bincount(minute, minlength=MINUTES)
    last = np.cumsum(orders)
    first, some = last - orders, np.maximum(orders, 1)
    walk = np.cumsum(rng.standard_normal(len(minute)) * np.repeat(noise / np.sqrt(some), orders))
    walked = np.concatenate(([0.0], walk))
    # the walk is tilted in each minute so that it ends on the minute's boundary
    slope = (np.diff(boundaries) - (walked[last] - walked[first])) / some
    origin = boundaries[:-1] - walked[first] - first * slope
    place = np.arange(1, len(minute) + 1)
    bridge: Floats = np.repeat(origin, orders) + np.repeat(slope, orders) * place + walk
    return bridge


def _levels(rng: np.random.Generator, opens_order: Flags, starts: Ints, lengths: Ints) -> Ints:
    """How many ticks behind its order's first match each match is."""
    bits = rng.integers(0, 256, len(opens_order), dtype=np.uint8)
    climbs = np.where(opens_order | (bits >= _NEXT_LEVEL), 0, bits % 3 + 1)
    climbed = np.cumsum(climbs, dtype=np.int64)
    steps: Ints = climbed - np.repeat(climbed[starts], lengths)
    return steps


def _sizes(rng: np.random.Generator, spec: SymbolSpec, count: int) -> Ints:
    """Lots of each match: log-normal, from a table of its quantiles and eight bits between them."""
    table = np.maximum(_size_quantiles() * (spec.mean_size * 10**spec.lot_decimals), 256).astype(np.int64)
    bits = rng.integers(0, _QUANTILES << 8, count, dtype=np.uint32)
    base = table[bits >> 8]
    sizes: Ints = base + (base * (bits & 255) >> 12)
    return sizes


@cache
def _size_quantiles() -> Floats:
    normal = NormalDist(-0.72, 1.2)
    values = [math.exp(normal.inv_cdf((place + 0.5) / _QUANTILES)) for place in range(_QUANTILES)]
    return np.array(values)
