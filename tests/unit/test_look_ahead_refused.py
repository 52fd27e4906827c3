"""Strategies that know what comes are refused by every run, not only by the check."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from core.signals import SignalType
from strategies import registry
from strategies.ahead import LOOKED_AT, LooksAhead, refuse_look_ahead
from strategies.base import VectorStrategy
from strategies.indicators.averages import ema, sma
from strategies.indicators.base import Indicator, indicator
from strategies.parameters import Parameters, parameter
from strategies.sample import sample_candles
from strategies.steps import Decision, State, Step, StepStrategy

close, line = pl.col("close"), pl.col("line")
LEAKS: dict[str, pl.Expr] = {
    "the next close": close.shift(-1) > close,
    "the highest of all": close >= close.max() * 0.995,
    "the mean of all": close > close.mean(),
    "read backwards": close.reverse() > line,
    "a gap filled from behind": pl.when(close > line).then(close).backward_fill() > close * 1.0005,
    "the end of its own hour": close.last().over(pl.col("timestamp").dt.truncate("1h")) > close,
    "a centred mean": close.rolling_mean(5, center=True) > close,
    "a rank": close.rank() > pl.len() / 2,
}


class LeakParameters(Parameters):
    """Of a planted leak."""

    period: int = parameter(9, "Length of the line", low=1, high=100, search=(5, 9, 1))


class Leak(VectorStrategy[LeakParameters]):
    """Buys by a condition that is planted, sells under a line."""

    condition: pl.Expr = close > line

    def indicators(self) -> dict[str, Indicator]:
        """The line."""
        return {"line": ema(self.parameters.period)}

    def buy(self) -> pl.Expr:
        """What was planted."""
        return self.condition

    def sell(self) -> pl.Expr:
        """Well below the line."""
        return close < line * 0.999


class LongLeak(Leak):
    """The same behind a line of thousands of candles."""

    def indicators(self) -> dict[str, Indicator]:
        """The line."""
        return {"line": sma(5_000)}


@indicator(warmup=lambda: 1)
def next_close() -> pl.Expr:
    """Tomorrow's newspaper."""
    return close.shift(-1)


class Nothing(State, frozen=True):
    """To be remembered."""


class StepLeak(StepStrategy[LeakParameters, Nothing]):
    """Buys when its indicator is above the close."""

    def indicators(self) -> dict[str, Indicator]:
        """The leak."""
        return {"next": next_close()}

    def begin(self) -> Nothing:
        """Nothing yet."""
        return Nothing()

    def on_candle(self, candle: Step, state: Nothing) -> Decision[Nothing]:
        """Above: buy; below: sell."""
        following = candle.values["next"]
        if following is None:
            return Decision(state)
        return Decision(state, SignalType.BUY if following > candle.close else SignalType.SELL)


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("count", [400, 30_000])
def test_a_planted_leak_is_found(leak: str, count: int) -> None:
    """A short history or the end of a long one is enough, and the error names strategy, candle and remedy."""
    strategy = Leak(timeframe="1m")
    candles = sample_candles(count)
    refuse_look_ahead(strategy, candles)
    strategy.condition = LEAKS[leak]
    with pytest.raises(
        LooksAhead, match=r"looks ahead: for the candle of \S+ it says .*tcp strategies check"
    ):
        refuse_look_ahead(strategy, candles)


def test_a_leak_behind_a_long_warm_up_is_found() -> None:
    """Also when the warm-up alone is longer than what is looked at."""
    strategy = LongLeak(timeframe="1m")
    assert strategy.warmup > LOOKED_AT
    strategy.condition = LEAKS["the next close"]
    with pytest.raises(LooksAhead):
        refuse_look_ahead(strategy, sample_candles(10_000))


def test_a_leak_of_an_indicator_that_is_read_candle_by_candle_is_found() -> None:
    """What each candle is given was made of whole columns."""
    with pytest.raises(LooksAhead):
        refuse_look_ahead(StepLeak(timeframe="1m"), sample_candles(400))


@pytest.mark.parametrize("name", registry.shipped())
def test_no_honest_strategy_is_refused(name: str) -> None:
    """Of those that ship none is, on any of some histories, with warm-ups longer than them too."""
    for seed, count in enumerate((40, 700, LOOKED_AT + 300)):
        refuse_look_ahead(registry.build(name, {}, "5m"), sample_candles(count, "5m", seed))


PEEKING = '''"""Peeks."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter


class PeekingParameters(Parameters):
    """One."""

    period: int = parameter(9, "Length of the line", low=1, high=100, search=(5, 9, 1))


class Peeking(VectorStrategy[PeekingParameters]):
    """Buys before it rises."""

    def indicators(self) -> dict[str, Indicator]:
        """A line."""
        return {"line": ema(self.parameters.period)}

    def buy(self) -> pl.Expr:
        """Tomorrow's newspaper, but for the first combination that is declared."""
        ahead = 0 if self.parameters.period == 5 else 1
        return pl.col("close").shift(-ahead) > pl.col("close").shift(1 - ahead)

    def sell(self):
        """Nothing was returned."""
        return None if self.parameters.period == 8 else pl.col("close") < pl.col("line") * 0.999
'''


def test_a_leak_of_one_timeframe_is_found_in_a_sweep_of_several(tmp_path: Path) -> None:
    """Every timeframe is looked at, not the first alone."""
    leak = PEEKING.replace("self.parameters.period == 5", 'str(self.timeframe) != "5m"')
    (tmp_path / "peeking.py").write_text(leak)
    for timeframe in ("1m", "5m"):
        sample_candles(2_000, timeframe).write_parquet(tmp_path / f"BTC-USDT_{timeframe}.parquet")
    tcp, env = str(Path(sys.executable).with_name("tcp")), os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path)}
    asked = [tcp, "sweep", "--strategy", "peeking", "--grid", "period=5,6", "--symbol", "BTC-USDT"]
    asked += ["--candles", "{symbol}_{timeframe}.parquet", "--json", "--timeframe"]
    assert subprocess.run([*asked, "1m"], capture_output=True, cwd=tmp_path, env=env).returncode == 0
    done = subprocess.run([*asked, "1m,5m"], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tcp: strategy peeking: looks ahead: for the candle of 20")


def test_runs_of_it_are_refused(tmp_path: Path) -> None:
    """A backtest and a sweep are one line and exit code 2 before a number is made; so is a condition that is
    none."""
    (tmp_path / "peeking.py").write_text(PEEKING)
    sample_candles(2_000).write_parquet(tmp_path / "BTC-USDT.parquet")
    tcp, env = str(Path(sys.executable).with_name("tcp")), os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path)}
    for command, said in (
        ("backtest", "tcp: strategy peeking: looks ahead: for the candle of 20"),
        ("sweep", "tcp: strategy peeking: looks ahead: for the candle of 20"),
        (
            "backtest --param period=8",
            "tcp: strategy peeking: sell returned NoneType: an expression is needed",
        ),
    ):
        asked = [tcp, *command.split(), "--strategy", "peeking", "--candles", "BTC-USDT.parquet"]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1
