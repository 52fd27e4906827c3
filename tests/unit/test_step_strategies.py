"""Strategies that go a candle at a time."""

from typing import ClassVar

import polars as pl
import pytest

from core.errors import BadInput, Cancelled
from core.signals import SignalType
from core.stopping import EVERY, stoppable
from pipelines.backtest.request import BacktestRequest
from strategies.base import UNBOUNDED, snake_case
from strategies.check import check
from strategies.evaluate import evaluate, last_signal
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter
from strategies.sample import sample_candles
from strategies.steps import Checkpoint, Decision, State, Step, StepStrategy

DAY_MS = 86_400_000


class StreakParameters(Parameters):
    """How many falls are enough."""

    falls: int = parameter(3, "Falling candles in a row", low=1, high=10)


class Streak(State, frozen=True):
    """Falling candles so far."""

    falls: int = 0


class BuyTheThird(StepStrategy[StreakParameters, Streak]):
    """Buy after so many falling candles, sell after one that does not fall."""

    memory: ClassVar[int | None] = 11
    outputs: ClassVar[tuple[str, ...]] = ("falls",)

    def begin(self) -> Streak:
        return Streak()

    def on_candle(self, candle: Step, state: Streak) -> Decision[Streak]:
        falls = state.falls + 1 if candle.close < candle.open else 0
        signal = SignalType.SELL if falls == 0 else SignalType.HOLD
        if falls == self.parameters.falls:
            signal = SignalType.BUY
        return Decision(Streak(falls), signal, 0.25, {"falls": min(falls, 5)})


class Counted(State, frozen=True):
    """Candles so far."""

    candles: int = 0


class Counter(StepStrategy[StreakParameters, Counted]):
    """Counts the candles of a day that closed above an average; buys at the third."""

    outputs: ClassVar[tuple[str, ...]] = ("count",)

    @property
    def session_ms(self) -> int | None:
        return DAY_MS

    def indicators(self) -> dict[str, Indicator]:
        return {"average": ema(5)}

    def begin(self) -> Counted:
        return Counted()

    def on_candle(self, candle: Step, state: Counted) -> Decision[Counted]:
        average = candle.values["average"]
        count = state.candles + (average is not None and candle.close > average)
        rose = count == 3 and count > state.candles
        return Decision(
            Counted(count), SignalType.BUY if rose else SignalType.HOLD, 1.0, {"count": float(count)}
        )


class Forgetful(Counter):
    """Counts for ever, and says that it looks back only a hundred candles."""

    memory: ClassVar[int | None] = 100

    @property
    def session_ms(self) -> int | None:
        return None


def test_signals_are_those_of_a_loop() -> None:
    """Buys, sells, confidence and outputs are what a loop over the candles says."""
    candles = sample_candles(400)
    judged = evaluate(BuyTheThird(falls=2), candles)
    falls, expected = 0, []
    for opened, close in candles.select("open", "close").iter_rows():
        falls = falls + 1 if close < opened else 0
        expected.append((falls == 2, falls == 0, float(min(falls, 5))))
    assert judged.select("buy", "sell", "falls").rows() == expected
    assert judged["buy"].sum() > 20
    assert set(judged["confidence"]) == {0.25}


def test_a_walk_is_ended_at_a_candle() -> None:
    """Whoever runs it may end it on its way: what the check raises comes out as it is."""
    seen: list[int] = []

    class Slow(BuyTheThird):
        def on_candle(self, candle: Step, state: Streak) -> Decision[Streak]:
            seen.append(1)
            return super().on_candle(candle, state)

    def check() -> None:
        if len(seen) > 100:
            raise Cancelled("by a person")

    candles = sample_candles(3 * EVERY)
    with pytest.raises(Cancelled, match="by a person"), stoppable(check):
        evaluate(Slow(), candles)
    assert len(seen) == EVERY
    assert evaluate(Slow(), candles).height == 3 * EVERY


def test_a_signal_may_be_written_as_text() -> None:
    """A decision of "buy" is a buy: it trades as the enumeration's does."""

    class Texts(BuyTheThird):
        def on_candle(self, candle: Step, state: Streak) -> Decision[Streak]:
            decision = super().on_candle(candle, state)
            return Decision(decision.state, str(decision.signal), 0.25, decision.shown)  # type: ignore[arg-type]

    candles = sample_candles(400)
    assert evaluate(Texts(), candles).equals(evaluate(BuyTheThird(), candles))
    assert evaluate(Texts(), candles)["buy"].any()


def test_it_is_named_and_has_parameters_and_a_state() -> None:
    """Name, parameter class and state class come from the class statement, as for every strategy."""
    assert BuyTheThird.name == snake_case("BuyTheThird") == "buy_the_third"
    assert BuyTheThird.model is StreakParameters
    assert BuyTheThird.state_model is Streak
    with pytest.raises(BadInput, match="falls"):
        BuyTheThird(falls=11)


