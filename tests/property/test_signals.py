"""One candle at a time or all at once: a strategy says the same."""

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from core.signals import SignalType
from core.timeframes import Timeframe
from strategies import registry
from strategies.base import Strategy, VectorStrategy
from strategies.columns import resample, with_indicators
from strategies.conditions import becomes, crosses_above, crosses_below
from strategies.evaluate import evaluate, last_signal
from strategies.indicators.averages import ema, sma
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters
from strategies.sample import sample_candles

SMALL = {
    "ema_crossover": {"fast_period": 3, "slow_period": 8},
    "sma_crossover": {"fast_period": 3, "slow_period": 8},
    "rsi_reversion": {"period": 4},
    "macd_trend": {"fast_period": 3, "slow_period": 6, "signal_period": 3},
    "bollinger_reversion": {"period": 6, "deviations": 1.5},
    "trend_filter": {"fast_period": 3, "slow_period": 8, "trend_period": 3, "trend_timeframe": "5m"},
    "buy_and_hold": {},
    "donchian_breakout": {"entry_period": 8, "exit_period": 4, "atr_period": 3, "stop_distance": 1.5},
    "volatility_target": {"period": 10},
    "grid_trading": {"spacing": 0.001, "first_rung": 0, "session_hours": 4},
}


def kind(row: dict) -> SignalType:
    """The signal of a row of `evaluate`."""
    return SignalType.SELL if row["sell"] else SignalType.BUY if row["buy"] else SignalType.HOLD


@pytest.mark.parametrize("name", sorted(SMALL))
@given(seed=st.integers(0, 10_000), end=st.integers(1, 1_500))
@settings(max_examples=25, deadline=None)
def test_the_last_candle_is_judged_as_in_the_whole(name: str, seed: int, end: int) -> None:
    """A bot that sees the newest `window` candles says what a backtest of the whole history says there."""
    strategy = registry.build(name, SMALL[name], "1m")
    candles = sample_candles(1_500, seed=seed)
    row = evaluate(strategy, candles).row(end - 1, named=True)
    signal = last_signal(strategy, candles.slice(max(0, end - strategy.window), min(end, strategy.window)))
    assert signal.signal_type == kind(row)
    assert signal.price == row["close"]
    assert 0 <= signal.confidence <= 1
    assert signal.timestamp_ms == row["timestamp"].timestamp() * 1000
    if signal.signal_type is not SignalType.HOLD:
        assert signal.confidence == pytest.approx(row["confidence"], abs=1e-6)
    for indicator, value in signal.indicators.items():
        expected = row[indicator]
        if end >= strategy.window:
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_no_candle_knows_the_next(name: str) -> None:
    """On every prefix the signals are those of the whole history up to there."""
    strategy = registry.build(name, SMALL[name], "1m")
    candles = sample_candles(200, seed=11)
    whole = evaluate(strategy, candles)
    for count in range(1, candles.height + 1):
        prefix = evaluate(strategy, candles.head(count))
        assert prefix.select("buy", "sell").equals(whole.select("buy", "sell").head(count))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_nothing_is_said_before_the_warm_up(name: str) -> None:
    """No signal comes before candle number `warmup`, and buy and sell never come together."""
    strategy = registry.build(name, SMALL[name], "1m")
    judged = evaluate(strategy, sample_candles(2_000))
    early = judged.head(strategy.warmup - 1)
    assert not (early["buy"] | early["sell"]).any()
    assert not (judged["buy"] & judged["sell"]).any()
    assert judged["buy"].any()


