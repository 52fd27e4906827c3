"""The ticker: last trade, best prices, and the statistics of the last 24 hours."""

import numpy as np

from pipelines.exchanges.sim import book
from pipelines.exchanges.sim.days import DAY_MS, join
from pipelines.exchanges.sim.history import HOUR_MS, History
from pipelines.exchanges.sim.specs import SymbolSpec


def row(history: History, spec: SymbolSpec, now_ms: int) -> dict[str, str]:
    """A ticker row as of now; the 24 h window moves in minutes."""
    symbol, day = spec.symbol, now_ms // DAY_MS
    last = history.newest_trades(symbol, now_ms, 1)
    best = book.snapshot(history, spec, now_ms, 1)
    days = [history.minutes(symbol, d, now_ms) for d in (day - 1, day)]
    window = join(days).part(len(days[1]), None)
    bids, asks = list(best.bids.items()), list(best.asks.items())
    fields = {"instType": "SPOT", "instId": symbol, "ts": str(now_ms)}
    fields["last"] = spec.price_text(int(last.price[0])) if len(last) else ""
    fields["lastSz"] = spec.size_text(int(last.size[0])) if len(last) else ""
    for name, side in (("bid", bids), ("ask", asks)):
        fields[f"{name}Px"] = spec.price_text(side[0][0]) if side else ""
        fields[f"{name}Sz"] = spec.size_text(side[0][1][0]) if side else ""
    fields["open24h"] = spec.price_text(int(window.open[0]))
    fields["high24h"] = spec.price_text(int(window.high.max()))
    fields["low24h"] = spec.price_text(int(window.low.min()))
    fields["vol24h"] = spec.size_text(int(window.volume.sum()))
    fields["volCcy24h"] = spec.value_text(int(window.value.sum()))
    fields["sodUtc0"] = spec.price_text(int(days[1].open[0]))
    midnight = (now_ms + 8 * HOUR_MS) // DAY_MS * DAY_MS - 8 * HOUR_MS
    joined = join(days)
    opened = int(np.searchsorted(joined.open_ms, midnight))
    fields["sodUtc8"] = spec.price_text(int(joined.open[opened]))
    return fields
