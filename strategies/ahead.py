"""A quick look for look-ahead before every run: a few points of the newest candles, in some 20 ms.

What it finds is one for certain. What it does not find may still be there: `tcp strategies check` looks
closely.
"""

import numpy as np
import polars as pl

from core.errors import BadInput
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.steps import StepStrategy

LOOKED_AT = 4_000
"""Newest candles that are looked at, besides those of the warm-up."""
POINTS = 3
"""Points of each kind at which the candles are cut off: a buy, a sell, neither."""


class LooksAhead(BadInput):
    """A strategy that knows what comes."""


def refuse_look_ahead(strategy: Strategy, candles: pl.DataFrame) -> None:
    """LooksAhead when a signal on those candles (a candle frame) owes something to later ones: it names the
    candle and what is said of it with and without them. One that goes candle by candle cannot, but by its
    indicators."""
    if isinstance(strategy, StepStrategy) and not strategy.indicators():
        return
    newest = candles.tail(LOOKED_AT + strategy.warmup)
    whole = evaluate(strategy, newest)
    for point in _points(whole, strategy.warmup):
        cut, expected = evaluate(strategy, newest.head(point + 1)), whole.head(point + 1)
        wrong = ((cut["buy"] != expected["buy"]) | (cut["sell"] != expected["sell"])).arg_true()
        if wrong.len():
            row = int(wrong[0])
            at, last = whole["timestamp"][row].isoformat(), whole["timestamp"][point].isoformat()
            raise LooksAhead(
                f"strategy {strategy.name}",
                f"looks ahead: for the candle of {at} it says {_said(cut, row)} on the candles up to {last}, "
                f"and {_said(whole, row)} when later ones are known; see `tcp strategies check "
                f"{strategy.name}`",
            )


def _points(whole: pl.DataFrame, warmup: int) -> list[int]:
    """Rows that are spread over those that buy, those that sell and the others; never the last, after which
    nothing is known. A leak of one candle only shows where it makes a signal."""
    buy, sell = whole["buy"].to_numpy(), whole["sell"].to_numpy()
    known = np.arange(whole.height) >= warmup
    chosen: set[int] = set()
    for kind in (buy, sell, ~(buy | sell)):
        rows = np.flatnonzero(kind & known)
        if rows.size:
            chosen.update(rows[np.linspace(0, rows.size - 1, POINTS + 1).astype(np.int64)[:-1]].tolist())
    return sorted(chosen - {whole.height - 1})


def _said(judged: pl.DataFrame, row: int) -> str:
    return "sell" if judged["sell"][row] else "buy" if judged["buy"][row] else "hold"
