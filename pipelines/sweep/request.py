"""What to sweep: a strategy, its parameters, how they are searched, the markets, the costs."""

from itertools import product
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.metrics import METRICS
from core.timeframes import Timeframe
from pipelines.backtest.request import Market

Search = Literal["grid", "random", "optuna"]
DEFAULT_TRIALS = 100
MOST_TRIALS = 1_000_000
LOWER_IS_BETTER = frozenset(("volatility", "fees", "turnover", "max_drawdown_duration"))


class SweepRequest(Market):
    """A strategy over combinations of its parameters, on one or several markets.

    symbol, timeframe: one, or several as a list or with commas between them; every combination is walked on
    each of them
    """

    grid: dict[str, list[Any] | str] = Field(
        default_factory=dict,
        description="Parameter, exit (stop_loss, take_profit, trailing_stop, max_candles, size …) or "
        "execution option (order, offset, expires, spread …) → values: a list, start:stop:step (stop "
        "included), or a,b,c; none is no such exit. Without a grid: the ranges the strategy declares",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters that stay the same; the rest by default"
    )
    where: list[str] = Field(
        default_factory=list,
        description="Conditions between parameters, such as fast_period * 2 < slow_period",
    )
    search: Search = Field(
        "grid",
        description="grid: every combination; random: some, drawn evenly; optuna: some, each batch drawn "
        "where the ones before did well",
    )
    trials: int | None = Field(
        None, ge=1, le=MOST_TRIALS, description="How many a random or optuna search draws; none: 100"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of a random or optuna search")
    sort: str = Field(
        "sharpe", description="Metric the result is sorted by, best first, and that optuna searches for"
    )

    @field_validator("symbol", "timeframe", mode="before")
    @classmethod
    def _joined(cls, given: Any) -> Any:
        several = isinstance(given, list) and all(isinstance(one, str) for one in given)
        return ",".join(given) if several else given

    @field_validator("symbol", "timeframe")
    @classmethod
    def _each_once(cls, given: str) -> str:
        names = [name.strip() for name in given.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"{given!r} names one twice, or none")
        return ",".join(names)

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, timeframe: str) -> str:
        for one in timeframe.split(","):
            if one not in set(Timeframe):
                raise ValueError(f"{one!r} is not one of {', '.join(Timeframe)}")
        return timeframe

    @field_validator("sort")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"{metric!r} is no metric; there are {', '.join(METRICS)}")
        return metric

    @model_validator(mode="after")
    def _only_a_search_has_trials(self) -> Self:
        if self.search == "grid" and self.trials is not None:
            raise ValueError("trials|needs a random or optuna search: a grid is walked whole")
        return self

    @property
    def markets(self) -> list[Self]:
        """The request for each symbol and timeframe alone, symbol by symbol."""
        pairs = product(self.symbol.split(","), self.timeframe.split(","))
        return [self.model_copy(update={"symbol": symbol, "timeframe": own}) for symbol, own in pairs]

    @property
    def named(self) -> str:
        """A market's name: symbol and timeframe."""
        return f"{self.symbol} {self.timeframe}"

    @property
    def descending(self) -> bool:
        """Whether more of the metric is better."""
        return self.sort not in LOWER_IS_BETTER

    @property
    def draws(self) -> int:
        """Combinations that a random or optuna search draws."""
        return self.trials or DEFAULT_TRIALS
