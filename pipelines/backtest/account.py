"""The account of one run. Cash or coins, never both: all in, all out.

Plain Python from fill to fill, with whole stretches of equity at once: compiled code would take longer to
load than this takes to run. Sweeps compile `bought` into their own walk, so that the formula is one.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

STILL_OPEN, SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, TIME = range(6)
REASONS = ("end", "signal", "stop_loss", "take_profit", "trailing_stop", "time")
"""Names of the codes above; `end` is a position that is still open."""

# Columns of a round trip. The candles of the fills, those of the decisions (−1: none of the strategy's), why.
ENTRY, EXIT, BOUGHT_AT, SOLD_AT, REASON = range(5)
INSIDE = (STOP_LOSS, TAKE_PROFIT, TRAILING_STOP)
"""Exits inside a candle."""


def bought(cash: float, price: float, fee: float, pays_in_quote: bool) -> tuple[float, float]:
    """Coins that `cash` buys at `price`, and the fee as quote currency."""
    if pays_in_quote:
        quantity = cash / (price * (1.0 + fee))
        return quantity, quantity * price * fee
    return cash / price * (1.0 - fee), cash * fee


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
    """Equity at each close, the round trips, and how many candles closed with a position; every candle was
    traded (elsewhere orders wait: see `exits`).

    buy, sell: at the close of each candle, never both. Round trips: rows of (entry candle, exit candle) and
    of (entry price, exit price, coins, fees, pnl, value of its fills); prices with slippage, the rest quote
    currency. One that is still open has exit candle −1 and is valued at the last close without a fee.
    """
    n, fills = close.size, open_ if fill_next else close
    equity = np.empty(n)
    indices, values, flat_from, held = [], [], 0, 0
    for entry, leave in _round_trips(buy, sell, 1 if fill_next else 0):
        price = float(fills[entry]) * (1.0 + slippage)
        quantity, paid = bought(cash, price, fee, pays_in_quote)
        end = n if leave < 0 else leave
        equity[flat_from:entry] = cash
        equity[entry:end] = quantity * close[entry:end]
        held += end - entry
        if leave < 0:
            last, charged, proceeds = float(close[-1]), 0.0, 0.0
            gained = quantity * last - cash
        else:
            last = float(fills[leave]) * (1.0 - slippage)
            proceeds = quantity * last
            charged = proceeds * fee
            gained = proceeds - charged - cash
        indices.append((entry, leave))
        values.append((price, last, quantity, paid + charged, gained, cash + proceeds))
        cash, flat_from = proceeds - charged, end
    equity[flat_from:] = cash
    return equity, np.array(indices, np.int64).reshape(-1, 2), np.array(values).reshape(-1, 6), held


def _round_trips(buy: Bools, sell: Bools, later: int) -> list[tuple[int, int]]:
    """(entry candle, exit candle or −1) of each: an order is filled `later` candles after its signal, and
    the next signal is heeded from the candle after the last one."""
    judged = buy.size - later
    buys, sells = np.flatnonzero(buy[:judged]), np.flatnonzero(sell[:judged])
    trips: list[tuple[int, int]] = []
    t = 0
    while True:
        i = int(np.searchsorted(buys, t))
        if i == buys.size:
            return trips
        j = int(np.searchsorted(sells, buys[i] + 1))
        if j == sells.size:
            return [*trips, (int(buys[i]) + later, -1)]
        trips.append((int(buys[i]) + later, int(sells[j]) + later))
        t = int(sells[j]) + 1
