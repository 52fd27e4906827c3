"""How late a page showed trades. A running candle says which trades it holds: its volume is their sum, so
what was painted is known to the trade, also where prices repeat."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

MINUTE_MS = 60_000
SETTLES_MS = 1_000.0
"""Trades as close to the end of the watch as this may not have been shown yet."""


class Traded(NamedTuple):
    """A trade as the exchange sent it. at: wall ms of its arrival; made: the exchange's ms."""

    at: float
    made: int
    price: Decimal
    size: Decimal


class Painted(NamedTuple):
    """A 1m candle that was on the screen. at: wall ms of the frame; close: its close time, exchange ms; text:
    the price that stood over the chart."""

    at: float
    close: int
    volume: float
    text: str


def lateness(traded: Sequence[Traded], painted: Sequence[Painted], since: float, until: float) -> list[float]:
    """ms of each trade, in their order, until a frame that held it, or a newer one, was painted.

    The page is watched from wall ms `since` to `until`; a trade that no frame ever held counts until then.
    Trades of the first minute are left out: what its candle held before them is not known.
    """
    place = _places(traded)
    late: list[float] = []
    judged = (n for n, trade in enumerate(traded) if trade.at >= since and _close(trade) != _close(traded[0]))
    done = next(judged, len(traded))
    for frame in painted:
        shown = _newest(place.get(frame.close, []), frame.volume)
        if shown is None or shown < done or Decimal(frame.text.replace(",", "")) != traded[shown].price:
            continue
        late += [max(0.0, frame.at - traded[n].at) for n in range(done, shown + 1)]
        done = shown + 1
    return late + [until - trade.at for trade in traded[done:] if until - trade.at > SETTLES_MS]


def _close(trade: Traded) -> int:
    return trade.made - trade.made % MINUTE_MS + MINUTE_MS


def _places(traded: Sequence[Traded]) -> dict[int, list[tuple[float, int]]]:
    """Of each minute: (volume so far, number of the trade), in order."""
    sums: dict[int, Decimal] = defaultdict(Decimal)
    found: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for n, trade in enumerate(traded):
        sums[_close(trade)] += trade.size
        found[_close(trade)].append((float(sums[_close(trade)]), n))
    return found


def _newest(sums: Sequence[tuple[float, int]], volume: float) -> int | None:
    """The number of the trade that made the minute's volume what it is; None where none did."""
    at = bisect_left(sums, (volume * (1 - 1e-9), -1))
    if at < len(sums) and abs(sums[at][0] - volume) <= 1e-9 * max(volume, 1.0):
        return sums[at][1]
    return None
