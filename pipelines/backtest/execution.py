"""How a backtest's orders are filled, beyond all at once at the next open."""

from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.errors import BadInput


class FeeTier(BaseModel):
    """Fees from a traded value on, fractions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    traded: float = Field(ge=0, description="Value traded in the 30 UTC days before, quote currency")
    maker: float = Field(ge=0, lt=0.1, description="Fee of a resting order")
    taker: float = Field(ge=0, lt=0.1, description="Fee of every other")


class Execution(BaseModel):
    """Orders, costs and the finest path at hand. Everything by default is what a run without it does.

    A limit entry fills where the price trades through it, a stop entry where it is touched; an open beyond
    either fills at the open. Spread, slippage and impact are paid by every fill but that of a resting order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    order: Literal["market", "limit", "stop"] = Field(
        "market", description="What a buy signal sends: at the market, below it, or above it"
    )
    offset: float = Field(
        0.0, ge=0, lt=1, description="Distance of a limit or stop entry from the signal's close, a fraction"
    )
    expires: int = Field(
        1, ge=1, le=100_000, description="Candles that a limit or stop entry waits; then it is withdrawn"
    )
    maker_fee: float | None = Field(
        None, ge=0, lt=0.1, description="Fee of a limit entry that rested; none: the taker fee"
    )
    fee_tiers: tuple[FeeTier, ...] = Field(
        (), description="Fees by the value traded in the 30 UTC days before, in place of fee and maker_fee"
    )
    volume_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest part of a bar's volume that an order takes; the rest waits for the next bar. A "
        "bar is the candle, or a minute or trade of the path inside it: what is still to come is not known",
    )
    spread: float = Field(0.0, ge=0, description="Between bid and ask, quote currency: each fill pays half")
    impact: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="How much worse an order of the bar's whole volume (or more) fills, a fraction; a "
        "smaller one by the square of its part. On a path of trades a bar is one trade, so that most orders "
        "have all of it",
    )
    intrabar: str | None = Field(
        None,
        description="Path inside the candles: 1m, trades, or the name of the file it was read from. Candles "
        "that it does not cover exactly are judged by their worse order of high and low",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.order == "market" and self.offset:
            raise ValueError("offset|belongs to a limit or stop entry")
        if self.fee_tiers and self.maker_fee is not None:
            raise ValueError("maker_fee|is in the fee tiers already")
        steps = [tier.traded for tier in self.fee_tiers]
        if steps and (steps[0] != 0 or any(a >= b for a, b in pairwise(steps))):
            raise ValueError("fee_tiers|must begin at 0 and rise")
        return self

    @property
    def needs_volume(self) -> bool:
        """Whether fills depend on the volume of the candles."""
        return self.volume_share is not None or self.impact > 0

    def document(self) -> dict[str, Any]:
        """What was set, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


def read_tiers(text: str) -> list[dict[str, float]]:
    """`TRADED:MAKER:TAKER,…` as tiers; BadInput when it is not of that form."""
    tiers = []
    for part in text.split(","):
        try:
            traded, maker, taker = (float(number) for number in part.split(":"))
        except ValueError:
            raise BadInput(
                "--fee-tiers", f"{part!r} is not TRADED:MAKER:TAKER, as 100000:0.0008:0.001"
            ) from None
        tiers.append({"traded": traded, "maker": maker, "taker": taker})
    return tiers
