"""The look-ahead and warm-up check finds what it is for."""

import polars as pl
import pytest

from strategies import registry
from strategies.base import VectorStrategy
from strategies.check import check
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator, indicator
from strategies.parameters import Parameters
from strategies.sample import sample_candles


class Nothing(Parameters):
    """No parameters."""


@indicator(warmup=lambda: 1)
def tomorrow() -> pl.Expr:
    """The next close: the plainest leak there is."""
    return pl.col("close").shift(-1).forward_fill()


@indicator(warmup=lambda: 1)
def normalised() -> pl.Expr:
    """The close over the mean of the whole history, later candles included."""
    return pl.col("close") / pl.col("close").mean()


@indicator(warmup=lambda period: period)
def short_memory(period: int) -> pl.Expr:
    """An EMA that claims to need no more candles than its period."""
    return pl.col("close").ewm_mean(span=period, adjust=False, min_samples=period)


class Planted(VectorStrategy[Nothing]):
    """Crosses a line given by the test."""

    def __init__(self, line: Indicator, buy: pl.Expr | None = None) -> None:
        super().__init__(timeframe="1m")
        self._line, self._buy = line, buy

    def indicators(self) -> dict[str, Indicator]:
        return {"line": self._line, "slow": ema(20)}

    def buy(self) -> pl.Expr:
        return crosses_above("line", "slow") if self._buy is None else self._buy

    def sell(self) -> pl.Expr:
        return crosses_below("line", "slow")


@pytest.mark.parametrize("name", registry.shipped())
def test_every_shipped_strategy_passes(name: str) -> None:
    """None of the shipped strategies looks ahead or needs more history than it says."""
    strategy = registry.build(name, {"trend_period": 5} if name == "trend_filter" else {}, "1m")
    report = check(strategy, sample_candles(3_000), cuts=30)
    assert report.findings == []
    assert report.passed


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        (Planted(tomorrow()), "look-ahead"),
        (Planted(normalised()), "look-ahead"),
        (Planted(ema(5), pl.col("close").shift(-1) > pl.col("close")), "look-ahead"),
        (Planted(ema(5), pl.col("close") >= pl.col("close").max()), "look-ahead"),
        (Planted(short_memory(50)), "warm-up"),
    ],
    ids=["next close", "mean of all", "condition on the next candle", "highest of all", "short warm-up"],
)
def test_planted_mistakes_are_found(strategy: VectorStrategy[Nothing], kind: str) -> None:
    """A leak in an indicator or in a condition, and a warm-up that is too short, are each found and named."""
    if kind == "warm-up":
        strategy.indicators = lambda: {"line": short_memory(50), "slow": short_memory(20)}  # type: ignore[method-assign]
    report = check(strategy, sample_candles(1_500), cuts=40)
    assert not report.passed
    assert report.findings[0].kind == kind
    assert report.findings[0].what


def test_a_higher_timeframe_leak_is_found() -> None:
    """A higher candle that is seen before its close is found."""

    class Leaky(Planted):
        def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
            judged = super().judge(candles)
            hour = pl.col("timestamp").dt.offset_by("-1us").dt.truncate("1h")
            return judged.with_columns(buy=pl.col("close").last().over(hour) > pl.col("close"))

    report = check(Leaky(ema(5)), sample_candles(1_500), cuts=40)
    assert report.findings[0].kind == "look-ahead"
