"""Strategies that go a candle at a time, for logic that no column expresses.

A whole one:

    class Streak(State, frozen=True):
        falls: int = 0

    class BuyTheThird(StepStrategy[StreakParameters, Streak]):
        '''Buy after three falling candles, sell after a rising one.'''

        memory = 4  # candles that decide

        def begin(self) -> Streak:
            return Streak()

        def on_candle(self, candle: Step, state: Streak) -> Decision[Streak]:
            falls = state.falls + 1 if candle.close < candle.open else 0
            signal = SignalType.BUY if falls == 3 else SignalType.HOLD if falls else SignalType.SELL
            return Decision(Streak(falls), signal)

Everything the strategy remembers is in the state it hands on, never in the object: so a backtest, a sweep and
a bot that was started again see the same. A bot judges the newest `window` candles from `begin()`; they must
lead to the state that the whole history leads to, and a strategy says why they do: by `memory` or by
`session_ms`. `tcp strategies check` tries it.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec
import polars as pl

from core.errors import BadInput
from core.signals import SignalType
from core.stopping import EVERY, check_in_force
from core.timeframes import Timeframe
from strategies.base import UNBOUNDED, IndicatorStrategy, P
from strategies.indicators.base import Indicator


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a strategy remembers from candle to candle: numbers, texts, tuples of them. Immutable."""


S = TypeVar("S", bound=State)
_SIGNALS = frozenset(SignalType)


class Step(msgspec.Struct, frozen=True):
    """A final candle. Prices in quote currency; values: the indicators by name, None before their warm-up."""

    close_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    values: Mapping[str, float | None]


class Decision(msgspec.Struct, Generic[S], frozen=True):
    """What follows from a candle.

    state: handed to the next candle · signal: at its close · confidence: 0 … 1
    shown: values of the strategy's `outputs`, for signals and charts; those left out are null
    """

    state: S
    signal: SignalType = SignalType.HOLD
    confidence: float = 1.0
    shown: Mapping[str, float | None] = {}


class Checkpoint(msgspec.Struct, Generic[S], frozen=True):
    """The state after the candle that closes at `close_ms`."""

    close_ms: int
    state: S


