"""What the disk damages and what PostgreSQL refuses: told, asked for again, and holding up nobody."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import BadInput
from core.trades import Side, Trade
from live.collector.batch import Batch, Lost
from live.collector.lost import Reasker
from live.collector.segments import START
from live.collector.spool import Spool
from pipelines.clock import ExchangeClock
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import record_gap
from tests.proxy import Proxy
from tests.waiting import until
from tests.writing import NOON, Told, candle, gap_rows, put, stored, trade, writing

pytestmark = pytest.mark.servers


class Exchange:
    """What the exchange has of BTC-USDT, by id; the rest of the port is not called."""

    consecutive_ids = True

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.asked: list[tuple[int, int]] = []

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        if symbol != "BTC-USDT":
            raise BadInput("symbol", f"{symbol!r} is not listed by the exchange")
        self.asked.append((first_id, last_id))
        return [trade(n) for n in range(first_id, min(last_id, self.last_id) + 1)]


def spoil(folder: Path, at: int) -> None:
    """Damage the file in the middle, as a bad disk does."""
    (path,) = folder.glob("*.spool")
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)


async def test_what_an_earlier_process_left_damaged_is_open_in_the_ledger_before_the_rest_is_drained(
    database_url, tmp_path
):
    async with writing(database_url, None, Told()) as writer:
        put(writer, 1, 100)
    spool, ends = Spool(tmp_path, reserve_bytes=0), []
    for first in (101, 201, 301):
        spool.append([Batch([trade(n) for n in range(first, first + 100)], [candle(first + 99)], [])])
        ends.append(spool.bytes + START)
    spoil(tmp_path, ends[0] + 4)  # the length in the header of the second record
    told = Told()
    async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
        await writer.recovered.wait()
    assert stored(database_url)[0] == [*range(1, 201), *range(301, 401)]
    assert gap_rows(database_url) == [(201, 400, "open")]
    message = dict(told.events)["spool_damaged"]
    assert "BTC-USDT 201-400" in message
    assert str(next((tmp_path / "damaged").iterdir())) in message


async def test_what_the_disk_damages_while_we_run_is_asked_for_again(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    exchange, clock = Exchange(400), ExchangeClock()
    clock.sample(NOON)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        put(writer, 1, 100)
        await until(lambda: writer.written_trades == 100)
        asking = asyncio.create_task(Reasker(exchange, engine_of(proxy.url), clock, writer).run())
        await proxy.cut()
        for first in (101, 201, 301):
            put(writer, first, 100)
            await until(lambda: writer.is_away)
            assert await writer.save()
        spoil(tmp_path, spool.bytes // 2)
        await proxy.restore()
        await until(lambda: stored(database_url)[0] == list(range(1, 401)))
        await until(lambda: [row[2] for row in gap_rows(database_url)] == ["refilled"])
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert exchange.asked == [(201, 300)]
    assert told.names().count("spool_damaged") == 1


async def test_lost_trades_of_a_symbol_no_longer_listed_stay_open_and_hold_up_no_other(database_url):
    exchange, clock = Exchange(10), ExchangeClock()
    clock.sample(NOON)
    async with writing(database_url, None, Told()) as writer:
        with engine_of(database_url).begin() as connection:
            record_gap(connection, "GONE-USDT", 11, 15, "open", NOON, "start", "lost on disk")
        writer.lost.put_nowait(Lost("GONE-USDT", 11, 15))
        writer.lost.put_nowait(Lost("BTC-USDT", 1, 5))
        asking = asyncio.create_task(Reasker(exchange, engine_of(database_url), clock, writer).run())
        await until(lambda: gap_rows(database_url) == [(1, 5, "refilled"), (11, 15, "open")])
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert stored(database_url)[0] == [1, 2, 3, 4, 5]


async def test_a_row_that_postgres_refuses_is_set_aside_and_holds_up_nobody(database_url, tmp_path):
    told = Told()
    async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
        impossible = Trade("BTC-USDT", 50, NOON, Decimal(10) ** 30, Decimal(1), Side.BUY)
        writer.put(trades=[*map(trade, range(1, 50)), impossible, *map(trade, range(51, 101))])
        writer.put(candles=[candle(100)])
        put(writer, 101, 100)
        await until(lambda: stored(database_url)[0] == [*range(1, 50), *range(51, 201)])
        await until(lambda: writer.pending_trades == 0)
    assert [n for n, _ in stored(database_url)[1]] == [100, 200]
    assert gap_rows(database_url) == [(50, 50, "unfillable")]
    assert told.names() == ["rows_refused"]
    assert json.loads((tmp_path / "damaged" / "refused.jsonl").read_text())["trade_id"] == 50
