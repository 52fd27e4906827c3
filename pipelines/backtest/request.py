"""What to test: the strategy, the candles, the costs."""

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import BadInput
from core.timeframes import EARLIEST, LATEST, Timeframe
from pipelines.backtest.execution import Execution
from pipelines.backtest.risk import Risk

FeeCurrency = Literal["received", "quote"]


class Market(BaseModel):
    """The part that a backtest and a sweep share.

    start, end: the candles judged are those that lie inside; earlier ones, where there are any, only warm
    the indicators up. A time without zone is UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    strategy: str = Field(description="Name of a strategy")
    symbol: str = Field(description="Pair, such as BTC-USDT")
    timeframe: str = Field(description="Length of a candle")
    exchange: str | None = Field(
        None,
        pattern=r"^[a-z0-9_]{1,32}$",
        description="Whose stored candles; none: the exchange in force",
    )
    start: datetime | None = Field(None, description="Open time of the first candle; none: the oldest")
    end: datetime | None = Field(None, description="Close time of the last candle; none: the newest")
    fee: float = Field(0.001, ge=0, lt=0.1, description="Taker fee of each fill, a fraction")
    slippage: float = Field(
        0.0, ge=0, lt=0.1, description="How much worse than the market each fill is, a fraction"
    )
    cash: float = Field(10_000.0, gt=0, le=1e15, description="Cash at the start, quote currency")
    fill: Literal["open", "close"] = Field(
        "open",
        description="A signal fills at the open of the next candle, as in trading, or at the close that "
        "gave it, as some other engines have it",
    )
    fee_currency: FeeCurrency | None = Field(
        None,
        description="What pays the fee of a buy: `received`, the coins bought, as on the exchange, or "
        "`quote`, cash on top of the price, as other engines have it. None: received for fill open, quote "
        "for fill close",
    )
    risk: Risk | None = Field(
        None, description="Exits and sizes, as a bot's risk block; none: all in, and out on a sell signal"
    )
    execution: Execution | None = Field(
        None, description="Orders, costs and the path inside candles; none: all at once at the next open"
    )

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, timeframe: str) -> str:
        if timeframe not in set(Timeframe):
            raise ValueError(f"{timeframe!r} is not one of {', '.join(Timeframe)}")
        return timeframe

    @field_validator("start", "end")
    @classmethod
    def _utc(cls, time: datetime | None) -> datetime | None:
        if time is None:
            return None
        zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
        if not EARLIEST <= zoned <= LATEST:
            raise ValueError("is too far away")
        return zoned.astimezone(UTC)

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("end|must be after start")
        return self

    @model_validator(mode="after")
    def _orders_wait(self) -> Self:
        if self.execution is not None and self.fill == "close":
            raise ValueError("fill|close has no orders that wait: execution options need fill open")
        return self

    @property
    def candle_ms(self) -> int:
        """Length of a candle."""
        return Timeframe(self.timeframe).ms

    @property
    def pays_in_quote(self) -> bool:
        """Whether cash pays the fee of a buy (see `fee_currency`)."""
        return (self.fee_currency or ("quote" if self.fill == "close" else "received")) == "quote"

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """From what a person typed; BadInput names the field and what was expected."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            named, bar, rest = message.partition("|")
            raise BadInput(named if bar else field, rest if bar else message) from None


class BacktestRequest(Market):
    """One strategy with one set of parameters over one stretch of candles."""

    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters; the rest by default")
