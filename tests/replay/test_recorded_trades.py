"""Candles of recorded trades, one at a time, equal an aggregation of the whole file."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from core.candle_builder import CandleBuilder
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from tests.aggregation import candles_of, trades_frame

pytestmark = pytest.mark.real_data

FILES = {
    "binance_BTC-USDT_2024-08-08T2354_11min.parquet": 19_904,
    "binance_ETH-USDT_2024-08-08T2354_11min.parquet": 14_515,
}


def recorded(path: Path) -> list[Trade]:
    frame = pl.read_parquet(path).select("trade_id", "timestamp_ms", "price", "size", "side")
    return [
        Trade("BTC-USDT", trade_id, at_ms, Decimal(price), Decimal(size), Side(side.lower()))
        for trade_id, at_ms, price, size, side in frame.iter_rows()
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_recording_over_midnight_gives_the_candles_of_an_aggregation(shared_data, name):
    tape = recorded(shared_data / "trades" / name)
    assert len(tape) == FILES[name]
    continuity = Continuity(tape[0].trade_id - 1)
    builder = CandleBuilder("BTC-USDT", Timeframe, Timeframe.M1.open_ms(tape[0].timestamp_ms))
    built = []
    for trade in tape:
        for new in continuity.take([trade, trade]):
            builder.add(new)
        while builder.next_close_ms + 2_000 <= trade.timestamp_ms:
            built += builder.close()
    assert continuity.gaps == []
    assert continuity.duplicates == len(tape)
    assert builder.late_minutes == set()
    through_ms = builder.closed_through_ms
    for timeframe in Timeframe:
        ours = [
            (c.close_ms, c.open, c.high, c.low, c.close, c.volume, c.trades_count)
            for c in built
            if c.timeframe is timeframe
        ]
        truth = {row[0]: row for row in candles_of(trades_frame(tape), timeframe, through_ms)}
        assert [row for row in ours if row != truth[row[0]]] == []
        begun = Timeframe.M1.open_ms(tape[0].timestamp_ms)
        assert [row[0] for row in ours] == [t for t in truth if t - timeframe.ms >= begun and t <= through_ms]


def test_an_id_that_was_planted_twice_is_counted_once(shared_data):
    (path,) = (shared_data / "trades").glob("test_negative_*trxusdt*.csv.gz")
    ids = pl.read_csv(path)["TradeId"].to_list()
    assert len(ids) > len(set(ids))
    continuity = Continuity(ids[0] - 1)
    tape = [Trade("TRX-USDT", n, i, Decimal(1), Decimal(1), Side.BUY) for i, n in enumerate(ids)]
    assert sorted(trade.trade_id for trade in continuity.take(tape)) == sorted(set(ids))
    assert continuity.duplicates == len(ids) - len(set(ids))
