"""What a run would have been worth had trading cost nothing, what it did cost, or twice that."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import polars as pl

from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import run
from pipelines.backtest.execution import Execution
from pipelines.backtest.request import Market
from strategies.base import Strategy

M = TypeVar("M", bound=Market)
MULTIPLES = (0.0, 1.0, 2.0)
SHOWN = ("total_return", "sharpe", "max_drawdown", "trades", "fees")


def cost_sensitivity(
    strategy: Strategy, piece: Stretch, market: Market, path: pl.DataFrame | None = None
) -> list[dict[str, Any]]:
    """The run at each multiple of its costs that it bears: multiple, fee, slippage and the metrics of
    `SHOWN`."""
    table = []
    for multiple in bearable([market], piece.candles.slice(piece.warm)):
        costing = dearer(market, multiple)
        metrics = run(strategy, piece.candles, costing, piece.warm, path, piece.volumes).metrics
        table.append(cost_row(multiple, market, metrics))
    return table


def bearable(markets: Iterable[Market], candles: pl.DataFrame) -> list[float]:
    """Those of `MULTIPLES` at which a sale still brings something on these candles, in every of the markets:
    below 1 slippage and impact, below every price the spread. The costs themselves are always among them."""
    lowest, own = float(candles["low"].min() or 0), list(markets)  # type: ignore[arg-type]
    return [
        multiple
        for multiple in MULTIPLES
        if multiple <= 1 or all(_leaves_something(dearer(market, multiple), lowest) for market in own)
    ]


def _leaves_something(market: Market, lowest: float) -> bool:
    spread, impact = (market.execution.spread, market.execution.impact) if market.execution else (0.0, 0.0)
    return market.slippage + impact < 1 and spread < lowest


def dearer(market: M, multiple: float) -> M:
    """The market with everything that a fill costs so many times as high."""
    costs: dict[str, Any] = {"fee": market.fee * multiple, "slippage": market.slippage * multiple}
    if market.execution is not None:
        costs["execution"] = _dearer_execution(market.execution, multiple)
    return market.model_copy(update=costs)


def cost_row(multiple: float, market: Market, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table for a run at that multiple of the market's costs."""
    costs = {"multiple": multiple, "fee": market.fee * multiple, "slippage": market.slippage * multiple}
    return costs | {name: metrics[name] for name in SHOWN}


def _dearer_execution(execution: Execution, multiple: float) -> Execution:
    maker = execution.maker_fee
    tiers = (
        tier.model_copy(update={"maker": tier.maker * multiple, "taker": tier.taker * multiple})
        for tier in execution.fee_tiers
    )
    return execution.model_copy(
        update={
            "spread": execution.spread * multiple,
            "impact": execution.impact * multiple,
            "maker_fee": None if maker is None else maker * multiple,
            "fee_tiers": tuple(tiers),
        }
    )
