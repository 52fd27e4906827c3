"""Does a strategy look ahead, and does it need more history than it says?

Look-ahead: signals, confidences and indicators on candles cut off at a point must be those that the whole
history gives up to there. Changed future: they must also be what they were when the candles after the point
have other prices. Warm-up: the newest signal on the last `window` candles must be that of the whole history,
its indicators within 1e-9. Repeat: judging the same candles twice must give the same. All are tried at random
points; a strategy that passes can still be wrong at others, so the points are many and their choice is told
by a seed.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from config.exits import ExitsAndSizes
from core.errors import BadInput
from core.timeframes import Timeframe
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.registry import build
from strategies.sample import sample_candles
from strategies.sizes import with_sizes

TRIED_CANDLES = 3_000
TOLERANCE = 1e-9
CONFIDENCE = 1e-6
"""Confidences go through exponentials of small differences; a bot's may be this far from a backtest's."""


@dataclass(frozen=True)
class Finding:
    """One disagreement. kind: look-ahead, warm-up or repeat; at: close time, ISO 8601; what: a sentence."""

    kind: str
    at: str
    what: str


@dataclass(frozen=True)
class CheckReport:
    """What was tried and what was found; no findings is a pass.

    warmed: points at which the warm-up was tried, which takes as many candles before them as the window has
    settles: for each indicator the candles after which its value is that of the whole history, as measured;
    None: not within those that there are
    """

    strategy: str
    timeframe: str
    candles: int
    warmup: int
    window: int
    cuts: int
    warmed: int
    seed: int
    buys: int
    sells: int
    settles: dict[str, int | None]
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def check_everywhere(
    name: str, parameters: dict[str, Any], cuts: int = 100, seed: int = 7, most: int = 100_000
) -> tuple[list[CheckReport], dict[str, str]]:
    """Check a strategy on made-up candles of every timeframe that suits it; the other timeframes with the
    reason why each was left out.

    most: candles at most; a strategy that needs more for its warm-up is not tried on that timeframe. BadInput
    when none suits it.
    """
    reports, left_out = [], dict[str, str]()
    for n, timeframe in enumerate(Timeframe):
        try:
            strategy = build(name, parameters, timeframe.value)
        except BadInput as error:
            if error.field != "timeframe":
                raise
            left_out[timeframe.value] = error.message
            continue
        wanted = max(TRIED_CANDLES, strategy.warmup + 1_000, min(strategy.window, most) + 500)
        if strategy.warmup + 10 > most:
            left_out[timeframe.value] = f"its warm-up of {strategy.warmup:,} candles is too long to be tried"
            continue
        reports.append(check(strategy, sample_candles(wanted, timeframe.value, seed + n), cuts, seed))
    if not reports:
        raise BadInput("timeframe", f"none suits {name}: {next(iter(left_out.values()))}")
    return reports, left_out


def check(strategy: Strategy, candles: pl.DataFrame, cuts: int = 100, seed: int = 7) -> CheckReport:
    """Try `cuts` random points, half of them where the whole history has a signal.

    candles: a candle frame, longer than the strategy's warm-up by 10 or more; BadInput otherwise, and for
    sizes that are none.
    """
    with_sizes(ExitsAndSizes(stop_loss=Decimal("0.01")), strategy)  # sizing risk needs the run's stop
    if candles.height < strategy.warmup + 10:
        raise BadInput(
            "candles",
            f"{candles.height} are too few: {strategy.name} needs {strategy.warmup + 10} to be checked",
        )
    whole = evaluate(strategy, candles)
    points = _points(whole, strategy.warmup, cuts, seed)
    findings = _differences("repeat", strategy, evaluate(strategy, candles), whole)
    for point in points:
        findings += _look_ahead(strategy, candles, whole, point)
        findings += _warm_up(strategy, candles, whole, point)
    for point in points[:: max(1, len(points) // 10)]:
        findings += _changed_future(strategy, candles, whole, point)
    return CheckReport(
        strategy=strategy.name,
        timeframe=strategy.timeframe.value if strategy.timeframe else "any",
        candles=candles.height,
        warmup=strategy.warmup,
        window=strategy.window,
        cuts=len(points),
        warmed=sum(point + 1 >= strategy.window for point in points),
        seed=seed,
        buys=int(whole["buy"].sum()),
        sells=int(whole["sell"].sum()),
        settles=_settling(strategy, candles, whole),
        findings=findings,
    )


def _points(whole: pl.DataFrame, warmup: int, cuts: int, seed: int) -> list[int]:
    # A leak of one candle shows where a signal is, which is rare among random points.
    random = np.random.default_rng(seed)
    anywhere = random.integers(warmup, whole.height, cuts - cuts // 2)
    events = (whole["buy"] | whole["sell"]).arg_true().to_numpy()
    chosen = random.choice(events, min(cuts // 2, events.size), replace=False) if events.size else events
    before = np.maximum(chosen - 1, warmup - 1)
    return sorted({int(point) for point in (*anywhere, *chosen, *before)})


def _look_ahead(strategy: Strategy, candles: pl.DataFrame, whole: pl.DataFrame, point: int) -> list[Finding]:
    seen, expected = evaluate(strategy, candles.head(point + 1)), whole.head(point + 1)
    for name in ("buy", "sell"):
        differs = (seen[name] != expected[name]).arg_true()
        if differs.len():
            row = int(differs[0])
            known, later = ("has", "has none") if seen[name][row] else ("has no", "has one")
            return [
                Finding(
                    "look-ahead",
                    seen["timestamp"][row].isoformat(),
                    f"this candle {known} {name} signal when {point - row} later candles are known, and "
                    f"{later} when all are",
                )
            ]
    return _differences("look-ahead", strategy, seen, expected)


def _changed_future(
    strategy: Strategy, candles: pl.DataFrame, whole: pl.DataFrame, point: int
) -> list[Finding]:
    """Other prices after the point, as many candles: finds what looks ahead without minding the end."""
    later = pl.int_range(pl.len()) > point
    prices = pl.col("open", "high", "low", "close")
    other = candles.with_columns(pl.when(later).then(prices * 1.37).otherwise(prices))
    seen, expected = evaluate(strategy, other).head(point + 1), whole.head(point + 1)
    return _differences("look-ahead", strategy, seen, expected)


def _warm_up(strategy: Strategy, candles: pl.DataFrame, whole: pl.DataFrame, point: int) -> list[Finding]:
    if point + 1 < strategy.window:
        return []
    begin = point + 1 - strategy.window
    seen = evaluate(strategy, candles.slice(begin, strategy.window)).tail(1)
    return _differences("warm-up", strategy, seen, whole.slice(point, 1))


def _settling(strategy: Strategy, candles: pl.DataFrame, whole: pl.DataFrame) -> dict[str, int | None]:
    """For each indicator the fewest candles, of those tried, from which on its newest value stays that of the
    whole history."""
    lengths, length = [], max(strategy.warmup, 1)
    while length < candles.height:
        lengths.append(length)
        length = length * 5 // 4 + 1
    expected, settled = whole.tail(1), dict[str, int | None](dict.fromkeys(strategy.indicator_names))
    unsettled = set(settled)
    for length in reversed(lengths):
        seen = evaluate(strategy, candles.tail(length)).tail(1)
        unsettled -= {name for name in unsettled if _apart(seen, expected, name).item()}
        settled |= dict.fromkeys(unsettled, length)
    return settled


def _differences(kind: str, strategy: Strategy, seen: pl.DataFrame, expected: pl.DataFrame) -> list[Finding]:
    """The first indicator, signal or confidence that differs between part of the history and all of it."""
    for name in strategy.indicator_names:
        wrong = _apart(seen, expected, name).arg_true()
        if wrong.len():
            row = int(wrong[0])
            values = f"{seen[name][row]} on part of the history and {expected[name][row]} on all"
            return [Finding(kind, seen["timestamp"][row].isoformat(), f"{name} is {values}")]
    for name in ("buy", "sell"):
        wrong = (seen[name] != expected[name]).arg_true()
        if wrong.len():
            row = int(wrong[0])
            sides = ("a", "none") if seen[name][row] else ("no", "one")
            what = f"there is {sides[0]} {name} signal on part of the history and {sides[1]} on all"
            return [Finding(kind, seen["timestamp"][row].isoformat(), what)]
    signals = expected["buy"] | expected["sell"]
    wrong = (signals & ((seen["confidence"] - expected["confidence"]).abs() > CONFIDENCE)).arg_true()
    if wrong.len():
        row = int(wrong[0])
        one, two = seen["confidence"][row], expected["confidence"][row]
        what = f"the confidence is {one} on part of the history and {two} on all"
        return [Finding(kind, seen["timestamp"][row].isoformat(), what)]
    return []


def _apart(seen: pl.DataFrame, expected: pl.DataFrame, name: str) -> pl.Series:
    # Relative to the value, or to a thousandth of the price for those that pass through zero.
    one, two = seen[name], expected[name]
    apart = ((one - two).abs() > TOLERANCE * (two.abs() + seen["close"] / 1000)).fill_null(False)
    return apart | (one.is_null() != two.is_null())