class StepStrategy(IndicatorStrategy[P], Generic[P, S]):
    """Sees one candle after the other; it cannot look ahead, unless an indicator of its does.

    memory: candles before the judged one after which the state has forgotten how it began (None: never)
    outputs: names of the values it shows besides its indicators
    state_model: the class of its state, taken from the brackets
    """

    lookback: ClassVar[int] = 0
    memory: ClassVar[int | None] = None
    outputs: ClassVar[tuple[str, ...]] = ()
    state_model: ClassVar[type[State]] = State

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, State):
                    cls.state_model = argument

    @abstractmethod
    def begin(self) -> S:
        """The state before the first candle, and before the first of every session."""

    @abstractmethod
    def on_candle(self, candle: Step, state: S) -> Decision[S]:
        """What follows from a candle, and the state after it. Called for every candle, in order, also before
        the warm-up, where its signals are not heeded."""

    @property
    def session_ms(self) -> int | None:
        """Time after which the state begins anew (counted from 1970, so a day is a UTC day); None: never."""
        return None

    def indicators(self) -> dict[str, Indicator]:
        """Column name → indicator; none unless overridden."""
        return {}

    @property
    def indicator_names(self) -> tuple[str, ...]:
        """Names of the indicators and of the outputs."""
        return (*self.indicators(), *self.outputs)

    @property
    def window(self) -> int:
        """Newest candles that decide: those of a session or of `memory`, and what the indicators need."""
        steps, read = self._remembered(), super().window
        return UNBOUNDED if steps is None or read >= UNBOUNDED else steps + read

    def _remembered(self) -> int | None:
        if self.session_ms is None:
            return self.memory
        own = self.timeframe or Timeframe.M1
        if self.session_ms <= own.ms or self.session_ms % own.ms:
            raise BadInput(
                "timeframe",
                f"{self.name} begins anew after {self.session_ms / 3_600_000:g} hours: use a timeframe of "
                f"which more than one fits into that, not {own}",
            )
        return self.session_ms // own.ms

    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        """See `Strategy.judge`."""
        return self.resume(candles, None)[0]

    def resume(
        self, candles: pl.DataFrame, checkpoint: Checkpoint[S] | None
    ) -> tuple[pl.DataFrame, Checkpoint[S] | None]:
        """Judge the candles after the checkpoint (None: all); those up to it only feed the indicators.

        Returns their rows as `judge` does, and the checkpoint after the last one. Going on from one gives
        what judging everything at once gives.
        """
        from strategies.columns import with_indicators

        frame = with_indicators(candles, self.indicators(), self.timeframe)
        since_ms = checkpoint.close_ms if checkpoint else None
        close_ms = frame["timestamp"].dt.epoch("ms")
        if since_ms is not None:
            frame, close_ms = frame.filter(close_ms > since_ms), close_ms.filter(close_ms > since_ms)
        state = checkpoint.state if checkpoint else self.begin()
        rows = self._walk(frame, close_ms, state, since_ms)
        if rows.last is not None:
            checkpoint = Checkpoint(close_ms[-1], rows.last)
        return frame.with_columns(rows.columns(self.outputs)), checkpoint

    def _walk(self, frame: pl.DataFrame, close_ms: pl.Series, state: S, since_ms: int | None) -> "_Rows[S]":
        rows: _Rows[S] = _Rows()
        names, known = tuple(self.indicators()), frozenset(self.outputs)
        prices = frame.select("open", "high", "low", "close", "volume").iter_rows()
        values = frame.select(names).iter_rows() if names else iter(())
        length, now = self.session_ms, None if since_ms is None else since_ms - 1
        check = check_in_force()
        for n, (at_ms, (opened, high, low, close, volume)) in enumerate(
            zip(close_ms.to_list(), prices, strict=True)
        ):
            if not n % EVERY:
                check()
            # A candle belongs to the session of its last millisecond: 00:00 ends the day before.
            if length is not None and now is not None and (at_ms - 1) // length != now // length:
                state = self.begin()
            now = at_ms - 1
            read = dict(zip(names, next(values), strict=True)) if names else {}
            decision = self.on_candle(Step(at_ms, opened, high, low, close, volume, read), state)
            if (
                not isinstance(decision, Decision)
                or not isinstance(decision.state, self.state_model)
                or decision.signal not in _SIGNALS
                or not decision.shown.keys() <= known
            ):
                raise BadInput(f"strategy {self.name}", _misanswer(decision, self.state_model, self.outputs))
            state = decision.state
            rows.add(decision)
        return rows

    def dump(self, checkpoint: Checkpoint[S]) -> str:
        """A checkpoint as JSON."""
        return msgspec.json.encode(checkpoint).decode()

    def load(self, text: str) -> Checkpoint[S]:
        """A checkpoint of `dump`; BadInput when it is not one of this strategy."""
        try:
            return msgspec.json.decode(text, type=Checkpoint[self.state_model])  # type: ignore[name-defined]
        except msgspec.MsgspecError as error:
            raise BadInput("state", f"is not one of {self.name}: {error}") from None


class _Rows(Generic[S]):
    """Decisions as columns."""

    def __init__(self) -> None:
        self._decisions: list[Decision[S]] = []

    def add(self, decision: Decision[S]) -> None:
        self._decisions.append(decision)

    @property
    def last(self) -> S | None:
        return self._decisions[-1].state if self._decisions else None

    def columns(self, outputs: tuple[str, ...]) -> list[pl.Series]:
        signals = [decision.signal for decision in self._decisions]
        confidence = [float(decision.confidence) for decision in self._decisions]
        shown = [[decision.shown.get(name) for decision in self._decisions] for name in outputs]
        return [
            pl.Series("buy", [signal == SignalType.BUY for signal in signals], dtype=pl.Boolean),
            pl.Series("sell", [signal == SignalType.SELL for signal in signals], dtype=pl.Boolean),
            pl.Series("confidence", confidence, dtype=pl.Float64),
            *(pl.Series(name, values, dtype=pl.Float64) for name, values in zip(outputs, shown, strict=True)),
        ]


def _misanswer(decision: object, state_model: type[State], outputs: tuple[str, ...]) -> str:
    if not isinstance(decision, Decision):
        return f"on_candle returned {type(decision).__name__}; a Decision is needed"
    if not isinstance(decision.state, state_model):
        return f"on_candle's state is {type(decision.state).__name__}; a {state_model.__name__} is needed"
    if decision.signal not in _SIGNALS:
        return f"on_candle's signal is {decision.signal!r}; needed: {', '.join(SignalType)}"
    unknown = ", ".join(decision.shown.keys() - set(outputs))
    return f"shows {unknown}, which is not among its outputs ({', '.join(outputs) or 'none'})"
