"""Trades whose ids show no holes: each once, and interruptions that are told."""

from decimal import Decimal

from core.sightings import Sightings
from core.trades import Side, Trade

PRICE = Decimal(1)


def trade(trade_id: int) -> Trade:
    """Its time is ten times its id."""
    return Trade("A-B", trade_id, trade_id * 10, PRICE, PRICE, Side.BUY)


def test_each_id_is_new_once_in_any_order():
    """Ids that are far apart leave no gap."""
    seen = Sightings()
    assert [t.trade_id for t in seen.take([trade(900), trade(5), trade(900), trade(70)])] == [900, 5, 70]
    assert (seen.last_id, seen.last_ms, seen.duplicates, seen.gaps) == (900, 9_000, 1, [])


def test_what_lies_before_the_beginning_is_known():
    """The last stored trade and all before it were counted by an earlier process."""
    seen = Sightings(100, 1_000)
    assert [t.trade_id for t in seen.take([trade(99), trade(100), trade(101)])] == [101]


def test_an_interruption_blocks_the_minutes_from_its_last_trade_on():
    """Until it is resumed; the first trade after it is remembered."""
    seen = Sightings(6_000, 60_000)
    seen.take([trade(7_000)])
    seen.interrupt()
    assert seen.first_after_ms is None
    seen.take([trade(20_000), trade(20_001)])
    assert seen.first_after_ms == 200_000
    assert not seen.blocks_within(0, 60_000)
    assert seen.blocks_within(60_000, 120_000)
    assert seen.blocks_within(600_000, 660_000)
    seen.resume(through=trade(15_000))
    assert not seen.blocks_within(60_000, 120_000)
    assert seen.blocks_within(120_000, 180_000)
    seen.resume()
    assert seen.gaps == []


def test_a_second_interruption_keeps_the_beginning_of_the_first():
    """And waits for a trade of its own."""
    seen = Sightings()
    seen.take([trade(1)])
    seen.interrupt()
    seen.take([trade(50)])
    seen.interrupt()
    assert seen.gaps[0].after_ms == 10
    assert seen.first_after_ms is None


def test_memory_is_bounded_and_old_ids_count_as_known():
    """Of more ids than are kept the older half is forgotten, and not new again."""
    seen = Sightings(kept=100)
    seen.take(trade(n) for n in range(1, 1_001))
    assert len(seen._seen) <= 101
    assert seen.take([trade(3), trade(1_000)]) == []


def test_what_may_come_again_after_an_interruption_is_not_forgotten():
    """Trades of the interruption are new, however many came after it."""
    seen = Sightings(kept=10)
    seen.take([trade(1)])
    seen.interrupt()
    for n in range(1_000, 1_100):
        seen.take([trade(n)])
    assert [t.trade_id for t in seen.take([trade(1), trade(2), trade(1_050), trade(500)])] == [2, 500]


def test_an_answer_that_lacks_what_was_seen_contradicts():
    """Only between its first and its last trade: before and after it nothing is known of it."""
    seen = Sightings()
    seen.take([trade(10), trade(20), trade(30)])
    assert not seen.contradicts([])
    assert not seen.contradicts([trade(5), trade(10), trade(15), trade(20)])
    assert not seen.contradicts([trade(21), trade(29)])
    assert seen.contradicts([trade(11), trade(21)])


def test_an_answer_that_lacks_the_last_trade_before_the_interruption_contradicts():
    """Once it reaches beyond it."""
    seen = Sightings()
    seen.take([trade(10)])
    seen.interrupt()
    assert not seen.contradicts([trade(10), trade(12)])
    assert not seen.contradicts([trade(9)])
    assert seen.contradicts([trade(12), trade(13)])
