"""Candles built trade by trade equal an independent aggregation of all trades at once."""

import random
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from tests.aggregation import candles_of, trades_frame

START = 1_700_006_400_000  # a UTC midnight
assert START % Timeframe.D1.ms == 0
FRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    """Trades of about an hour, with bursts and empty minutes; ids and times rise together."""
    steps = draw(st.lists(st.sampled_from([0, 1, 7_000, 59_999, 60_000, 61_000, 400_000]), max_size=60))
    prices = draw(st.lists(st.integers(1, 500), min_size=61, max_size=61))
    at, tape = START, []
    for i, step in enumerate([0, *steps]):
        at += step
        size = Decimal(prices[-1 - i]) / Decimal(10**8)
        tape.append(Trade("BTC-USDT", 100 + i, at, Decimal(prices[i]) / 100, size, Side.BUY, 1))
    return tape


def close_all(builder: CandleBuilder, through_ms: int) -> list[Candle]:
    closed = []
    while builder.next_close_ms <= through_ms:
        closed += builder.close()
    return closed


def through(tape: list[Trade]) -> int:
    return Timeframe.M15.close_ms(tape[-1].timestamp_ms)


@given(tape=tapes(), seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_candles_of_any_order_equal_an_aggregation_at_once(tape, seed):
    shuffled = list(tape)
    random.Random(seed).shuffle(shuffled)
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    builder.add_all(shuffled[::2])
    builder.add_all(shuffled[1::2])
    built = close_all(builder, through(tape))
    for timeframe in FRAMES:
        expected = candles_of(trades_frame(tape), timeframe, through(tape))
        assert rows(built, timeframe) == expected


@given(tape=tapes(), late=st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_a_trade_that_comes_after_its_minute_closed_revises_it_and_all_above(tape, late):
    kept_back = tape[late % len(tape)] if late % len(tape) else None
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    builder.add_all([trade for trade in tape if trade is not kept_back])
    built = {(c.timeframe, c.close_ms): c for c in close_all(builder, through(tape))}
    if kept_back is not None:
        builder.add(kept_back)
        revisions = builder.take_revisions()
        assert {c.revision for c in revisions} == {1}
        assert {c.timeframe for c in revisions} == set(FRAMES)
        built |= {(c.timeframe, c.close_ms): c for c in revisions}
    for timeframe in FRAMES:
        assert rows(built.values(), timeframe) == candles_of(trades_frame(tape), timeframe, through(tape))
    assert builder.take_revisions() == []


@given(tape=tapes(), cut=st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_a_builder_seeded_with_earlier_minutes_rolls_up_as_if_it_had_run_all_along(tape, cut):
    whole = CandleBuilder("BTC-USDT", FRAMES, START)
    for trade in tape:
        whole.add(trade)
    expected = close_all(whole, through(tape))
    boundary = Timeframe.M1.open_ms(tape[cut % len(tape)].timestamp_ms)

    resumed = CandleBuilder("BTC-USDT", FRAMES, boundary)
    minutes = [c for c in expected if c.timeframe is Timeframe.M1 and c.close_ms <= boundary]
    early = resumed.seed(minutes[-1:])
    for trade in tape:
        if trade.timestamp_ms >= boundary:
            resumed.add(trade)
    early += close_all(resumed, through(tape))
    early += resumed.seed(minutes)
    for timeframe in FRAMES:
        assert sorted(rows(early, timeframe)) == [r for r in rows(expected, timeframe) if r[0] > boundary]


@given(tape=tapes())
@settings(max_examples=100, deadline=None)
def test_running_candles_are_those_of_the_trades_so_far(tape):
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    for i, trade in enumerate(tape):
        builder.add(trade)
        running = {c.timeframe: c for c in builder.running()}
        assert not any(c.final for c in running.values())
        for timeframe in FRAMES:
            wanted = candles_of(
                trades_frame(tape[: i + 1]), timeframe, timeframe.close_ms(trade.timestamp_ms)
            )
            assert rows([running[timeframe]], timeframe) == wanted[-1:]
        if i % 3 == 0:
            close_all(builder, Timeframe.M1.open_ms(trade.timestamp_ms))


def test_a_minute_without_trades_is_flat_at_the_last_close_and_says_so():
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    builder.add(Trade("BTC-USDT", 1, START, Decimal("1.50"), Decimal(2), Side.SELL, 3))
    first, second = builder.close()[0], builder.close()[0]
    assert (first.source, first.trades_count) == ("trades", 3)
    assert (second.source, second.trades_count, second.volume) == ("synthetic", 0, 0)
    assert {second.open, second.high, second.low, second.close} == {Decimal("1.50")}


def test_an_empty_first_minute_without_a_known_price_cannot_be_closed():
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    assert not builder.can_close()


def test_a_market_without_a_past_begins_with_the_minute_of_its_first_trade():
    builder = CandleBuilder("NEW-USDT", FRAMES, START)
    builder.add(Trade("NEW-USDT", 1, START + 180_005, Decimal(7), Decimal(2), Side.BUY))
    builder.begin_with_first_trade()
    assert not builder.can_close()  # minutes from before may still be on their way
    builder.seed([])
    builder.begin_with_first_trade()
    candles = close_all(builder, START + 900_000)
    ends = [(candle.timeframe, (candle.close_ms - START) // 60_000) for candle in candles if candle.volume]
    assert ends == [(Timeframe.M1, 4), (Timeframe.M5, 5), (Timeframe.M15, 15)]


def test_a_provisional_minute_is_reissued_when_it_turns_out_complete():
    builder = CandleBuilder("BTC-USDT", FRAMES, START)
    builder.add(Trade("BTC-USDT", 1, START, Decimal(1), Decimal(2), Side.SELL))
    assert builder.close(provisional=True)[0].provisional
    builder.settle(START + 60_000)
    (revision,) = builder.take_revisions()
    assert (revision.provisional, revision.revision) == (False, 1)


def rows(candles, timeframe: Timeframe) -> list[tuple]:
    return [
        (c.close_ms, c.open, c.high, c.low, c.close, c.volume, c.trades_count)
        for c in candles
        if c.timeframe is timeframe
    ]


def test_the_independent_aggregation_knows_a_right_answer():
    frame = pl.DataFrame(
        {
            "trade_id": [1, 2, 3],
            "timestamp_ms": [START, START + 59_999, START + 60_000],
            "price": [Decimal(3), Decimal(1), Decimal(2)],
            "size": [Decimal(1), Decimal(1), Decimal(5)],
            "count": [1, 2, 1],
        }
    )
    assert candles_of(frame, Timeframe.M1, START + 120_000) == [
        (START + 60_000, 3, 3, 1, 1, 2, 3),
        (START + 120_000, 2, 2, 2, 2, 5, 1),
    ]
