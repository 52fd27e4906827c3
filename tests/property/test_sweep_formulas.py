"""What the sweep computes itself equals Polars: any formula on any candles, or it is left to Polars."""

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sweep.formula import Unknown, column
from pipelines.sweep.general import SharedColumns
from pipelines.sweep.machine import BLOCK
from pipelines.sweep.prices import SPAN, Prices, prepare
from pipelines.sweep.reading import read
from pipelines.sweep.walk import extremes
from strategies import registry
from strategies.base import VectorStrategy
from strategies.evaluate import evaluate
from strategies.indicators import averages, momentum, trend, volatility, volume
from strategies.indicators.base import Indicator, indicator, true_range
from strategies.parameters import Parameters
from strategies.sample import sample_candles

CANDLES = sample_candles(2 * BLOCK + 77)
FLAT = CANDLES.with_columns(pl.col("open", "high", "low", "close").fill_null(1.0) * 0 + 100)
HALTED = pl.concat([FLAT.head(40), CANDLES.slice(40, 900), FLAT.slice(940, 300), CANDLES.slice(1240)])


class Nothing(Parameters):
    """No parameters of its own."""


def strategy_of(indicators: dict[str, Indicator], buy: pl.Expr, sell: pl.Expr) -> VectorStrategy[Nothing]:
    """A strategy of these parts."""

    class Made(VectorStrategy[Nothing]):
        def indicators(self) -> dict[str, Indicator]:
            return indicators

        def buy(self) -> pl.Expr:
            return buy

        def sell(self) -> pl.Expr:
            return sell

    return Made(timeframe="1m")


def same_signals(strategy: VectorStrategy[Any], candles: pl.DataFrame, by_machine: bool = True) -> None:
    """The sweep's signals are those of a single run; by_machine: and Polars was not asked for them."""
    shared = SharedColumns(candles, None, 8)
    judged = evaluate(strategy, candles)
    assert bool(list(shared.batches([strategy]))) == by_machine
    (found,) = shared.each([strategy])
    assert not isinstance(found, Exception)
    for flags, side in zip(found, ("buy", "sell"), strict=True):
        differ = np.flatnonzero(flags[: candles.height].astype(bool) != judged[side].to_numpy())
        assert not differ.size, (side, differ[:5])


def numbers() -> st.SearchStrategy[pl.Expr]:
    """Floats made of candles."""
    leaves = st.sampled_from(["open", "high", "low", "close", "volume"]).map(lambda name: pl.col(name))
    periods = st.integers(1, 90)

    def larger(inside: st.SearchStrategy[pl.Expr]) -> st.SearchStrategy[pl.Expr]:
        constants = st.sampled_from([0.0, 1.0, -2.5, 100.0, 1e-3])
        return st.one_of(
            st.builds(lambda a, b, op: getattr(a, op)(b), inside, inside | constants, st.sampled_from(
                ["__add__", "__sub__", "__mul__", "__truediv__"])),
            st.builds(lambda a, n: a.shift(n), inside, periods),
            st.builds(lambda a, n: a.diff(n), inside, periods),
            st.builds(lambda a: a.abs(), inside),
            st.builds(lambda a: -a, inside),
            st.builds(lambda a, k: a.clip(k), inside, constants),
            st.builds(lambda a, k: a.clip(upper_bound=k), inside, constants),
            st.builds(lambda a, k: a.fill_null(k), inside, constants),
            st.builds(lambda a: a.fill_nan(None), inside),
            st.builds(lambda a, n, kind: getattr(a, f"rolling_{kind}")(window_size=n), inside, periods,
                      st.sampled_from(["mean", "sum", "max", "min"])),
            st.builds(lambda a, n: a.rolling_std(window_size=n + 1, ddof=0), inside, periods),
            st.builds(lambda a, n: a.ewm_mean(span=n, adjust=False, min_samples=n, ignore_nulls=True),
                      inside, periods),
            st.builds(lambda a, n: averages.ema_expression(a, n, "mean"), inside, periods),
            st.builds(lambda a, b: pl.max_horizontal(a, b), inside, inside),
            st.builds(lambda a, b, k: pl.when(a > k).then(a).otherwise(b), inside, inside, constants),
            st.builds(lambda a, b: pl.when(b == 0).then(50.0).otherwise(100 * a / b), inside, inside),
        )  # fmt: skip

    return st.recursive(leaves, larger, max_leaves=4)


def conditions() -> st.SearchStrategy[pl.Expr]:
    """Yes, no or unknown."""
    value = numbers()
    compared = st.builds(
        lambda a, b, op: getattr(a, op)(b),
        value,
        value | st.sampled_from([0.0, 50.0, 100.0]),
        st.sampled_from(["__gt__", "__ge__", "__lt__", "__le__", "__eq__", "__ne__"]),
    )

    def larger(inside: st.SearchStrategy[pl.Expr]) -> st.SearchStrategy[pl.Expr]:
        return st.one_of(
            st.builds(lambda a, b: a & b, inside, inside),
            st.builds(lambda a, b: a | b, inside, inside),
            st.builds(lambda a: ~a, inside),
            st.builds(lambda a, n: a.shift(n), inside, st.integers(1, 64)),
            st.builds(lambda a: a & ~a.shift(1), inside),
            st.builds(lambda a, v: a.fill_null(v), inside, st.booleans()),
        )

    return st.recursive(compared, larger, max_leaves=3)


