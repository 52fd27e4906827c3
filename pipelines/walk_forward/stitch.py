"""Out-of-sample records, one after the other: a single account that goes through all tests."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from core.metrics import Run, summarise
from pipelines.backtest.engine import Outcome
from pipelines.backtest.request import Market

WINDOW_END = "window"
"""exit_reason of a position that was sold because its test was over."""


def liquidated(outcome: Outcome, market: Market) -> Outcome:
    """The run with the coins that are still held sold at the last close, costs included.

    The parameters of the next window know nothing of it, and a free exit would flatter the record.
    """
    trades = outcome.trades
    if not trades.height or trades["exit_reason"][-1] != "end":
        return outcome
    last, close = trades.row(-1, named=True), float(outcome.equity["close"][-1])
    spread, fee = _end_costs(market)
    price = (close - spread / 2) * (1 - market.slippage)
    charged, worse = outcome.left * price * fee, outcome.left * (close - price)
    lost = worse + charged
    sold = last | {"fees": last["fees"] + charged, "pnl": last["pnl"] - lost}
    sold["exit_price"] -= worse / last["quantity"]  # the mean of all its sales
    trades = pl.concat(
        [trades.head(-1), pl.DataFrame([sold | {"exit_reason": WINDOW_END}], schema=trades.schema)]
    )
    value = outcome.equity["equity"].to_numpy(writable=True)
    value[-1] -= lost
    equity = outcome.equity.with_columns(equity=value)
    traded = _traded(outcome, market) + outcome.left * price
    held = _held(outcome)
    metrics = measured(trades, equity, market, held, traded)
    return Outcome(trades, equity, outcome.signals, metrics, float(value[-1]), outcome.covered)


def _end_costs(market: Market) -> tuple[float, float]:
    """(spread, fee) of a sale at the market; of fee tiers the highest, and without impact, whose volume is
    not known."""
    execution = market.execution
    if execution is None:
        return 0.0, market.fee
    return execution.spread, max((tier.taker for tier in execution.fee_tiers), default=market.fee)


def stitched(parts: Sequence[tuple[Outcome, Market]], market: Market) -> Outcome:
    """One outcome from those of tests that follow each other, each with the market (and cash) of its run."""
    trades = pl.concat([part.trades for part, _ in parts])
    equity = pl.concat([part.equity for part, _ in parts])
    signals = pl.concat([part.signals for part, _ in parts])
    held = sum(_held(part) for part, _ in parts)
    traded = sum(_traded(part, own) for part, own in parts)
    metrics = measured(trades, equity, market, held, traded)
    covered = sum(part.covered for part, _ in parts)
    return Outcome(trades, equity, signals, metrics, float(equity["equity"][-1]), covered)


def measured(
    trades: pl.DataFrame, equity: pl.DataFrame, market: Market, held: int, traded: float
) -> dict[str, float | int | None]:
    """Every metric of those trades and that equity curve (timestamp, equity, close)."""
    return summarise(
        Run(
            initial_cash=market.cash,
            equity=equity["equity"].to_numpy(),
            close=equity["close"].to_numpy(),
            close_ms=equity["timestamp"].dt.epoch("ms").to_numpy(),
            candle_ms=market.candle_ms,
            held=held,
            pnl=trades["pnl"].to_numpy(),
            closed=int((trades["exit_reason"] != "end").sum()),
            fees=float(trades["fees"].sum()),
            traded=traded,
        )
    )


def _held(outcome: Outcome) -> int:
    return int(np.rint((outcome.metrics["exposure"] or 0) * outcome.equity.height))


def _traded(outcome: Outcome, market: Market) -> float:
    return float(outcome.metrics["turnover"] or 0) * market.cash
