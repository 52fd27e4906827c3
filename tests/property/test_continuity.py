"""Whatever the order, losses and repeats: every trade id is passed on once, or known to be missing."""

import random
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.continuity import Continuity
from core.trades import Side, Trade


def trade(trade_id: int, count: int = 1) -> Trade:
    return Trade("BTC-USDT", trade_id, 1_000 + trade_id, Decimal(1), Decimal(count), Side.BUY, count)


def ids(trades: list[Trade]) -> list[int]:
    return [n for t in trades for n in range(t.first_id, t.trade_id + 1)]


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=60), seed=st.integers(0, 2**32))
def test_loss_repeats_and_disorder_leave_each_id_once_or_in_a_gap(counts, seed):
    dice = random.Random(seed)
    published, last = [], 100
    for count in counts:
        last += count
        published.append(trade(last, count))
    received = [t for t in published for _ in range(dice.choice([0, 1, 1, 1, 2]))]
    for i in range(len(received) - 1):
        if dice.random() < 0.3:
            received[i], received[i + 1] = received[i + 1], received[i]

    tracker = Continuity(last_id=100)
    seen = ids(tracker.take(received))
    missing = [n for gap in tracker.gaps for n in range(gap.first_id, gap.last_id + 1)]
    assert len(seen) == len(set(seen))
    assert set(seen).isdisjoint(missing)
    assert set(seen) | set(missing) == set(range(101, (tracker.last_id or 0) + 1))

    refill = [trade(n) for n in missing]
    dice.shuffle(refill)
    assert sorted(ids(tracker.take(refill))) == sorted(missing)
    assert tracker.gaps == []
    assert tracker.take(published + refill) == [
        t for t in published if t.trade_id > max(seen + missing + [100])
    ]


def test_an_aggregate_of_which_a_part_was_seen_is_asked_for_one_by_one():
    tracker = Continuity(last_id=121, last_ms=5)
    assert tracker.take([trade(123, count=3)]) == []
    assert [(gap.first_id, gap.last_id, gap.after_ms) for gap in tracker.gaps] == [(122, 123, 5)]
    assert ids(tracker.take([trade(122), trade(123)])) == [122, 123]
    assert tracker.gaps == []


def test_a_gap_blocks_only_the_minutes_between_the_trades_around_it():
    tracker = Continuity(last_id=10, last_ms=1_000)
    tracker.take([trade(15)])  # of 1,015 ms
    assert not tracker.blocks_within(0, 1_000)
    assert tracker.blocks_within(0, 1_001)
    assert tracker.blocks_within(1_015, 2_000)
    assert not tracker.blocks_within(1_016, 2_000)
    tracker.take([trade(12)])
    assert [(gap.first_id, gap.after_ms, gap.before_ms) for gap in tracker.gaps] == [
        (11, 1_000, 1_012),
        (13, 1_012, 1_015),
    ]


def test_ids_that_nobody_has_can_be_given_up():
    tracker = Continuity(last_id=10)
    tracker.take([trade(20)])
    tracker.give_up(13, 15)
    assert [(gap.first_id, gap.last_id) for gap in tracker.gaps] == [(11, 12), (16, 19)]
    tracker.give_up(1, 30)
    assert tracker.gaps == []
    assert ids(tracker.take([trade(14), trade(14), trade(30)])) == [14, 30]
    assert [(gap.first_id, gap.last_id) for gap in tracker.gaps] == [(21, 29)]


def test_the_old_last_trade_that_a_subscription_begins_with_is_a_duplicate():
    tracker = Continuity(last_id=50)
    assert tracker.take([trade(44)]) == []
    assert tracker.gaps == []
    assert tracker.duplicates == 1
