"""From signals to fills, equity and metrics: one run in memory, no files, no database."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from core.metrics import Run, summarise
from pipelines.backtest.account import walk
from pipelines.backtest.request import Market
from strategies.base import Strategy
from strategies.evaluate import evaluate

EXIT_SIGNAL, STILL_OPEN = "signal", "end"


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    trades: entry_time, entry_price, exit_time, exit_price, quantity (coins held), fees, pnl (after fees),
        exit_reason (`signal`, or `end` for one still open, valued at the last close without an exit fee)
    equity: timestamp, equity (quote currency, at each close)
    signals: timestamp, signal_type, price: those that an order followed
    """

    trades: pl.DataFrame
    equity: pl.DataFrame
    signals: pl.DataFrame
    metrics: dict[str, float | int | None]
    final_value: float


def run(strategy: Strategy, candles: pl.DataFrame, market: Market, warm: int = 0) -> Outcome:
    """Walk a candle frame through a strategy.

    warm: rows at the head that only warm the indicators up and are not traded.
    """
    judged = evaluate(strategy, candles).slice(warm)
    traded = candles.slice(warm)
    buy, sell = judged["buy"].to_numpy(writable=True), judged["sell"].to_numpy(writable=True)
    equity, indices, values, held = walk(
        traded["open"].to_numpy(writable=True),
        traded["close"].to_numpy(writable=True),
        buy,
        sell,
        market.fill == "open",
        market.cash,
        market.fee,
        market.slippage,
        market.pays_in_quote,
    )
    metrics = summarise(
        Run(
            initial_cash=market.cash,
            equity=equity,
            close=traded["close"].to_numpy(writable=True),
            close_ms=traded["timestamp"].dt.epoch("ms").to_numpy(writable=True),
            candle_ms=market.candle_ms,
            held=held,
            pnl=values[:, 4],
            closed=int(np.count_nonzero(indices[:, 1] >= 0)),
            fees=float(values[:, 3].sum()),
            traded=float(values[:, 5].sum()),
        )
    )
    times = traded["timestamp"]
    return Outcome(
        trades=_trades(times, indices, values, market),
        equity=pl.DataFrame({"timestamp": times, "equity": equity}),
        signals=_signals(judged, indices, market),
        metrics=metrics,
        final_value=float(equity[-1]),
    )


def _trades(times: pl.Series, indices: Any, values: Any, market: Market) -> pl.DataFrame:
    # An order filled at a candle's open is filled at its label minus its length.
    shift = f"-{market.candle_ms}ms" if market.fill == "open" else "0ms"
    still_open = pl.Series(indices[:, 1] < 0, dtype=pl.Boolean)
    entry = times.gather(indices[:, 0]).dt.offset_by(shift)
    leave = times.gather(np.where(indices[:, 1] < 0, 0, indices[:, 1])).dt.offset_by(shift)
    frame = pl.DataFrame(
        {
            "entry_time": entry,
            "entry_price": values[:, 0],
            "exit_time": leave,
            "exit_price": values[:, 1],
            "quantity": values[:, 2],
            "fees": values[:, 3],
            "pnl": values[:, 4],
            "open": still_open,
        }
    )
    return frame.with_columns(
        exit_time=pl.when("open").then(pl.lit(times.item(-1))).otherwise("exit_time"),
        exit_reason=pl.when("open").then(pl.lit(STILL_OPEN)).otherwise(pl.lit(EXIT_SIGNAL)),
    ).drop("open")


def _signals(judged: pl.DataFrame, indices: Any, market: Market) -> pl.DataFrame:
    # With fill open the decision was taken at the close of the candle before the fill.
    back = 1 if market.fill == "open" else 0
    closed = indices[:, 1][indices[:, 1] >= 0]
    rows = np.concatenate((indices[:, 0] - back, closed - back))
    kinds = ["buy"] * len(indices) + ["sell"] * len(closed)
    picked = judged[rows.astype(np.int64)]
    frame = pl.DataFrame(
        {
            "timestamp": picked["timestamp"],
            "signal_type": pl.Series(kinds, dtype=pl.String),
            "price": picked["close"],
        }
    )
    return frame.sort("timestamp")
