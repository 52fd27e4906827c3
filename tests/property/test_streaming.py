"""A candle at a time or all at once: an indicator is the same."""

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.timeframes import Timeframe
from strategies.columns import with_indicators
from strategies.indicators import momentum, volatility
from strategies.indicators.averages import ema, sma
from strategies.indicators.base import Indicator, indicator
from strategies.indicators.streaming import _FORMS, Bar, stream
from strategies.sample import sample_candles
from tests.unit.test_indicators import EVERY, names


@indicator(warmup=lambda period: period + 1)
def slope(period: int) -> pl.Expr:
    """One of a user's own: the change of the close."""
    return pl.col("close") - pl.col("close").shift(period)


def namesake() -> Callable[[int], Indicator]:
    """One of a user's own that is called like one of the package and takes the same."""

    @indicator(warmup=lambda period, source="close", seed="first": period)
    def ema(period: int, source: str = "close", seed: str = "first") -> pl.Expr:
        return pl.col("open").rolling_mean(period)

    return ema


SHORT = [
    *(made for made in EVERY),
    ema(7, seed="mean"),
    ema(3, source="high"),
    sma(5, source="volume"),
    momentum.macd(3, 8),
    momentum.macd_signal(3, 8, 4, seed="mean"),
    slope(6),
    namesake()(5),
]


def bars(candles: pl.DataFrame) -> list[Bar]:
    """The rows."""
    times = candles["timestamp"].dt.epoch("ms")
    rows = candles.select("open", "high", "low", "close", "volume").iter_rows()
    return [Bar(at, *row) for at, row in zip(times, rows, strict=True)]


def same(made: Indicator, candles: pl.DataFrame, own: Timeframe) -> None:
    """Value by value, and None with None; sums of what was traded lose digits to their size."""
    line = stream(made, own)
    streamed = [line(bar) for bar in bars(candles)]
    column = with_indicators(candles, {"line": made}, own)["line"].to_list()
    assert [value is None for value in streamed] == [value is None for value in column]
    scale = max((abs(value) for value in column if value is not None), default=0.0)
    for one, two in zip(streamed, column, strict=True):
        if two is not None:
            assert one == pytest.approx(two, rel=1e-9, abs=1e-9 * max(scale, 1.0))


@pytest.mark.parametrize("made", SHORT, ids=names(SHORT))
@given(seed=st.integers(0, 9_999), count=st.integers(1, 160), quiet=st.booleans())
@settings(max_examples=15, deadline=None)
def test_streaming_equals_columns(made: Indicator, seed: int, count: int, quiet: bool) -> None:
    """On random candles, some standing still, every value within 1e-9 and none before its time."""
    candles = sample_candles(count, seed=seed)
    if quiet:
        prices = pl.col("open", "high", "low", "close")
        still = pl.int_range(pl.len()) % 60 < 30
        candles = candles.with_columns(pl.when(still).then(100.0).otherwise(prices).name.keep())
    same(made, candles, Timeframe.M1)


@given(seed=st.integers(0, 9_999), first=st.integers(0, 59), holes=st.booleans())
@settings(max_examples=20, deadline=None)
def test_streaming_on_a_higher_timeframe(seed: int, first: int, holes: bool) -> None:
    """Values appear with the close of the higher candle, whichever minute the candles begin at and whichever
    are missing."""
    candles = sample_candles(400, seed=seed).slice(first)
    if holes:
        candles = candles.sample(fraction=0.8, seed=seed).sort("timestamp")
    for made in (sma(3).on("15m"), volatility.atr(4).on("5m"), slope(2).on("1h")):
        same(made, candles, Timeframe.M1)


def test_every_indicator_of_the_package_has_a_form_of_its_own() -> None:
    """None of them falls back on its newest candles, which is slower."""
    assert {made.kind for made in EVERY} == set(_FORMS)
