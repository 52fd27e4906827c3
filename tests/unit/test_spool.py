"""Batches on disk: what `append` returned from is there, in order, once, whatever end the process had."""

import errno
import resource
from decimal import Decimal
from pathlib import Path

import pytest

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.batch import Batch, GapRecord, Lost, Position
from live.collector.segments import START
from live.collector.spool import Recovered, Spool

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
        assert found.damaged == []
        assert found.torn == (length not in {START, *ends})
        torn.append([batch(900)])
        assert drained(torn) == [batch(n * 10) for n in range(whole)] + [batch(900)]


def damaged(folder: Path, at: int, data: bytes) -> tuple[Spool, Recovered]:
    """Three records of one trade each, 5, 15 and 25, with `data` written over byte `at` of the second."""
    spool = opened(folder)
    spool.append([batch(4, 1)])
    middle = START + spool.bytes
    spool.append([batch(14, 1)])
    spool.append([batch(24, 1)])
    path = next(folder.glob("*.spool"))
    content = bytearray(path.read_bytes())
    content[middle + at : middle + at + len(data)] = data
    path.write_bytes(content)
    later = Spool(folder, reserve_bytes=0)
    return later, later.recover(None)


def test_a_damaged_payload_is_kept_aside_its_ids_are_told_and_the_rest_is_drained(tmp_path):
    spool, found = damaged(tmp_path, 60, b"\xff\xff\xff")
    assert (found.torn, found.trades) == (0, 2)
    assert found.lost == [Lost("BTC-USDT", 13, 14)]
    assert drained(spool) == [batch(4, 1), batch(24, 1)]
    (kept,) = found.damaged
    assert b"\xff\xff\xff" in Path(kept).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


@pytest.mark.parametrize("at", [0, 4, 8, 12, 25], ids=["marker", "length", "checksum", "payload", "contents"])
def test_after_a_damaged_header_the_next_record_is_found_and_the_ids_between_are_told(tmp_path, at):
    """A damaged length must not take all that follows for an unfinished end."""
    spool, found = damaged(tmp_path, at, b"\xfe\xfe\xfe\xfe")
    assert len(found.damaged) == 1
    assert found.lost == [Lost("BTC-USDT", 5, 24)]
    assert drained(spool) == [batch(4, 1), batch(24, 1)]


def test_a_damaged_file_head_costs_no_record(tmp_path):
    spool = opened(tmp_path)
    spool.append([batch(0), batch(10)])
    path = next(tmp_path.glob("*.spool"))
    path.write_bytes(b"?" * START + path.read_bytes()[START:])
    assert drained(opened(tmp_path)) == [batch(0), batch(10)]


def test_damage_that_appears_while_the_process_runs_is_told_with_the_chunk(tmp_path):
    spool = opened(tmp_path)
    spool.append([batch(0)])
    middle = START + spool.bytes + 60
    spool.append([batch(10)])
    spool.append([batch(20)])
    path = next(tmp_path.glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[middle : middle + 3] = b"\xff\xff\xff"
    path.write_bytes(data)
    chunk = spool.read(100)
    assert chunk is not None
    assert [t.trade_id for t in chunk.batch.trades] == [0, 1, 2, 20, 21, 22]
    assert chunk.lost == [Lost("BTC-USDT", 9, 12)]
    assert len(chunk.damaged) == 1
    spool.drop(chunk)
    assert (spool.waiting, spool.trades) == (False, 0)


def test_a_file_that_is_gone_is_told_and_the_next_one_is_drained(tmp_path):
    spool = opened(tmp_path, segment_bytes=100)
    spool.append([batch(0)])
    spool.append([batch(10)])
    spool.append([batch(20)])
    first = spool.read(1)
    assert first is not None
    spool.drop(first)
    sorted(tmp_path.glob("*.spool"))[0].unlink()
    chunk = spool.read(1)
    assert chunk is not None
    assert "No such file" in chunk.damaged[0]
    spool.drop(chunk)
    after = spool.read(1)
    assert after is not None
    assert after.batch == batch(20)
    assert after.lost == [Lost("BTC-USDT", 3, 22)]


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
