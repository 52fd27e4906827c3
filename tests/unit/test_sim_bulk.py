"""The simulated exchange's bulk files: their days, layouts, availability and list."""

import csv
import io
import zipfile
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from pipelines.exchanges.sim.bulk import BulkFiles, size_text
from pipelines.exchanges.sim.clock import VirtualClock
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.options import BulkLayout, SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z, 22:13:20 at UTC+8
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
DAY = START_MS // DAY_MS
CDN = "/cdn/okex/traderecords/trades/daily"
HISTORY = History(MarketModel(1))


def unpacked(packed: bytes | None) -> tuple[str, bytes]:
    assert packed is not None
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (name,) = archive.namelist()
        return name, archive.read(name)


def table(
    layout: BulkLayout, unsorted: bool = False, encoding: str = "utf-8"
) -> tuple[list[str], list[list[str]]]:
    files = BulkFiles(HISTORY, VirtualClock(START_MS, "max"), layout, unsorted)
    _, text = unpacked(files.read(f"{CDN}/20260919/ETC-USDT-trades-2026-09-19.zip"))
    header, *rows = csv.reader(io.StringIO(text.decode(encoding)))
    return header, rows


def test_a_file_holds_the_trades_of_a_day_at_utc_plus_8():
    """From 16:00 UTC of the day before to 16:00 UTC, every trade once, exact sizes and prices."""
    header, rows = table("current")
    assert header == ["instrument_name", "trade_id", "side", "price", "size", "created_time"]
    start = (DAY - 2) * DAY_MS - 8 * HOUR_MS
    spec, expected = HISTORY.specs["ETC-USDT"], []
    for day in (DAY - 3, DAY - 2):
        trades = HISTORY.day("ETC-USDT", day)
        for place in range(len(trades)):
            if start <= trades.ts[place] < start + DAY_MS:
                size = Decimal(spec.size_text(int(trades.size[place])))
                expected.append((int(trades.ids[place]), int(trades.ts[place]), size))
    assert [(int(row[1]), int(row[5]), Decimal(row[4])) for row in rows] == expected
    assert {row[0] for row in rows} == {"ETC-USDT"} and {row[2] for row in rows} == {"buy", "sell"}


def test_the_other_layouts_hold_the_same_trades():
    """The old one has a GBK header and size before price, the newest one a source."""
    _, current = table("current")
    header, old = table("old", encoding="gbk")
    assert header == ["trade_id/撮合id", "side/交易方向", "size/数量", "price/价格", "created_time/成交时间"]
    assert [[row[1], row[2], row[4], row[3], row[5]] for row in current] == old
    header, newest = table("newest")
    assert header[-1] == "source" and [[*row, "0"] for row in current] == newest
    _, shuffled = table("current", unsorted=True)
    assert shuffled != current and sorted(shuffled) == sorted(current)


@pytest.mark.parametrize(
    ("lots", "text"),
    [(1912, "1.912e-05"), (1, "1e-08"), (10_000, "0.0001"), (9_990, "9.99e-05"), (10**8, "1")],
)
def test_small_sizes_have_an_exponent(lots, text):
    """As Python writes them, and exact."""
    assert size_text(lots, 8) == text and Decimal(text) == Decimal(lots) / 10**8


@pytest.mark.parametrize(
    "path",
    [
        "20260920/BTC-USDT-trades-2026-09-20.zip",
        "20260919/BTC-USDT-trades-2026-09-18.zip",
        "20260919/NO-SUCH-trades-2026-09-19.zip",
        "20171231/BTC-USDT-trades-2017-12-31.zip",
        "20261399/BTC-USDT-trades-2026-13-99.zip",
        "../../sim.json",
    ],
)
def test_what_is_not_there_yet_or_never_will_be_is_missing(path):
    """Two days after a day began its file appears, to the millisecond."""
    clock = VirtualClock(DAY * DAY_MS + 16 * HOUR_MS - 1, "max")
    files = BulkFiles(HISTORY, clock, "current", False)
    assert files.read(f"{CDN}/{path}") is None
    if path.startswith("20260920"):
        clock.advance_to(DAY * DAY_MS + 16 * HOUR_MS)
        name, _ = unpacked(files.read(f"{CDN}/{path}"))
        assert name == "BTC-USDT-trades-2026-09-20.csv"


@pytest.fixture
async def running() -> AsyncIterator[RunningSim]:
    """An exchange whose clock stands."""
    started = await serve(SimOptions(start_ms=START_MS, speed=0.000_001, rate_limit=0))
    yield started
    await started.close()


async def test_listed_files_can_be_fetched_and_others_are_404(running):
    """The list is newest first and ends two days ago; its links work."""
    query = {"module": "1", "instType": "SPOT", "instIdList": "ETC-USDT,LTC-USDT", "dateAggrType": "daily"}
    times = {"begin": str(START_MS - 5 * DAY_MS), "end": str(START_MS)}
    async with aiohttp.ClientSession() as session:

        async def ask(**more: str) -> Any:
            url = f"{running.rest_url}/api/v5/public/market-data-history"
            async with session.get(url, params=query | times | more) as answer:
                return await answer.json()

        (row,) = (await ask())["data"]
        assert [group["instId"] for group in row["details"]] == ["ETC-USDT", "LTC-USDT"]
        links = row["details"][0]["groupDetails"]
        names = [f"ETC-USDT-trades-2026-09-{day}.zip" for day in (19, 18, 17, 16)]
        assert [link["filename"] for link in links] == names
        assert int(links[0]["dateTs"]) == (DAY - 2) * DAY_MS - 8 * HOUR_MS
        async with session.get(links[0]["url"]) as answer:
            assert answer.status == 200
            name, _ = unpacked(await answer.read())
            assert name == "ETC-USDT-trades-2026-09-19.csv"
        async with session.get(links[0]["url"].replace("19.zip", "21.zip")) as answer:
            assert answer.status == 404
        assert (await ask(begin=str(START_MS - 20 * DAY_MS)))["code"] == "51000"
        assert (await ask(module="9"))["code"] == "51000"
