"""How a position ends and how large it begins: the part of a risk block that bots and backtests share."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sizing = Literal["all", "fixed", "percent", "risk", "volatility"]
DEFAULT_VOLATILITY_CANDLES = 100


class ExitsAndSizes(BaseModel):
    """Stops, time and sizes. Fractions: 0.1 is 10 %.

    Where the path inside a candle is not known, the worse order of high and low counts, so a stop wins over a
    profit; a candle that opens beyond a stop or a profit leaves at its open. Candles without trades fill
    nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stop_loss: Decimal | None = Field(
        None, gt=0, lt=1, description="Sell when the price falls this far below the average cost"
    )
    take_profit: Decimal | None = Field(None, gt=0, description="Sell when it rises this far above")
    trailing_stop: Decimal | None = Field(
        None, gt=0, lt=1, description="Sell when the price falls this far below its highest since the entry"
    )
    max_candles: int | None = Field(
        None, ge=1, le=10_000_000, description="Sell after holding for so many candles"
    )
    sizing: Sizing = Field(
        "all",
        description="What a buy spends, never more than max_position_fraction allows. all: everything, or "
        "what the strategy sizes itself by (volatility_target: percent with size 1 takes that back) · "
        "fixed: `size` of quote currency · percent: the fraction `size` of equity · risk: so much that the "
        "stop costs the fraction `size` of equity (the strategy's risk_percentage if not given) · "
        "volatility: the part of equity whose annual volatility is `size`",
    )
    size: Decimal | None = Field(None, gt=0, description="See sizing; none for all")
    volatility_candles: int = Field(
        DEFAULT_VOLATILITY_CANDLES,
        ge=2,
        le=100_000,
        description="Candles over which sizing measures volatility",
    )

    @model_validator(mode="after")
    def _size_suits_the_sizing(self) -> Self:
        if self.sizing == "all" and self.size is not None:
            raise ValueError("size|needs a sizing: fixed, percent, risk or volatility")
        if self.sizing in ("fixed", "percent", "volatility") and self.size is None:
            raise ValueError(f"size|is needed for sizing {self.sizing}")
        if self.sizing in ("percent", "risk") and self.size is not None and self.size > 1:
            raise ValueError(f"size|is a fraction for sizing {self.sizing}: at most 1, not {self.size}")
        if self.sizing == "risk" and self.stop_distance is None:
            raise ValueError("sizing|risk needs a stop_loss or a trailing_stop: the size follows from it")
        return self

    @property
    def stop_distance(self) -> Decimal | None:
        """Fraction that is lost when the nearer stop is hit at once; None without a stop."""
        stops = [stop for stop in (self.stop_loss, self.trailing_stop) if stop is not None]
        return min(stops, default=None)

    @property
    def history(self) -> int:
        """Candles before a buy that its size depends on."""
        return self.volatility_candles + 1 if self.sizing == "volatility" else 1