@pytest.mark.parametrize(
    "strategy", [BuyTheThird(timeframe="1m"), Counter(timeframe="15m")], ids=lambda strategy: strategy.name
)
def test_the_window_decides(strategy: BuyTheThird | Counter) -> None:
    """A bot that sees only the newest `window` candles hears what the whole history says."""
    candles = sample_candles(700, strategy.timeframe or "1m")
    whole = evaluate(strategy, candles)
    for end in range(strategy.window, candles.height, 7):
        signal = last_signal(strategy, candles[max(0, end - strategy.window - 3) : end])
        row = whole.row(end - 1, named=True)
        kind = "sell" if row["sell"] else "buy" if row["buy"] else "hold"
        assert signal.signal_type == kind
        assert signal.indicators[strategy.outputs[0]] == row[strategy.outputs[0]]


def test_the_check_passes_it_and_finds_a_memory_that_is_too_short() -> None:
    """`tcp strategies check` tries the declared memory: a count that never forgets is found."""
    candles = sample_candles(700, "15m")
    assert check(Counter(timeframe="15m"), candles, cuts=40).passed
    report = check(Forgetful(timeframe="15m"), candles, cuts=40)
    assert {finding.kind for finding in report.findings} == {"warm-up"}


def test_a_session_begins_after_midnight() -> None:
    """The candle labelled 00:00 is the last of its day; the next begins anew."""
    candles = sample_candles(200, "15m")
    judged = Counter(timeframe="15m").judge(candles)
    opens = judged["timestamp"].dt.offset_by("-15m")
    firsts = judged.filter(opens.dt.date() != opens.dt.date().shift(1))
    assert firsts.height == 2
    assert firsts["count"].max() <= 1 < judged["count"].max()


@pytest.mark.parametrize("cut", [1, 96, 97, 150])
def test_a_checkpoint_goes_on_where_it_stopped(cut: int) -> None:
    """Judging in two goes, the state kept as JSON between them, equals judging at once."""
    candles, strategy = sample_candles(250, "15m"), Counter(timeframe="15m")
    whole = strategy.judge(candles)
    first, checkpoint = strategy.resume(candles.head(cut), None)
    assert checkpoint is not None
    kept = strategy.load(strategy.dump(checkpoint))
    assert kept == checkpoint
    second, last = strategy.resume(candles, kept)
    assert pl.concat([first, second]).equals(whole)
    assert last == strategy.resume(candles, None)[1]
    assert strategy.resume(candles, last)[0].is_empty()


def test_a_checkpoint_of_another_strategy_is_refused() -> None:
    """A state with other fields is not taken for one's own."""
    with pytest.raises(BadInput, match="counter"):
        Counter().load(BuyTheThird().dump(Checkpoint(1, Streak(2))).replace("2", '"x"'))


def test_windows_are_declared() -> None:
    """Memory or session plus what the indicators need; neither is the whole history."""

    class Endless(Forgetful):
        memory: ClassVar[int | None] = None

    assert BuyTheThird().window == 12
    assert Counter(timeframe="15m").window > 96
    assert Endless().window == UNBOUNDED
    with pytest.raises(BadInput, match="24 hours"):
        _ = Counter(timeframe="1d").window


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "NoneType"),
        (Decision(Streak(), shown={"secret": 1.0}), "secret"),
        (Decision(Streak(), "Buy"), "signal is 'Buy'; needed: "),  # type: ignore[arg-type]
        (Decision(Counted(3)), "state is Counted; a Streak is needed"),
        (Decision({"falls": 3}), "state is dict; a Streak is needed"),  # type: ignore[type-var]
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
    ],
    ids=[
        "nothing",
        "an output not declared",
        "no signal",
        "another state",
        "no state",
        "an exception",
    ],
)
def test_a_wrong_answer_is_named(answer: object, said: str) -> None:
    """What on_candle must not do is one line that names the strategy."""

    class Wrong(BuyTheThird):
        def on_candle(self, candle: Step, state: Streak) -> Decision[Streak]:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

    with pytest.raises(BadInput, match=said) as caught:
        evaluate(Wrong(), sample_candles(3))
    assert "wrong" in caught.value.field


def test_it_is_backtested_and_swept_like_any_other() -> None:
    """The engine walks its signals, and a sweep takes the same ones from it."""
    from pipelines.backtest.engine import run
    from pipelines.sweep.general import SharedColumns

    candles, strategy = sample_candles(500), BuyTheThird()
    outcome = run(strategy, candles, BacktestRequest(strategy="x", symbol="BTC-USDT", timeframe="1m"))
    assert outcome.metrics["trades"] == outcome.trades.height > 5
    swept = SharedColumns(candles, None, 4).signals(strategy)
    judged = evaluate(strategy, candles)
    for flags, side in zip(swept, ("buy", "sell"), strict=True):
        assert flags[:500].astype(bool).tolist() == judged[side].to_list()