@given(first=st.integers(0, 59), count=st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_higher_candles_are_whole(first: int, count: int) -> None:
    """Resampled candles are exactly those whose whole span lies in the frame, whatever minute it begins."""
    minutes = sample_candles(400).slice(first, count)
    higher = resample(minutes, Timeframe.M15, Timeframe.M1)
    for row in higher.iter_rows(named=True):
        begin = row["timestamp"] - timedelta(minutes=15)
        inside = minutes.filter((pl.col("timestamp") > begin) & (pl.col("timestamp") <= row["timestamp"]))
        assert inside.height == 15
        assert row["open"] == inside["open"][0]
        assert row["high"] == inside["high"].max()
        assert row["low"] == inside["low"].min()
        assert row["close"] == inside["close"][-1]
        assert row["volume"] == pytest.approx(inside["volume"].sum())
    ends = minutes["timestamp"].dt.epoch("s") % 900 == 0
    whole = sum(1 for position, is_end in enumerate(ends) if is_end and position >= 14)
    assert higher.height == whole


def test_a_higher_candle_is_seen_from_its_close() -> None:
    """The value on 1h candles changes on the minute that closes the hour, not before."""
    candles = sample_candles(300)
    line = with_indicators(candles, {"hour": sma(1).on("1h")}, Timeframe.M1)["hour"]
    assert line.head(59).null_count() == 59
    assert line[59] == candles["close"][59]
    assert line[118] == candles["close"][59]
    assert line[119] == candles["close"][119]


class Nothing(Parameters):
    """No parameters."""


class Custom(VectorStrategy[Nothing]):
    """A strategy whose conditions a test hands in."""

    def __init__(self, buy: pl.Expr, sell: pl.Expr | None = None) -> None:
        super().__init__()
        self._buy, self._sell = buy, pl.lit(False) if sell is None else sell

    def indicators(self) -> dict[str, Indicator]:
        return {"fast": ema(2), "slow": sma(3)}

    def buy(self) -> pl.Expr:
        return self._buy

    def sell(self) -> pl.Expr:
        return self._sell


def test_sell_wins_over_buy() -> None:
    """A candle that says both is a sell."""
    judged = evaluate(Custom(pl.lit(True), pl.lit(True)), sample_candles(20))
    assert not judged["buy"].any()
    assert judged["sell"].tail(10).all()


def test_crossings_with_a_constant_are_events() -> None:
    """Crossing a level is true on one candle, as is becoming true; the level may be a plain number."""
    above = evaluate(
        Custom(crosses_above("close", 100.0), crosses_below("close", 100.0)), sample_candles(500)
    )
    states = evaluate(Custom(becomes(pl.col("close") > 100.0)), sample_candles(500))
    assert above["buy"].sum() > 2
    assert above["buy"].to_list() == states["buy"].to_list()
    assert not (above["buy"] & above["buy"].shift(1, fill_value=False)).any()


def test_a_strategy_that_raises_is_named() -> None:
    """A mistake in a strategy's expressions is one line with its name, not a traceback of the engine."""
    with pytest.raises(BadInput, match="strategy custom: it failed: ColumnNotFoundError"):
        evaluate(Custom(pl.col("no_such_column") > 1), sample_candles(20))


def answers(change: Callable[[pl.DataFrame], object]) -> Custom:
    """A strategy whose answer is changed on its way out."""

    class Wrong(Custom):
        def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
            return change(super().judge(candles))  # type: ignore[return-value]

    return Wrong(pl.lit(True))


class Shadowing(Custom):
    """Names an indicator like a column of the candles."""

    def indicators(self) -> dict[str, Indicator]:
        return {"close": ema(2)}


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (answers(lambda judged: judged.head(5)), "returned 5 rows for 20 candles"),
        (answers(lambda judged: pl.concat([judged, judged])), "returned 40 rows for 20 candles"),
        (answers(lambda judged: None), "returned NoneType; a frame"),
        (answers(lambda judged: judged.drop("buy")), "returned no column buy"),
        (answers(lambda judged: judged.drop("slow")), "returned no column slow"),
        (answers(lambda judged: judged.reverse()), "other times than those of the candles"),
        (answers(lambda judged: judged.with_columns(fast=pl.lit("high"))), "fast is String: a number"),
        (Custom(pl.col("close")), "buy is Float64: a condition"),
        (Custom((pl.col("close") > 0).cast(pl.Int8)), "buy is Int8: a condition"),
        (Custom(pl.lit(True), pl.lit("no")), "sell is String: a condition"),
        (Shadowing(pl.lit(True)), "an indicator is named close"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_answer_is_named(strategy: Strategy, said: str) -> None:
    """A wrong number of rows, another order, missing or wrong columns: one line with the strategy's name."""
    with pytest.raises(BadInput) as caught:
        evaluate(strategy, sample_candles(20))
    assert caught.value.field == f"strategy {strategy.name}"
    assert said in caught.value.message


def test_prices_are_those_of_the_candles() -> None:
    """A strategy that changes a price column changes what it sees, never what is traded."""
    strategy = answers(lambda judged: judged.with_columns(close=pl.col("close") * 2))
    candles = sample_candles(20)
    assert evaluate(strategy, candles)["close"].equals(candles["close"])


def test_a_missing_column_is_named() -> None:
    """Candles without volume are refused by name."""
    strategy: Strategy = registry.build("buy_and_hold")
    with pytest.raises(BadInput, match="no column volume"):
        evaluate(strategy, sample_candles(5).drop("volume"))
