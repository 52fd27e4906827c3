"""The measures of how late pages are tell a late page, one that loses trades, and a missed target."""

from decimal import Decimal

from tests.bench.dashboard_process import CORES, judged, missed
from tests.bench.lateness import Painted, Traded, lateness

MINUTE = 60_000
PRICES = ("100.1", "100.2", "100.1", "100.2", "100.1", "100.3")
TRADES = [Traded(0.0, MINUTE - 1, Decimal("99.9"), Decimal(1))] + [
    Traded(1000.0 * n, MINUTE + n, Decimal(price), Decimal("0.1")) for n, price in enumerate(PRICES, 1)
]
"""One in the minute in which the watch began, then one a second, whose prices repeat."""
END = 8_000.0


def frames(late_ms, lost=()):
    """What a page paints that is late by so much, and never takes in the trades of these numbers."""
    held = [n for n in range(1, len(TRADES)) if n not in lost]
    return [
        Painted(
            TRADES[n].at + late_ms,
            2 * MINUTE,
            float(sum(TRADES[m].size for m in held if m <= n)),
            f"{TRADES[n].price:,}",
        )
        for n in held
    ]


def test_a_delay_is_measured_to_the_millisecond_although_prices_repeat():
    """A page that is two trades behind shows right prices at wrong times: it is late all the same."""
    assert lateness(TRADES, frames(40.0), 0.0, END) == [40.0] * 6
    assert lateness(TRADES, frames(2_000.0), 0.0, END) == [2_000.0] * 6


def test_a_frame_that_skips_trades_shows_them_all():
    """Five trades between two frames count until the second one."""
    assert lateness(TRADES, frames(0.0)[-1:], 0.0, END) == [5_000.0, 4_000.0, 3_000.0, 2_000.0, 1_000.0, 0.0]


def test_trades_from_before_the_watch_do_not_count():
    """Nobody was there to see when they were painted."""
    assert lateness(TRADES, frames(40.0)[3:], 3_500.0, END) == [40.0] * 3


def test_a_lost_trade_counts_until_the_end():
    """From the trade on that a page never took in, its candles hold too little, whatever price they show."""
    assert lateness(TRADES, frames(10.0, lost=(4,)), 0.0, END) == [10.0] * 3 + [4_000.0, 3_000.0, 2_000.0]


def test_a_page_that_stands_still_is_late_until_the_end():
    """Nothing painted is not nothing late; what came in the last second cannot be judged."""
    assert lateness(TRADES, [], 0.0, END) == [7_000.0, 6_000.0, 5_000.0, 4_000.0, 3_000.0, 2_000.0]
    assert lateness(TRADES, [], 0.0, 6_500.0)[-1] == 1_500.0


def test_a_price_that_was_not_painted_does_not_count():
    """A candle that was taken in under an old price is not shown yet."""
    stale = [frame._replace(text="1.0") for frame in frames(0.0)]
    assert lateness(TRADES, stale, 0.0, END) == lateness(TRADES, [], 0.0, END)


def test_a_target_is_judged_by_the_clock_and_on_a_busy_machine_by_the_work():
    """Waiting for a neighbour misses no target; work that no idle machine could do in time does."""
    times = [100.0] * 90 + [300.0] * 10
    assert missed("a pan", times, 200, 0, load=0.5) == ["a pan: 300 ms p95 by the clock, more than 200"]
    assert missed("a pan", times, 300, 0, load=0.5) == []
    assert missed("a pan", times, 200, 200.0 * CORES, load=CORES) == []
    assert "by the processor" in missed("a pan", times, 200, 201.0 * CORES, load=CORES)[0]
    assert "by the processor" in judged(CORES) and judged(0.5) == ""