@given(buy=conditions(), sell=conditions(), inside=numbers(), candles=st.sampled_from([CANDLES, HALTED]))
@settings(max_examples=60, deadline=None)
def test_any_formula_is_polars(buy: pl.Expr, sell: pl.Expr, inside: pl.Expr, candles: pl.DataFrame) -> None:
    """Whatever is written, nulls, infinities and NaN included, the sweep acts on the same candles."""

    @indicator(warmup=lambda: 1)
    def made() -> pl.Expr:
        return inside

    strategy = strategy_of({"line": made()}, buy & (pl.col("line") > 0), sell | (pl.col("line") < 50))
    shared = SharedColumns(candles, None, 8)
    (found,) = shared.each([strategy])
    judged = evaluate(strategy, candles)
    assert not isinstance(found, Exception)
    for flags, side in zip(found, ("buy", "sell"), strict=True):
        assert flags[: candles.height].astype(bool).tolist() == judged[side].to_list()


INDICATORS = [
    averages.sma(20), averages.ema(12), averages.ema(12, seed="mean"), averages.wma(5), momentum.rsi(14),
    momentum.macd(), momentum.macd_signal(), momentum.stochastic_k(), momentum.stochastic_d(), trend.adx(),
    trend.plus_di(), trend.minus_di(), trend.supertrend(), trend.supertrend(7, 1.5), volatility.stdev(9),
    volatility.bollinger_upper(), volatility.bollinger_lower(15, 1.5), volatility.atr(), volume.obv(),
    volatility.keltner_upper(), volatility.keltner_lower(), volatility.donchian_upper(),
    volatility.donchian_lower(), volatility.chandelier_stop(), volatility.realised_volatility(30, 525_600),
    volume.vwap_anchored(), volume.vwap(30), averages.ema(5).on("15m"), momentum.rsi(5).on("5m"),
]  # fmt: skip


@pytest.mark.parametrize("chosen", INDICATORS, ids=lambda chosen: f"{chosen.kind}{chosen.parameters}")
def test_every_indicator_is_its_expression(chosen: Indicator) -> None:
    """A condition on any indicator, calm and halted markets, gives the signals of a single run."""
    line, other = pl.col("line"), averages.sma(3)
    for candles in (CANDLES, HALTED):
        middle = evaluate(strategy_of({"line": chosen}, line > 0, line < 0), candles)["line"].median()
        strategy = strategy_of(
            {"line": chosen, "other": other},
            (line > middle) & (line <= middle).shift(1) | (line == pl.col("other")),
            line.shift(1) >= line,
        )
        same_signals(strategy, candles)


@pytest.mark.parametrize("name", [name for name in registry.shipped() if name != "grid_trading"])
def test_one_shipped_strategy_is_left_to_polars(name: str) -> None:
    """The machine walks every vectorised strategy that ships but one: volatility_target takes logarithms,
    whose last digit is the library's own, and is walked by the kernel of sizes in any case."""
    same_signals(registry.build(name, timeframe="1m"), HALTED, by_machine=name != "volatility_target")


def test_what_is_not_known_is_left_to_polars() -> None:
    """A look ahead, a function of a person's own and a division by zero that matters are not guessed at."""
    for unknown in (pl.col("other") > 1, pl.col("line").shift(-1) > pl.col("line")):
        with pytest.raises(Unknown):
            read(unknown, {"line": column("close")})
    rank = pl.col("line").rank()
    same_signals(strategy_of({"line": averages.sma(3)}, rank > 700, rank < 600), CANDLES, by_machine=False)
    odd = pl.col("close").map_batches(lambda values: values.rank(), return_dtype=pl.Float64)
    same_signals(strategy_of({}, odd > 700, odd < 600), CANDLES)
    ratio = (pl.col("close") - pl.col("open")) / (pl.col("high") - pl.col("low"))
    same_signals(strategy_of({}, ratio > 0.5, ratio < -0.5), HALTED)
    same_signals(strategy_of({}, true_range() > 0.1, true_range() < 0.01), HALTED)


@lru_cache
def prices_of(seed: int) -> Prices:
    """Look-ups of some made-up candles."""
    return prepare(sample_candles(5 * SPAN * SPAN + 1, seed=seed), True, 60_000)


@given(st.integers(0, 5 * SPAN * SPAN), st.integers(0, 5 * SPAN * SPAN), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_extremes_of_any_stretch(one: int, two: int, seed: int) -> None:
    """Lowest, highest and deepest drawdown from look-ups are those of the closes themselves."""
    prices = prices_of(seed)
    first, last = min(one, two), max(one, two)
    close = prices.close[first : last + 1]
    found = _extremes(first, last, prices.look, prices.close, prices.far)
    assert found[:2] == (close.min(), close.max())
    assert found[2] == pytest.approx(float((close / np.maximum.accumulate(close)).min()), abs=1e-15)


def _extremes(*given: Any) -> tuple[float, float, float]:
    low, high, worst = extremes(*given)
    return float(low), float(high), float(worst)
