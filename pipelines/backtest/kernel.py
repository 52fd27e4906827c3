"""The portfolio walk of one run, compiled. Cash or coins, never both: all in, all out.

The module is compiled once and kept on disk; `python -m pipelines.backtest.warm` does it ahead of time.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.backtest.compiled import njit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@njit
def bought(cash: float, price: float, fee: float, pays_in_quote: bool) -> tuple[float, float]:
    """Coins that `cash` buys at `price`, and the fee as quote currency."""
    if pays_in_quote:
        quantity = cash / (price * (1.0 + fee))
        return quantity, quantity * price * fee
    return cash / price * (1.0 - fee), cash * fee


@njit
def walk(
    open_: Floats,
    close: Floats,
    buy: Bools,
    sell: Bools,
    fill_next: bool,
    cash: float,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
) -> tuple[Floats, Ints, Floats, int]:
    """Equity at each close, the round trips, and how many candles closed with a position.

    buy, sell: at the close of each candle, never both. Round trips: rows of (entry candle, exit candle) and
    of (entry price, exit price, coins, fees, pnl, value of its fills); prices with slippage, the rest quote
    currency. One that is still open has exit candle −1 and is valued at the last close without a fee.
    """
    n = close.size
    equity = np.empty(n)
    most = min(np.count_nonzero(buy), np.count_nonzero(sell) + 1)
    candles = np.empty((most, 2), np.int64)
    values = np.empty((most, 6))
    done, held, quantity, spent, paid, order = 0, 0, 0.0, 0.0, 0.0, 0
    for t in range(n):
        if not fill_next:
            order = (1 if buy[t] else 0) if quantity == 0.0 else (-1 if sell[t] else 0)
        if order == 1:
            price = (open_[t] if fill_next else close[t]) * (1.0 + slippage)
            quantity, paid = bought(cash, price, fee, pays_in_quote)
            spent, cash = cash, 0.0
            candles[done, 0] = t
            values[done, 0] = price
        elif order == -1:
            price = (open_[t] if fill_next else close[t]) * (1.0 - slippage)
            charged = quantity * price * fee
            cash = quantity * price - charged
            candles[done, 1] = t
            values[done, 1] = price
            values[done, 2] = quantity
            values[done, 3] = paid + charged
            values[done, 4] = cash - spent
            values[done, 5] = spent + quantity * price
            done += 1
            quantity = 0.0
        if fill_next:
            order = (1 if buy[t] else 0) if quantity == 0.0 else (-1 if sell[t] else 0)
        if quantity > 0.0:
            held += 1
        equity[t] = cash + quantity * close[t]
    if quantity > 0.0:
        candles[done, 1] = -1
        values[done, 1] = close[n - 1]
        values[done, 2] = quantity
        values[done, 3] = paid
        values[done, 4] = quantity * close[n - 1] - spent
        values[done, 5] = spent
        done += 1
    return equity, candles[:done], values[:done], held
