"""What a backtest does with candles that cannot be right, and with stretches of any length."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from core.errors import BadInput
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from strategies.sample import sample_candles

NAN, INF = float("nan"), float("inf")


def request_of(**values: Any) -> BacktestRequest:
    """A quick crossing on made-up minutes."""
    plain = {"strategy": "ema_crossover", "parameters": {"fast_period": 3, "slow_period": 8}}
    return BacktestRequest(**{**plain, "symbol": "BTC-USDT", "timeframe": "1m", **values})


def with_value(row: int, name: str, value: float) -> pl.DataFrame:
    """Candles with one value replaced."""
    changed = pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(pl.col(name))
    return sample_candles(200).with_columns(changed.alias(name))


@pytest.mark.parametrize(
    ("candles", "said"),
    [
        (with_value(50, "close", NAN), "row 51: close is not a number"),
        (with_value(50, "open", INF), "row 51: open is not a number"),
        (with_value(50, "low", 0.0), "row 51: low is not above zero"),
        (with_value(50, "low", -3.0), "row 51: low is not above zero"),
        (with_value(50, "high", 1e30), "row 51: high is above"),
        (with_value(50, "volume", -1.0), "row 51: volume is below zero"),
        (with_value(50, "open", 500.0), "row 51: open is outside low … high"),
        (with_value(50, "high", 1.0), "row 51: high is below low"),
        (sample_candles(200).with_columns(pl.col("timestamp").dt.offset_by("7s")), "is not the boundary"),
        (sample_candles(1).clear(), "no candles"),
        (sample_candles(5), "5 candles, but 9 are needed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_candles_that_cannot_be_right_are_refused(candles: pl.DataFrame, said: str) -> None:
    """No number is made of them: the row and what is wrong with it are named."""
    with pytest.raises(BadInput) as caught:
        execute(request_of(), candles=candles)
    assert said in str(caught.value)


def test_another_candle_for_the_same_time_is_refused() -> None:
    """Which of two different candles is right is not guessed."""
    candles = sample_candles(200)
    twice = pl.concat([candles, candles.slice(50, 1).with_columns(volume=pl.lit(1e3))])
    with pytest.raises(BadInput, match="another candle than before"):
        execute(request_of(), candles=twice)


def test_what_can_be_mended_is_mended_and_counted() -> None:
    """Rows out of order and repeated ones give the result of the sorted ones; holes are counted and left."""
    candles = sample_candles(600)
    right = execute(request_of(), candles=candles)
    mixed = pl.concat([candles.slice(300), candles.head(300), candles.slice(10, 5)])
    mended = execute(request_of(), candles=mixed)
    assert mended.trades.equals(right.trades)
    assert (mended.data.unsorted, mended.data.duplicates) == (2, 5)
    holed = execute(request_of(), candles=pl.concat([candles.head(200), candles.slice(230)]))
    assert (holed.data.missing, holed.data.gaps) == (30, 1)
    assert holed.candles == 570


@pytest.mark.parametrize(
    ("timeframe", "length"),
    [
        ("1m", timedelta(days=1)),
        ("1m", timedelta(days=92)),
        ("1h", timedelta(days=730)),
        ("1d", timedelta(days=3_650)),
    ],
    ids=["a day", "three months", "two years", "ten years"],
)
@pytest.mark.parametrize("options", [{}, {"risk": {"stop_loss": 0.02}}, {"execution": {"order": "limit"}}])
def test_any_length_is_a_test_period(timeframe: str, length: timedelta, options: dict[str, Any]) -> None:
    """From a day to many years, with every kernel: each candle is judged once, and the profits of the trades
    add up to the final value."""
    count = int(
        length / {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}[timeframe]
    )
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    request = request_of(timeframe=timeframe, start=begin, end=begin + length, **options)
    result = execute(request, candles=sample_candles(count + 500, timeframe))
    assert result.candles == count
    assert (result.start, result.end) == (begin, begin + length)
    assert result.trades.height > 0
    assert result.final_value == pytest.approx(request.cash + result.trades["pnl"].sum(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2030, 1, 1, tzinfo=UTC), None),
        (None, datetime(2020, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, 0, 30, tzinfo=UTC), datetime(2026, 1, 1, 0, 30, 30, tzinfo=UTC)),
    ],
    ids=["after the last", "before the first", "within a candle"],
)
def test_a_range_without_candles_is_named(start: datetime | None, end: datetime | None) -> None:
    """An empty stretch is one line with the range, not a result over nothing."""
    with pytest.raises(BadInput, match="no candles"):
        execute(request_of(start=start, end=end), candles=sample_candles(200))
