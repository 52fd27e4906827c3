"""The base classes of a strategy.

A new one, whole (a file in strategies/, found by itself):

    class BreakoutParameters(Parameters):
        period: int = parameter(20, "Candles of the channel", low=2, high=500, search=(10, 100, 10))

    class Breakout(VectorStrategy[BreakoutParameters]):
        '''Buy a new high of `period` candles, sell a new low.'''

        def indicators(self) -> dict[str, Indicator]:
            period = self.parameters.period
            return {"upper": donchian_upper(period), "lower": donchian_lower(period)}

        def buy(self) -> pl.Expr:
            return crosses_above("close", "upper")

        def sell(self) -> pl.Expr:
            return crosses_below("close", "lower")

Logic that no column expresses goes a candle at a time: `strategies.steps.StepStrategy`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, get_args

import polars as pl

from core.errors import BadInput
from core.timeframes import Timeframe
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, validate

P = TypeVar("P", bound=Parameters)
UNBOUNDED = 1_000_000_000  # window of a strategy that needs its whole history


def snake_case(name: str) -> str:
    """EMA_Crossover, EmaCrossover and ema_crossover are all `ema_crossover`."""
    if "_" not in name and not name.islower() and not name.isupper():
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return name.lower()


class Strategy(ABC):
    """Judges candles. One object runs in backtests, sweeps, paper and live trading.

    name: the class name in snake_case; model: the class of its parameters; timeframe: of the candles it is
    given (None: not said, taken from the candles)
    """

    name: ClassVar[str]
    model: ClassVar[type[Parameters]]
    parameters: Parameters

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = snake_case(cls.__name__)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, Parameters):
                    cls.model = argument

    def __init__(self, timeframe: str | None = None, **parameters: Any) -> None:
        self.parameters = validate(self.model, parameters, self.name)
        self.timeframe = Timeframe.parse(timeframe) if timeframe else None

    @property
    @abstractmethod
    def warmup(self) -> int:
        """Candles needed before the first signal can come."""

    @property
    @abstractmethod
    def window(self) -> int:
        """Newest candles on which a judgement equals the one on the full history (indicators within 1e-9)."""

    @property
    def sizes(self) -> Mapping[str, Any]:
        """`sizing`, `size` and `volatility_candles` of a risk block, as it wants them where the block has no
        sizing; none: a buy spends everything."""
        return {}

    @abstractmethod
    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        """A candle frame with the indicator columns and `buy`, `sell` (Boolean) and `confidence` (Float64,
        null for 1) appended, row for row. Callers use strategies.evaluate, which checks what comes back."""

    @property
    @abstractmethod
    def indicator_names(self) -> tuple[str, ...]:
        """Columns that `judge` adds besides buy, sell and confidence."""


class IndicatorStrategy(Strategy, Generic[P]):
    """Reads indicators, from which warm-up and window follow.

    lookback: candles before the judged one that the conditions themselves look at (1 for a crossing)
    """

    lookback: ClassVar[int] = 1
    parameters: P

    @abstractmethod
    def indicators(self) -> dict[str, Indicator]:
        """Column name → indicator."""

    @cached_property
    def lines(self) -> dict[str, Indicator]:
        """Its indicators, made once: parameters never change."""
        return self.indicators()

    def ratio(self, indicator: Indicator) -> int:
        """Own candles in a candle of that indicator; BadInput unless its timeframe is the longer one."""
        if indicator.timeframe is None:
            return 1
        own = self.timeframe or Timeframe.M1
        if indicator.timeframe.ms <= own.ms:
            raise BadInput(
                "timeframe",
                f"{self.name} looks at {indicator.timeframe} candles above its own: use a timeframe shorter "
                f"than that, not {own}",
            )
        return indicator.timeframe.ms // own.ms

    def _candles(self, needed: int, indicator: Indicator) -> int:
        if indicator.timeframe is None:
            return needed
        ratio = self.ratio(indicator)
        # The first higher candle of a stretch may have begun before it, and the last may not be over.
        return (needed + 2) * ratio

    @cached_property
    def warmup(self) -> int:
        """Candles needed before the first signal can come: the longest indicator's, plus the look-back."""
        return max((self._candles(i.warmup, i) for i in self.lines.values()), default=1) + (
            self.lookback if self.lines else 0
        )

    @cached_property
    def window(self) -> int:
        """Newest candles that decide; `UNBOUNDED` if an indicator totals over the whole history."""
        needed = self.warmup
        for indicator in self.lines.values():
            if indicator.memory is None:
                return UNBOUNDED
            needed = max(needed, self._candles(indicator.memory, indicator) + self.lookback)
        return needed

    @property
    def indicator_names(self) -> tuple[str, ...]:
        """Names of the indicator columns."""
        return tuple(self.lines)


class VectorStrategy(IndicatorStrategy[P], Generic[P]):
    """States its indicators and conditions as Polars expressions over whole columns."""

    @abstractmethod
    def buy(self) -> pl.Expr:
        """True on the candles at whose close the strategy wants to be in the market."""

    @abstractmethod
    def sell(self) -> pl.Expr:
        """True on the candles at whose close it wants to be out; wins over buy."""

    def confidence(self) -> pl.Expr:
        """How sure a signal is, cut to 0 … 1."""
        return pl.lit(1.0)

    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        """See `Strategy.judge`."""
        from strategies.columns import with_indicators

        frame = with_indicators(candles, self.indicators(), self.timeframe)
        buy, sell = self.buy(), self.sell()
        for name, given in (("buy", buy), ("sell", sell)):
            if not isinstance(given, pl.Expr):
                raise BadInput(
                    f"strategy {self.name}",
                    f"{name} returned {type(given).__name__}: an expression is needed, such as "
                    'pl.col("close") > 100',
                )
        return frame.with_columns(buy=buy, sell=sell, confidence=self.confidence().cast(pl.Float64))
