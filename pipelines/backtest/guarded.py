"""A run with a risk block: candles, signals and limits made ready for the kernel of `exits`."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from core.errors import BadInput
from core.metrics import DAY_MS, YEAR_MS
from pipelines.backtest.account import Bools, Floats, Ints
from pipelines.backtest.request import Market
from pipelines.backtest.risk import Risk
from strategies.base import Strategy

if TYPE_CHECKING:
    from pipelines.backtest.exits import Bars, Rules


PRICES = ("open", "high", "low", "close")


class Walked(NamedTuple):
    """equity, values, held: as of `account.walk`; trips: columns as in `exits` (ENTRY … REASON); times: of
    the fills where they are not those of the candles; covered: candles judged on the path inside them; left:
    coins held at the last close, where parts of a position may be sold (None: all that it bought)."""

    equity: Floats
    trips: Ints
    values: Floats
    held: int
    times: pl.DataFrame | None = None
    covered: int = 0
    left: float | None = None


def bars_of(traded: pl.DataFrame, market: Market, volumes: bool | None = None) -> "Bars":
    """The candles that are traded, for the kernel; they may serve many walks. volumes: see `with_trades`."""
    from pipelines.backtest.exits import Bars

    closed = traded["timestamp"].dt.epoch("ms").to_numpy(writable=True)
    open_, high, low, close = (traded[name].to_numpy(writable=True) for name in PRICES)
    days = (closed - market.candle_ms) // DAY_MS
    return Bars(open_, high, low, close, with_trades(traded["volume"], volumes), days, closed)


def walk_guarded(
    strategy: Strategy,
    candles: pl.DataFrame,
    buy: Bools,
    sell: Bools,
    market: Market,
    warm: int,
    bars: "Bars | None" = None,
    weights: Floats | None = None,
    volumes: bool | None = None,
) -> Walked:
    """Walk the candles from row `warm` on, for which buy and sell are given.

    bars, weights: of `bars_of` and `weights_of`; None: they are made here. volumes: see `with_trades`
    """
    from pipelines.backtest.compiled import chosen
    from pipelines.backtest.exits import walk_exits
    from pipelines.backtest.gate import new_memory

    risk, bars = market.risk or Risk(), bars or bars_of(candles.slice(warm), market, volumes)
    most = int(np.count_nonzero(buy)) + 1
    equity, trips, values = np.empty(buy.size), np.zeros((most, 5), np.int64), np.zeros((most, 6))
    if weights is None:
        weights = weights_of(strategy, risk, candles, market, warm)
    rules = rules_of(risk, market)
    count, held = chosen(walk_exits, buy.size)(
        bars, buy, sell, weights, rules, market.cash, new_memory(rules), equity, trips, values
    )
    return Walked(equity, trips[:count], values[:count], held)


def rules_of(risk: Risk, market: Market) -> "Rules":
    """The block as the kernel wants it: no limit is 0."""
    from pipelines.backtest.exits import Rules

    later = 1 if market.fill == "open" else 0  # the candle that is entered at its open counts
    spending = (risk.max_order_value, risk.max_position_value)  # a buy begins flat: the smaller one counts
    return Rules(
        fill_next=market.fill == "open",
        pays_in_quote=market.pays_in_quote,
        fee=market.fee,
        slippage=market.slippage,
        fraction=float(risk.max_position_fraction),
        amount=float(risk.size or 0) if risk.sizing == "fixed" else 0.0,
        stop_loss=float(risk.stop_loss or 0),
        take_profit=float(risk.take_profit or 0),
        trailing_stop=float(risk.trailing_stop or 0),
        longest_ms=(risk.max_candles - later) * market.candle_ms if risk.max_candles else -1,
        max_daily_loss=float(risk.max_daily_loss or 0),
        max_drawdown=float(risk.max_drawdown or 0),
        max_silent=risk.max_silent_candles,
        most=float(min((one for one in spending if one is not None), default="inf")),
        deviation=float(risk.max_price_deviation or 0),
        orders_an_hour=risk.max_orders_per_hour or 0,
        orders_a_day=risk.max_orders_per_day or 0,
        cooldown_candles=risk.cooldown_candles or 0,
        cooldown_ms=(risk.cooldown_minutes or 0) * 60_000,
        max_losses=risk.max_consecutive_losses or 0,
        halts=risk.halt_until_reset,
    )


def weight(strategy: Strategy, risk: Risk) -> float:
    """Part of equity that a buy spends, where it is the same for every candle. BadInput when sizing risk has
    no fraction to risk."""
    if risk.sizing == "fixed":
        return 0.0
    if risk.sizing == "percent":
        return float(risk.size or 0)
    if risk.sizing == "risk":
        size = risk.size if risk.size is not None else strategy.parameters.risk_percentage
        if size is None:
            raise BadInput("size", "sizing risk needs it, or the strategy's parameter risk_percentage")
        return float(size) / float(risk.stop_distance or 1)
    return 1.0


def weights_of(strategy: Strategy, risk: Risk, candles: pl.DataFrame, market: Market, warm: int) -> Floats:
    """Part of equity that a buy spends: a number for each candle from row `warm` on, or one for all."""
    if risk.sizing == "volatility":
        return _weights(strategy, risk, candles, market)[warm:]
    return np.array([weight(strategy, risk)])


def _weights(strategy: Strategy, risk: Risk, candles: pl.DataFrame, market: Market) -> Floats:
    """The volatility that is wanted over that of the last candles: nothing before it is known, everything
    where nothing moves."""
    from strategies.columns import with_indicators
    from strategies.indicators.volatility import realised_volatility

    made = realised_volatility(risk.volatility_candles, YEAR_MS / market.candle_ms)
    measured = with_indicators(candles, {"volatility": made}, strategy.timeframe)["volatility"]
    wanted = float(risk.size or 0) / measured.fill_null(float("inf"))
    return np.asarray(np.minimum(wanted.to_numpy(), 1.0), dtype=np.float64)


def with_trades(volume: pl.Series, volumes: bool | None = None) -> Bools:
    """Candles with a trade; all of them where volumes are not known. volumes: whether they are; None: if
    any of these is above 0."""
    traded = (volume > 0).to_numpy(writable=True)
    return traded if volumes or traded.any() else np.ones(traded.size, np.bool_)
