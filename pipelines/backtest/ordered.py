"""A run with execution options: candles, their inside and the terms made ready for the kernel of `orders`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from core.errors import BadInput
from core.metrics import DAY_MS
from core.timeframes import Timeframe
from pipelines.backtest.account import Bools, Floats
from pipelines.backtest.candles import with_volumes
from pipelines.backtest.execution import Execution
from pipelines.backtest.guarded import Walked, rules_of, weights_of
from pipelines.backtest.intrabar import lay_under
from pipelines.backtest.request import Market
from pipelines.backtest.risk import Risk
from strategies.base import Strategy

if TYPE_CHECKING:
    from pipelines.backtest.filling import Bars, Terms


@dataclass(frozen=True)
class Laid:
    """The finest bars of the candles traded, for the kernel; begins, ends: their times; covered: candles
    judged on the path inside them."""

    bars: "Bars"
    begins: pl.Series
    ends: pl.Series
    covered: int


def lay(
    candles: pl.DataFrame,
    path: pl.DataFrame | None,
    warm: int,
    timeframe: Timeframe,
    volumes: bool | None = None,
) -> Laid:
    """The candles from row `warm` on with the path inside them; None: the candles alone. volumes: whether
    they are known; None: if any candle has one."""
    traded = candles.slice(warm)
    laid = lay_under(traded, path, timeframe)
    volumes = with_volumes(candles) if volumes is None else volumes
    covered = laid.filter(pl.col("fine") & pl.col("last")).height
    return Laid(_bars(laid, traded["timestamp"], volumes), laid["begins"], laid["ends"], covered)


def refuse_unsuitable(execution: Execution, candles: pl.DataFrame, symbol: str, volumes: bool) -> None:
    """BadInput for options that these candles cannot serve; volumes: whether theirs are known."""
    if execution.needs_volume and not volumes:
        raise BadInput("volume", "volume_share and impact need candles with a volume; these have none")
    if execution.spread >= float(candles["low"].min() or 0):  # type: ignore[arg-type]
        raise BadInput("spread", f"{execution.spread:g} is not below every price of {symbol}")


def walk_ordered(
    strategy: Strategy,
    candles: pl.DataFrame,
    buy: Bools,
    sell: Bools,
    market: Market,
    warm: int,
    laid: Laid,
    weights: Floats | None = None,
    volumes: bool | None = None,
) -> Walked:
    """Walk the candles from row `warm` on, for which buy and sell are given, along the bars laid under them.

    weights: of `guarded.weights_of`; None: they are made here. volumes: as of `lay`. BadInput when fills
    depend on the volume and the candles have none.
    """
    from pipelines.backtest.compiled import chosen
    from pipelines.backtest.filling import Book
    from pipelines.backtest.gate import new_memory
    from pipelines.backtest.orders import walk_orders

    execution, risk, traded = market.execution or Execution(), market.risk or Risk(), candles.slice(warm)
    known = with_volumes(candles) if volumes is None else volumes
    refuse_unsuitable(execution, traded, market.symbol, known)
    most = int(np.count_nonzero(buy)) + 1
    trips, values, moments = np.zeros((most, 5), np.int64), np.zeros((most, 6)), np.zeros((most, 2), np.int64)
    book = Book(np.empty(buy.size), trips, values, moments, np.zeros(1))
    if weights is None:
        weights = weights_of(strategy, risk, candles, market, warm)
    rules, terms = rules_of(risk, market), terms_of(execution, market)
    memory = new_memory(rules)
    walk = chosen(walk_orders, laid.begins.len())
    count, held = walk(laid.bars, buy, sell, weights, rules, terms, market.cash, memory, book)
    times, left = _times(laid, moments[:count]), float(book.left[0])
    return Walked(book.equity, trips[:count], values[:count], held, times, laid.covered, left)


def terms_of(execution: Execution, market: Market) -> "Terms":
    """The options as the kernel wants them."""
    from pipelines.backtest.filling import ENTRY_ORDERS, Terms

    maker = market.fee if execution.maker_fee is None else execution.maker_fee
    tiers = [[tier.traded, tier.maker, tier.taker] for tier in execution.fee_tiers]
    return Terms(
        kind=ENTRY_ORDERS.index(execution.order),
        offset=execution.offset,
        expires_ms=execution.expires * market.candle_ms,
        share=execution.volume_share or 0.0,
        spread=execution.spread,
        impact=execution.impact,
        tiers=np.array(tiers or [[0.0, maker, market.fee]]),
    )


def _bars(laid: pl.DataFrame, closed: pl.Series, volumes: bool) -> "Bars":
    from pipelines.backtest.filling import Bars

    def column(name: str) -> Floats:
        return laid[name].to_numpy(writable=True)

    traded = column("volume") > 0
    ends = laid.select(pl.when("last").then("candle").otherwise(-1)).to_series()
    return Bars(
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
        traded=traded if volumes or traded.any() else np.ones(traded.size, np.bool_),
        ends=ends.to_numpy(writable=True),
        day=laid["begins"].dt.epoch("ms").to_numpy() // DAY_MS,
        closed=closed.dt.epoch("ms").to_numpy(writable=True),
    )


def _times(laid: Laid, moments: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> pl.DataFrame:
    """entry_time and exit_time of each round trip: an open's time, or the end of the bar it happened in."""
    columns = {}
    for n, name in enumerate(("entry_time", "exit_time")):
        bar, inside = pl.Series(moments[:, n] // 2), pl.Series(moments[:, n] % 2 == 1)
        columns[name] = pl.select(
            pl.when(inside).then(laid.ends.gather(bar)).otherwise(laid.begins.gather(bar))
        ).to_series()
    return pl.DataFrame(columns)
