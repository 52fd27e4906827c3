"""Batches on disk: what `append` returned from is there, in order, once, whatever end the process had."""

import errno
import resource
from decimal import Decimal
from pathlib import Path

import pytest

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.batch import Batch, GapRecord, Position
from live.collector.spool import START, Spool

NOON = 1_763_726_400_000


def trade(n: int) -> Trade:
    return Trade("BTC-USDT", n, NOON + n, Decimal(f"60000.{n:018d}"), Decimal("1E-8"), Side.SELL, 2, "rest")


def batch(first: int, count: int = 3) -> Batch:
    price = Decimal("1.10")
    candle = Candle(
        "BTC-USDT", Timeframe.M5, NOON + first, price, price, price, price, Decimal(0), revision=1
    )
    gap = GapRecord("BTC-USDT", first, first, "open", NOON, None)
    return Batch([trade(n) for n in range(first, first + count)], [candle], [gap])


def opened(folder: Path, drained: Position | None = None, **options: int) -> Spool:
    spool = Spool(folder, **({"reserve_bytes": 0} | options))
    spool.recover(drained)
    return spool


def drained(spool: Spool, at_once: int = 1) -> list[Batch]:
    batches = []
    while (chunk := spool.read(at_once)) is not None:
        batches.append(chunk.batch)
        spool.drop(chunk)
    return batches


def test_batches_come_back_exactly_in_order_over_many_files_which_are_then_gone(tmp_path):
    spool = opened(tmp_path, segment_bytes=1_000)
    written = [batch(n * 10) for n in range(20)]
    for n in range(0, 20, 2):
        spool.append(written[n : n + 2])
    assert spool.trades == 60
    assert len(list(tmp_path.glob("*.spool"))) > 3
    assert drained(spool) == written
    assert (spool.trades, spool.bytes, spool.waiting) == (0, 0, False)
    assert list(tmp_path.iterdir()) == []


def test_small_batches_are_read_as_one_transaction(tmp_path):
    spool = opened(tmp_path)
    for n in range(10):
        spool.append([batch(n * 10)])
    first, second = drained(spool, at_once=15)
    assert [t.trade_id for t in first.trades + second.trades] == [
        t.trade_id for n in range(10) for t in batch(n * 10).trades
    ]
    assert len(first.trades) == 15


def test_appending_while_draining_keeps_the_order(tmp_path):
    spool = opened(tmp_path, segment_bytes=500)
    seen: list[int] = []
    for n in range(30):
        spool.append([batch(n * 10, 1)])
        if n % 3 == 2:
            chunk = spool.read(1)
            assert chunk is not None
            seen += [t.trade_id for t in chunk.batch.trades]
            spool.drop(chunk)
    seen += [t.trade_id for b in drained(spool) for t in b.trades]
    assert seen == [n * 10 for n in range(30)]


def test_a_process_that_died_leaves_all_it_appended_and_the_next_goes_on_where_it_drained(tmp_path):
    spool = opened(tmp_path, segment_bytes=700)
    written = [batch(n * 10) for n in range(12)]
    spool.append(written[:6])
    spool.append(written[6:])
    done = spool.read(1)
    assert done is not None
    later = opened(tmp_path, done.drained)
    assert later.trades == 33
    later.append([batch(500)])
    assert drained(later) == [*written[1:], batch(500)]


def test_cut_at_any_byte_the_whole_records_are_kept_and_the_torn_one_is_left_out(tmp_path):
    folder = tmp_path / "whole"
    spool = opened(folder)
    ends = []
    for n in range(3):
        spool.append([batch(n * 10)])
        ends.append(spool.bytes + START)
    data = next(folder.iterdir()).read_bytes()
    for length in range(0, len(data), 7):
        cut = tmp_path / f"cut{length}"
        cut.mkdir()
        (cut / "000000000001.spool").write_bytes(data[:length])
        torn = Spool(cut, reserve_bytes=0)
        found = torn.recover(None)
        whole = sum(end <= length for end in ends)
        assert found.trades == whole * 3
        assert found.damaged == 0
        assert found.torn == (length not in {START, *ends})
        torn.append([batch(900)])
        assert drained(torn) == [batch(n * 10) for n in range(whole)] + [batch(900)]


def test_a_damaged_record_in_the_middle_is_counted_and_passed_over(tmp_path):
    spool = opened(tmp_path)
    spool.append([batch(0)])
    middle = START + spool.bytes + 30
    spool.append([batch(10)])
    spool.append([batch(20)])
    path = next(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[middle] ^= 0xFF
    path.write_bytes(data)
    later = Spool(tmp_path, reserve_bytes=0)
    found = later.recover(None)
    assert (found.damaged, found.torn, found.trades) == (1, 0, 6)
    assert drained(later) == [batch(0), batch(20)]


def test_without_the_reserve_nothing_is_written(tmp_path):
    spool = opened(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(OSError, match="would be left free") as caught:
        spool.append([batch(0)])
    assert caught.value.errno == errno.ENOSPC
    assert (spool.waiting, list(tmp_path.iterdir())) == (False, [])


def test_a_write_that_fails_half_way_leaves_what_was_there_before(tmp_path):
    spool = opened(tmp_path)
    spool.append([batch(0)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.bytes + START + 100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.append([batch(10)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.append([batch(20)])
    assert drained(spool) == [batch(0), batch(20)]
