"""From signals to fills, equity and metrics: one run in memory, no files, no database."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from core.metrics import Run, summarise
from core.timeframes import Timeframe
from pipelines.backtest.account import (
    BOUGHT_AT,
    ENTRY,
    EXIT,
    INSIDE,
    REASON,
    REASONS,
    SOLD_AT,
    Floats,
    Ints,
    walk,
)
from pipelines.backtest.candles import with_volumes
from pipelines.backtest.guarded import Walked, walk_guarded, with_trades
from pipelines.backtest.request import Market
from pipelines.backtest.risk import Risk
from strategies.base import Strategy
from strategies.evaluate import evaluate

if TYPE_CHECKING:
    from pipelines.backtest.exits import Bars
    from pipelines.backtest.ordered import Laid


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    trades: entry_time, entry_price, exit_time, exit_price, quantity (coins held), fees, pnl (after fees),
        exit_reason (one of `account.REASONS`; `end` is still open, valued at the last close without a fee)
    equity: timestamp, equity (quote currency, at each close), close (the market's)
    signals: timestamp, signal_type, price: those that an order followed
    covered: candles judged on the path inside them
    left: coins held at the last close, of which some may be sold already
    """

    trades: pl.DataFrame
    equity: pl.DataFrame
    signals: pl.DataFrame
    metrics: dict[str, float | int | None]
    final_value: float
    covered: int = 0
    left: float = 0.0


def run(
    strategy: Strategy,
    candles: pl.DataFrame,
    market: Market,
    warm: int = 0,
    path: pl.DataFrame | None = None,
    volumes: bool | None = None,
) -> Outcome:
    """Walk a candle frame through a strategy.

    warm: rows at the head that only warm the indicators up and are not traded. path: bars inside the candles
    (see `pipelines.backtest.intrabar`), if the request has execution options. volumes: whether a candle
    without volume is one without a trade; None: if any of these candles has a volume.
    """
    volumes = with_volumes(candles) if volumes is None else volumes
    judged = evaluate(strategy, candles).slice(warm)
    traded = candles.slice(warm)
    laid = laid_for(market, candles, warm, path, volumes) if market.execution is not None else None
    walked = account_of(strategy, candles, judged, market, warm, laid, volumes=volumes)
    times = traded["timestamp"]
    return Outcome(
        trades=_trades(times, walked, market),
        equity=pl.DataFrame({"timestamp": times, "equity": walked.equity, "close": traded["close"]}),
        signals=_signals(judged, walked),
        metrics=metrics_of(walked, *close_of(traded), market),
        final_value=float(walked.equity[-1]),
        covered=walked.covered,
        left=_left(walked),
    )


def account_of(
    strategy: Strategy,
    candles: pl.DataFrame,
    judged: pl.DataFrame,
    market: Market,
    warm: int,
    laid: "Laid | None" = None,
    bars: "Bars | None" = None,
    weights: Floats | None = None,
    volumes: bool | None = None,
) -> Walked:
    """Walk signals (columns buy and sell, from row `warm` of the candles on) into an account.

    laid, bars: of `ordered.lay` and `guarded.bars_of`, which may serve many walks; None: the candles alone.
    weights: of `guarded.weights_of`, where they follow from other candles than these. volumes: as of `run`.
    """
    buy, sell = judged["buy"].to_numpy(writable=True), judged["sell"].to_numpy(writable=True)
    market = market.model_copy(update={"risk": Risk.sized(market.risk, strategy)})
    volumes = with_volumes(candles) if volumes is None else volumes
    if market.execution is not None:
        from pipelines.backtest.ordered import walk_ordered

        laid = laid or laid_for(market, candles, warm, volumes=volumes)
        return walk_ordered(strategy, candles, buy, sell, market, warm, laid, weights, volumes)
    traded, later = candles.slice(warm), 1 if market.fill == "open" else 0
    # Where nobody trades orders wait and may be refused, as a bot's: `account.walk` knows nothing of that.
    if market.risk is not None or not with_trades(traded["volume"], volumes).all():
        return walk_guarded(strategy, candles, buy, sell, market, warm, bars, weights, volumes)
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
    closed = indices[:, 1] >= 0
    decided = np.where(indices >= 0, indices - later, -1)
    return Walked(equity, np.column_stack((indices, decided, closed.astype(np.int64))), values, held)


def laid_for(
    market: Market,
    candles: pl.DataFrame,
    warm: int,
    path: pl.DataFrame | None = None,
    volumes: bool | None = None,
) -> "Laid":
    """The bars that execution options walk along: the candles with the path inside them."""
    from pipelines.backtest.ordered import lay

    return lay(candles, path, warm, Timeframe(market.timeframe), volumes)


def close_of(traded: pl.DataFrame) -> tuple[Floats, Ints]:
    """The closes of candles and when they were, ms."""
    return traded["close"].to_numpy(), traded["timestamp"].dt.epoch("ms").to_numpy()


def metrics_of(
    walked: Walked, close: Floats, close_ms: Ints, market: Market
) -> dict[str, float | int | None]:
    """Every metric of an account over the candles traded."""
    return summarise(
        Run(
            initial_cash=market.cash,
            equity=walked.equity,
            close=close,
            close_ms=close_ms,
            candle_ms=market.candle_ms,
            held=walked.held,
            pnl=walked.values[:, 4],
            closed=int(np.count_nonzero(walked.trips[:, EXIT] >= 0)),
            fees=float(walked.values[:, 3].sum()),
            traded=float(walked.values[:, 5].sum()),
        )
    )


def _left(walked: Walked) -> float:
    if walked.left is not None:
        return walked.left
    still_open = walked.trips.size > 0 and walked.trips[-1, EXIT] < 0
    return float(walked.values[-1, 2]) if still_open else 0.0


def _trades(times: pl.Series, walked: Walked, market: Market) -> pl.DataFrame:
    # A fill at a candle's open is at its label minus its length; an exit inside the candle at its label.
    trips, values = walked.trips, walked.values
    shift_ms = market.candle_ms if market.fill == "open" else 0
    still_open, inside = trips[:, EXIT] < 0, np.isin(trips[:, REASON], INSIDE)
    entry = times.gather(trips[:, ENTRY]).dt.offset_by(f"-{shift_ms}ms")
    leave = times.gather(np.where(still_open, times.len() - 1, trips[:, EXIT]))
    earlier = pl.Series(np.where(still_open | inside, 0, shift_ms)).cast(pl.Duration("ms"))
    leave = leave - earlier
    if walked.times is not None:
        entry, leave = walked.times["entry_time"], walked.times["exit_time"]
    return pl.DataFrame(
        {
            "entry_time": entry,
            "entry_price": values[:, 0],
            "exit_time": leave,
            "exit_price": values[:, 1],
            "quantity": values[:, 2],
            "fees": values[:, 3],
            "pnl": values[:, 4],
            "exit_reason": pl.Series([REASONS[code] for code in trips[:, REASON]], dtype=pl.String),
        }
    )


def _signals(judged: pl.DataFrame, walked: Walked) -> pl.DataFrame:
    bought, sold = walked.trips[:, BOUGHT_AT], walked.trips[:, SOLD_AT]
    sold = sold[sold >= 0]
    kinds = ["buy"] * bought.size + ["sell"] * sold.size
    picked = judged[np.concatenate((bought, sold))]
    frame = pl.DataFrame(
        {
            "timestamp": picked["timestamp"],
            "signal_type": pl.Series(kinds, dtype=pl.String),
            "price": picked["close"],
        }
    )
    return frame.sort("timestamp")
