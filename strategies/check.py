"""Does a strategy look ahead, and does it need more history than it says?

Look-ahead: signals on candles cut off at a point must be those that the whole history gives up to there.
Warm-up: the newest signal on the last `window` candles must be that of the whole history, and its
indicators within 1e-9 of theirs. Both are tried at random points; a strategy that passes can still be wrong
at others, so the points are many and their choice is told by a seed.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from core.errors import BadInput
from strategies.base import Strategy
from strategies.evaluate import evaluate

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Finding:
    """One disagreement: kind is look-ahead or warm-up; at: close time, ISO 8601; what: in a sentence."""

    kind: str
    at: str
    what: str


@dataclass(frozen=True)
class CheckReport:
    """What was tried and what was found; no findings is a pass."""

    strategy: str
    candles: int
    warmup: int
    window: int
    cuts: int
    seed: int
    buys: int
    sells: int
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def check(strategy: Strategy, candles: pl.DataFrame, cuts: int = 100, seed: int = 7) -> CheckReport:
    """Try `cuts` random points, half of them where the whole history has a signal.

    candles: a candle frame, longer than the strategy's warm-up by 10 or more; BadInput otherwise.
    """
    if candles.height < strategy.warmup + 10:
        raise BadInput(
            "candles",
            f"{candles.height} are too few: {strategy.name} needs {strategy.warmup + 10} to be checked",
        )
    whole = evaluate(strategy, candles)
    points = _points(whole, strategy.warmup, cuts, seed)
    findings: list[Finding] = []
    for point in points:
        findings += _look_ahead(strategy, candles, whole, point)
        findings += _warm_up(strategy, candles, whole, point)
    return CheckReport(
        strategy=strategy.name,
        candles=candles.height,
        warmup=strategy.warmup,
        window=strategy.window,
        cuts=len(points),
        seed=seed,
        buys=int(whole["buy"].sum()),
        sells=int(whole["sell"].sum()),
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
    return _indicators("look-ahead", strategy, seen, expected)


def _warm_up(strategy: Strategy, candles: pl.DataFrame, whole: pl.DataFrame, point: int) -> list[Finding]:
    if point + 1 < strategy.window:
        return []
    begin = point + 1 - strategy.window
    seen = evaluate(strategy, candles.slice(begin, strategy.window)).tail(1)
    expected = whole.slice(point, 1)
    apart = _indicators("warm-up", strategy, seen, expected)
    for name in ("buy", "sell"):
        if not apart and seen[name][0] != expected[name][0]:
            known, whole_has = ("has", "none") if seen[name][0] else ("has no", "one")
            at = seen["timestamp"][0].isoformat()
            what = f"the window {known} {name} signal and the whole history {whole_has}"
            apart = [Finding("warm-up", at, what)]
    return apart


def _indicators(kind: str, strategy: Strategy, seen: pl.DataFrame, expected: pl.DataFrame) -> list[Finding]:
    # Relative to the value, or to a thousandth of the price for those that pass through zero.
    for name in strategy.indicator_names:
        one, two = seen[name], expected[name]
        apart = ((one - two).abs() > TOLERANCE * (two.abs() + seen["close"] / 1000)).fill_null(False)
        wrong = (apart | (one.is_null() != two.is_null())).arg_true()
        if wrong.len():
            row = int(wrong[0])
            at = seen["timestamp"][row].isoformat()
            return [Finding(kind, at, f"{name} is {one[row]} on part of the history and {two[row]} on all")]
    return []
