"""What a run would have been worth had trading cost nothing, what it did cost, or twice that."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import run
from pipelines.backtest.request import Market
from strategies.base import Strategy

M = TypeVar("M", bound=Market)
MULTIPLES = (0.0, 1.0, 2.0)
SHOWN = ("total_return", "sharpe", "max_drawdown", "trades", "fees")


def cost_sensitivity(strategy: Strategy, piece: Stretch, market: Market) -> list[dict[str, Any]]:
    """The run at each multiple of its costs: multiple, fee, slippage and the metrics of `SHOWN`."""
    return [
        cost_row(multiple, market, run(strategy, piece.candles, dearer(market, multiple), piece.warm).metrics)
        for multiple in MULTIPLES
    ]


def dearer(market: M, multiple: float) -> M:
    """The market with its fee and slippage so many times as high."""
    costs = {"fee": market.fee * multiple, "slippage": market.slippage * multiple}
    return market.model_copy(update=costs)


def cost_row(multiple: float, market: Market, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table for a run at that multiple of the market's costs."""
    costs = {"multiple": multiple, "fee": market.fee * multiple, "slippage": market.slippage * multiple}
    return costs | {name: metrics[name] for name in SHOWN}
