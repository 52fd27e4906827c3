"""The `execution` block of a bot: the words of `tcp backtest`'s execution options, in exact decimals."""

from decimal import Decimal
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeeTierFile(BaseModel):
    """Fees from a traded value on, fractions."""

    model_config = _STRICT

    traded: Decimal = Field(ge=0, description="Value traded in the 30 UTC days before, quote currency")
    maker: Decimal = Field(ge=0, lt=Decimal("0.1"), description="Fee of a resting order")
    taker: Decimal = Field(ge=0, lt=Decimal("0.1"), description="Fee of every other")


class ExecutionFile(BaseModel):
    """What a buy signal sends, what fills cost, and on which prices resting orders are judged.

    Without the block a bot sends market orders, filled at the first trade after the signal, and its stops are
    judged on whole candles. With it, every price of an order is rounded to the instrument's tick, away from
    the market.
    """

    model_config = _STRICT

    order: Literal["market", "limit", "stop", "stop_limit"] = Field(
        "market",
        description="What a buy signal sends: at the market, below it, above it, or above it with a limit",
    )
    offset: Decimal = Field(
        Decimal(0),
        ge=0,
        lt=1,
        description="Distance of a limit or stop entry from the signal's close, a fraction",
    )
    limit_offset: Decimal = Field(
        Decimal(0),
        ge=0,
        lt=1,
        description="Of a stop_limit: how far its limit lies above its trigger, a fraction of the trigger",
    )
    expires: int = Field(
        1, ge=1, le=100_000, description="Candles that a waiting entry has; then it is withdrawn"
    )
    maker_fee: Decimal | None = Field(
        None, ge=0, lt=Decimal("0.1"), description="Fee of a limit entry that rested; none: the taker fee"
    )
    fee_tiers: tuple[FeeTierFile, ...] = Field(
        (), description="Fees by the value traded in the 30 UTC days before, in place of fee and maker_fee"
    )
    volume_share: Decimal | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest part of a bar's volume that an order takes; the rest waits for the next bar",
    )
    spread: Decimal = Field(
        Decimal(0), ge=0, description="Between bid and ask, quote currency: each fill pays half"
    )
    impact: Decimal = Field(
        Decimal(0),
        ge=0,
        le=Decimal("0.5"),
        description="How much worse an order of the bar's whole volume (or more) fills, a fraction; a "
        "smaller one by the square of its part",
    )
    intrabar: Literal["trades", "1m", "candle"] = Field(
        "trades",
        description="What resting orders are judged on: each trade (minutes where trades are not stored), "
        "each minute, or the bot's own candle as a backtest without --intrabar does",
    )
    book: bool = Field(
        False,
        description="Whether orders at the market, and limits that cross, take the levels of the order book "
        "first; spread, slippage, impact and volume_share then hold for what trades fill",
    )

    @property
    def only_on_paper(self) -> str | None:
        """The field that no exchange can do, a bar and the remedy; None where one can do all of it."""
        if self.order not in ("market", "limit"):
            return f"order|{self.order} is for paper orders: an exchange gets market or limit entries"
        fields = type(self).model_fields
        for name in fields.keys() - {"order", "offset", "expires"}:
            if getattr(self, name) != fields[name].default:
                return f"{name}|is for paper orders, an exchange has its own: leave it out"
        return None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.order == "market" and self.offset:
            raise ValueError(
                "offset|belongs to a limit or stop entry: set order to limit, stop or stop_limit"
            )
        if self.order != "stop_limit" and self.limit_offset:
            raise ValueError("limit_offset|belongs to a stop_limit entry: set order to stop_limit")
        if self.order == "market" and self.expires != 1:
            raise ValueError("expires|belongs to a waiting entry: set order to limit, stop or stop_limit")
        if self.book and self.intrabar == "candle":
            raise ValueError("book|happens inside a candle: set intrabar to trades or 1m")
        if self.fee_tiers and self.maker_fee is not None:
            raise ValueError("maker_fee|is in the fee tiers already: leave one of them out")
        steps = [tier.traded for tier in self.fee_tiers]
        if steps and (steps[0] != 0 or any(a >= b for a, b in pairwise(steps))):
            raise ValueError("fee_tiers|must begin at traded 0 and rise")
        return self
