"""The risk gate in files: the limits of one bot (`risk` of its file) and those over all bots (risk.json)."""

from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BotLimits(BaseModel):
    """What one bot may risk. Fractions: 0.1 is 10 %; amounts: quote currency. Sales are never held up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_position_fraction: Decimal = Field(
        Decimal(1), gt=0, le=1, description="Largest part of equity in the coin"
    )
    max_position_value: Decimal | None = Field(
        None, gt=0, description="Most that the coins may be worth after a buy, quote currency"
    )
    max_order_value: Decimal | None = Field(
        None, gt=0, description="Most that one buy spends, quote currency"
    )
    max_daily_loss: Decimal | None = Field(
        None, gt=0, lt=1, description="Stop buying for the UTC day after this loss"
    )
    max_drawdown: Decimal | None = Field(
        None, gt=0, lt=1, description="Stop buying below this drawdown from the peak"
    )
    max_consecutive_losses: int | None = Field(
        None, ge=1, le=1000, description="Stop buying for the UTC day after so many losing exits in a row"
    )
    halt_until_reset: bool = Field(
        False,
        description="The three stops above hold until `tcp risk reset BOT`, not only while they are reached",
    )
    cooldown_candles: int | None = Field(
        None, ge=1, le=100_000, description="No buys for so many candles after that of a losing exit"
    )
    cooldown_minutes: int | None = Field(
        None, ge=1, le=525_600, description="No buys for so many minutes after the candle of a losing exit"
    )
    max_orders_per_hour: int | None = Field(
        None, ge=1, le=10_000, description="No buys once so many orders were given in the last 60 minutes"
    )
    max_orders_per_day: int | None = Field(
        None, ge=1, le=10_000, description="No buys once so many orders were given in the last 24 hours"
    )
    max_price_deviation: Decimal | None = Field(
        None, gt=0, lt=1, description="No buys at a close further than this from the close before it"
    )
    max_silent_candles: int = Field(
        5, ge=0, description="No buys after more candles in a row without a trade; 0: no such limit"
    )
    max_data_age_s: int | None = Field(
        None,
        ge=1,
        le=86_400,
        description="No buys on a candle that closed longer ago by the exchange's clock (live bots only)",
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        if self.cooldown_candles is not None and self.cooldown_minutes is not None:
            raise ValueError("cooldown_minutes|and cooldown_candles say one thing twice: give one of them")
        hour, day = self.max_orders_per_hour, self.max_orders_per_day
        if hour is not None and day is not None and hour > day:
            raise ValueError(
                f"max_orders_per_hour|{hour} can never be reached with {day} orders a day: at most {day}"
            )
        order, position = self.max_order_value, self.max_position_value
        if order is not None and position is not None and order > position:
            raise ValueError(
                f"max_order_value|{order} is more than max_position_value allows: at most {position}"
            )
        stops = (self.max_daily_loss, self.max_drawdown, self.max_consecutive_losses)
        if self.halt_until_reset and all(stop is None for stop in stops):
            raise ValueError(
                "halt_until_reset|needs max_daily_loss, max_drawdown or max_consecutive_losses to halt at"
            )
        return self


class PortfolioLimits(BaseModel):
    """config/risk.json: what all bots together may risk, for each quote currency on its own.

    Fractions are of the combined equity of the bots with that quote currency; amounts are in it. Exposure is
    what their coins are worth plus what waiting buys would add.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_exposure: Decimal | None = Field(
        None, gt=0, description="Most that all coins may be worth after a buy, quote currency"
    )
    max_exposure_fraction: Decimal | None = Field(
        None, gt=0, le=1, description="The same as a fraction of the combined equity"
    )
    max_symbol_exposure: Decimal | None = Field(
        None, gt=0, description="Most that the coins of one symbol may be worth over all bots, quote currency"
    )
    max_symbol_exposure_fraction: Decimal | None = Field(
        None, gt=0, le=1, description="The same as a fraction of the combined equity"
    )
    max_open_positions: int | None = Field(
        None, ge=1, le=10_000, description="Most bots that hold coins, or wait to buy some, at one time"
    )
    max_daily_loss: Decimal | None = Field(
        None, gt=0, lt=1, description="No bot buys for the rest of a UTC day that lost this much together"
    )
    max_drawdown: Decimal | None = Field(
        None, gt=0, lt=1, description="No bot buys while they are this far under their highest value together"
    )
    halt_until_reset: bool = Field(
        False, description="The two stops above hold until `tcp risk reset`, not only while they are reached"
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        for symbol, whole in (
            ("max_symbol_exposure", "max_exposure"),
            ("max_symbol_exposure_fraction", "max_exposure_fraction"),
            ("max_daily_loss", "max_drawdown"),
        ):
            part, most = getattr(self, symbol), getattr(self, whole)
            if part is not None and most is not None and part > most:
                raise ValueError(f"{symbol}|{part} is never reached, {whole} is {most}: at most {most}")
        if self.halt_until_reset and self.max_daily_loss is None and self.max_drawdown is None:
            raise ValueError("halt_until_reset|needs max_daily_loss or max_drawdown to halt at")
        return self
