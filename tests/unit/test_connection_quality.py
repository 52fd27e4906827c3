"""What is counted of a connection, and how its minutes are told apart."""

from decimal import Decimal

import pytest

from core.trades import Side, Trade
from pipelines.clock import ExchangeClock
from pipelines.exchanges.measured import ConnectionQuality, Connections, Latencies


class Monotonic:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def trade(trade_id: int, count: int = 1, symbol: str = "A-B", at_ms: int = 0) -> Trade:
    return Trade(symbol, trade_id, at_ms, Decimal(1), Decimal(1), Side.BUY, count)


def quality(counts_ids: bool = True) -> ConnectionQuality:
    return ConnectionQuality(ExchangeClock(), lambda: "wss://a", counts_ids=counts_ids)


@pytest.mark.parametrize(
    ("batches", "lost", "repeated"),
    [
        ([[trade(5), trade(6)], [trade(9, 3)]], 0, 0),
        ([[trade(5)], [trade(9, 3)]], 1, 0),
        ([[trade(5)], [trade(5)], [trade(6)]], 0, 1),
        # A hole and a trade that came twice, in one delivery, are both seen.
        ([[trade(5)], [trade(6), trade(6), trade(8)]], 1, 1),
        ([[trade(5), trade(1, symbol="C-D")], [trade(6), trade(3, symbol="C-D")]], 1, 0),
        ([[trade(5)], [trade(7), trade(6)]], 1, 1),
    ],
)
def test_lost_ids_and_repeated_trades(batches: list[list[Trade]], lost: int, repeated: int):
    """By the interval of ids that each trade covers, symbol by symbol."""
    measured = quality()
    for batch in batches:
        measured.heard(batch)
    counts = measured.counts()
    assert (counts.lost_ids, counts.repeated, counts.messages) == (lost, repeated, len(batches))
    assert counts.trades == sum(map(len, batches))


def test_ids_of_exchanges_that_do_not_count_them_prove_nothing():
    """Where ids are no sequence a jump is no loss."""
    measured = quality(counts_ids=False)
    measured.heard([trade(5)])
    measured.heard([trade(500)])
    assert measured.counts().lost_ids == 0


def test_states_are_counted():
    """Reconnects and silences add up; neither a refused symbol nor a planned move changes what it is."""
    measured = quality()
    for state in ("connecting", "live", "silent", "reconnecting", "live", "refused", "moving"):
        measured.told(state)
    assert (measured.counts().reconnects, measured.counts().silences, measured.state) == (1, 1, "live")


def test_a_minute_is_what_came_since_the_last():
    """The difference of two counts."""
    measured = quality()
    measured.heard([trade(1)])
    earlier = measured.counts()
    measured.heard([trade(2), trade(4)])
    since = measured.counts().minus(earlier)
    assert (since.messages, since.trades, since.lost_ids) == (1, 2, 1)


def test_the_first_push_of_a_subscription_is_no_latency():
    """It is the last trade, possibly hours old; the ones after it are timed."""
    clock = ExchangeClock()
    for _ in range(2):
        clock.sample(1_000_000)
    measured = ConnectionQuality(clock, lambda: "", counts_ids=True)
    measured.heard([trade(1, at_ms=1)])
    assert measured.latencies.percentiles() == (None, None)
    measured.heard([trade(2, at_ms=clock.now_ms() - 40)])
    p50, p99 = measured.latencies.percentiles()
    assert p50 == p99
    assert p50 is not None
    assert 40 <= p50 < 1_000


class Pushes:
    """A feed of one delivery."""

    def __init__(self, trades: list[Trade]) -> None:
        self._trades = trades

    async def run(self, symbols, on_trades, on_state) -> None:
        on_trades(self._trades)


NOW = 1_763_683_200_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        (0, "a trade from before 2009"),
        (253_402_300_799_999, "a trade more than a day ahead of the exchange's clock"),
        (NOW + DAY + 60_000, "a trade more than a day ahead of the exchange's clock"),
    ],
)
async def test_a_trade_of_an_impossible_time_is_an_unknown_frame_and_no_trade(at_ms: int, reason: str):
    """It is counted by name and costs no trade beside it."""
    clock = ExchangeClock(Monotonic())
    clock.sample(NOW)
    connections, taken = Connections(clock), list[Trade]()
    good = [trade(1, at_ms=NOW), trade(3, at_ms=NOW + DAY)]
    feed = connections.measured(
        Pushes([good[0], trade(2, at_ms=at_ms), good[1]]), lambda: "", counts_ids=True
    )
    await feed.run(["A-B"], taken.extend, lambda state, detail: None)
    assert taken == good
    (measured,) = connections.qualities
    assert (measured.counts().unknown_frames, measured.counts().lost_ids) == (1, 1)
    assert measured.document()["unknown_reasons"] == {reason: 1}


def test_before_the_exchange_was_heard_no_time_is_too_late():
    """Its clock may be anywhere, a simulated one's years ahead of this machine's."""
    assert ExchangeClock().doubt(253_402_300_799_999) is None


def test_percentiles_are_of_the_last_minute():
    """By nearest rank; older samples are forgotten, and no more than fifty a second are taken."""
    clock = Monotonic()
    latencies = Latencies(clock)
    latencies.add(9_999.0)
    assert not latencies.is_due()
    clock.s += 61
    for number in range(100):
        assert latencies.is_due()
        latencies.add(float(number))
        clock.s += 0.02001
    assert latencies.percentiles() == (50.0, 99.0)
