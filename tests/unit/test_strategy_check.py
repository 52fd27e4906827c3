"""The look-ahead and warm-up check finds what it is for."""

import polars as pl
import pytest

from core.errors import BadInput
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


CLOSE = pl.col("close")
HOUR = pl.col("timestamp").dt.offset_by("-1us").dt.truncate("1h")


def leak(expression: pl.Expr) -> Indicator:
    """An indicator that says it needs nothing and takes what it wants."""
    return Indicator("leak", (), expression, warmup=1, memory=1)


LEAKS: dict[str, Indicator | pl.Expr] = {
    "the next close": tomorrow(),
    "a centred mean": leak(CLOSE.rolling_mean(window_size=21, center=True, min_samples=1)),
    "a mean of everything": normalised(),
    "a z-score of everything": leak((CLOSE - CLOSE.mean()) / CLOSE.std() * 0.1 + CLOSE),
    "a min-max of everything": leak((CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min()) * 10 + 95),
    "a backward fill": leak(pl.when(pl.int_range(pl.len()) % 5 == 4).then(CLOSE).backward_fill()),
    "an interpolation": leak(pl.when(pl.int_range(pl.len()) % 5 == 0).then(CLOSE).interpolate()),
    "the hour's close before it": leak(CLOSE.last().over(HOUR)),
    "the hour's high before it": leak(pl.col("high").max().over(HOUR)),
    "hours labelled by their open": leak(CLOSE.last().over(pl.col("timestamp").dt.truncate("1h"))),
    "a rank among everything": leak(CLOSE.rank() / 100),
    "the mean from the end": leak(
        CLOSE.reverse().cum_sum().reverse() / CLOSE.reverse().cum_count().reverse()
    ),
    "a condition on the next candle": CLOSE.shift(-1) > CLOSE,
    "a condition on the next open": pl.col("open").shift(-1) > CLOSE,
    "the highest of all": CLOSE.max() <= CLOSE,
    "the last candle alone": (pl.int_range(pl.len()) == pl.len() - 1) & (pl.col("open") < CLOSE),
}


@pytest.mark.parametrize("name", LEAKS)
def test_planted_leaks_are_found(name: str) -> None:
    """A leak in an indicator or a condition, of one candle or of all, is found and named."""
    planted = LEAKS[name]
    strategy = Planted(planted) if isinstance(planted, Indicator) else Planted(ema(5), planted)
    report = check(strategy, sample_candles(1_500), cuts=40)
    assert not report.passed
    assert report.findings[0].kind == "look-ahead", report.findings[0]
    assert report.findings[0].what


def test_a_higher_candle_before_its_close_is_found() -> None:
    """A strategy that lays hours under minutes by their open instead of their close sees what is to come."""

    class Early(Planted):
        def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
            judged = super().judge(candles)
            hours = candles.group_by_dynamic("timestamp", every="1h").agg(
                pl.col("close").last().alias("hour")
            )
            joined = judged.join_asof(hours, on="timestamp")
            return joined.with_columns(buy=pl.col("hour") > pl.col("close")).drop("hour")

    report = check(Early(ema(5)), sample_candles(1_500), cuts=40)
    assert report.findings[0].kind == "look-ahead"


def test_a_leak_on_one_timeframe_is_found_there() -> None:
    """What leaks only where an hour has more than one candle passes on hours and is found on minutes."""
    strategy = Planted(leak(CLOSE.last().over(HOUR)))
    assert not check(strategy, sample_candles(800, "15m"), cuts=40).passed
    assert check(strategy, sample_candles(800, "1h"), cuts=40).passed


def test_a_confidence_that_looks_ahead_is_found() -> None:
    """Signals can be honest and their confidence not."""

    class Sure(Planted):
        def confidence(self) -> pl.Expr:
            return (CLOSE.shift(-1).fill_null(CLOSE) / CLOSE - 0.5).clip(0, 1)

    report = check(Sure(ema(5)), sample_candles(1_500), cuts=40)
    assert report.findings[0].kind == "look-ahead"
    assert "confidence" in report.findings[0].what


def test_a_fill_that_knows_its_candle_is_found() -> None:
    """A strategy that buys only where the candle of its fill will rise depends on that candle."""
    next_rises = (pl.col("close").shift(-1) > pl.col("open").shift(-1)).fill_null(False)
    report = check(Planted(ema(5), next_rises), sample_candles(1_500), cuts=40)
    assert report.findings[0].kind == "look-ahead"


def test_a_memory_outside_the_state_is_found() -> None:
    """A strategy that keeps something in the object says another thing the second time."""

    class Counting(Planted):
        times = 0

        def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
            self.times += 1
            rows = pl.int_range(pl.len())
            return super().judge(candles).with_columns(buy=(rows + self.times) % 7 == 0)

    assert check(Counting(ema(5)), sample_candles(500), cuts=10).findings[0].kind == "repeat"


def test_a_warm_up_that_is_too_short_is_found_and_measured() -> None:
    """An EMA that says its period is enough is found; the report says after how many candles it settles."""
    strategy = Planted(short_memory(50))
    strategy.indicators = lambda: {"line": short_memory(50), "slow": short_memory(20)}  # type: ignore[method-assign]
    report = check(strategy, sample_candles(1_500), cuts=40)
    assert report.findings[0].kind == "warm-up"
    assert 300 < (report.settles["line"] or 0) < 1_500
    assert 100 < (report.settles["slow"] or 0) < (report.settles["line"] or 0)


def test_too_few_candles_are_refused() -> None:
    """A check without candles after the warm-up would pass everything."""
    with pytest.raises(BadInput, match="are too few"):
        check(registry.build("ema_crossover"), sample_candles(30))
