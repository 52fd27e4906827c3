"""Recorded files through the simulated exchange: served as they were."""

import gzip
from decimal import Decimal
from pathlib import Path

import aiohttp
import polars as pl
import pytest

from core.errors import BadInput
from pipelines.exchanges.sim.bars import BARS
from pipelines.exchanges.sim.days import Candles
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.recorded import RecordedMarket
from pipelines.exchanges.sim.server import serve

MINUTE_MS = 60_000
EXACT = pl.Decimal(38, 12)

TRADES_CSV = """instrument_name,trade_id,side,price,size,created_time
BTC-USDT,11,buy,100.5,1.912e-05,1748707200531
BTC-USDT,13,sell,100.4,0.5,1748707260000
BTC-USDT,12,sell,100.45,2,1748707200531
BTC-USDT,13,sell,100.4,0.5,1748707260000
"""
CANDLES_CSV = """timestamp,open,high,low,close,volume
2026-01-01T00:01:00Z,10,12.5,9.75,11,3
2026-01-01T00:02:00Z,11,11,8,9,0.000001
2026-01-01T00:03:00Z,9,9,9,9,0
2026-01-01T00:04:00Z,9,9.5,9,9.5,1
"""


def all_candles(market: RecordedMarket, symbol: str) -> Candles:
    now = market.end_ms()
    history, bar = History(market), BARS["1m"]
    return history.candles(symbol, bar, history.page_opens(symbol, bar, now, 10_000), now)


def texts(market: RecordedMarket, symbol: str, candles: Candles) -> list[tuple[int, ...]]:
    """open_ms, open, high, low, close, volume of each candle, as exact decimals."""
    spec = market.specs[symbol]
    prices = [[Decimal(spec.price_text(v)) for v in c.tolist()] for c in candles.columns()[1:5]]
    volume = [Decimal(spec.size_text(v)) for v in candles.volume.tolist()]
    return list(zip(candles.open_ms.tolist(), *prices, volume, strict=True))


def test_trades_are_mapped_by_column_name_sorted_by_id_and_taken_once(tmp_path: Path):
    """OKX's bulk layout, in disorder and with a repeated row and scientific notation, is read exactly."""
    path = tmp_path / "trades.csv.gz"
    path.write_bytes(gzip.compress(TRADES_CSV.encode()))
    market = RecordedMarket((str(path),))
    trades = History(market).newest_trades("BTC-USDT", market.end_ms(), 10)
    spec = market.specs["BTC-USDT"]
    assert trades.ids.tolist() == [11, 12, 13]
    assert [spec.size_text(v) for v in trades.size.tolist()] == ["0.00001912", "2", "0.5"]
    assert [spec.price_text(v) for v in trades.price.tolist()] == ["100.5", "100.45", "100.4"]
    assert trades.buy.tolist() == [True, False, False]
    assert market.natural_start_ms() == 1748707200530


@pytest.mark.parametrize(("labels", "first"), [("close", "2026-01-01T00:00"), ("open", "2026-01-01T00:01")])
def test_trades_made_of_candles_are_exactly_these_candles(tmp_path: Path, labels, first):
    """Each row comes back, whichever of its ends the file's time is, empty and tiny volumes included."""
    path = tmp_path / "ethusdt_1m.csv"
    path.write_text(CANDLES_CSV)
    market = RecordedMarket((str(path),), labels)
    rows = texts(market, "ETH-USDT", all_candles(market, "ETH-USDT"))
    start = pl.Series([first]).str.to_datetime(time_zone="UTC").dt.epoch("ms")[0]
    lines = [line.split(",") for line in CANDLES_CSV.splitlines()[1:]]
    expected = [(start + place * MINUTE_MS, *map(Decimal, line[1:])) for place, line in enumerate(lines)]
    assert rows[:4] == expected
    assert market.day("ETH-USDT", start // 86_400_000).ids.tolist() == list(range(1, 13))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "no such file"),
        ("BTC-USDT.csv", "a,b\n1,2\n", "neither"),
        ("BTC-USDT.csv", "timestamp,price,size\n", "no rows"),
        ("prices.csv", "timestamp,price,size\n1748707200531,1,1\n", "SYMBOL=PATH"),
        ("BTC-USDT.csv", "timestamp,price,size\n1748707200531,-1,1\n", "row 1: price is not above 0"),
        ("BTC-USDT.csv", "timestamp,price,size\n1748707200531,x,1\n", "no number"),
        ("BTC-USDT.csv", "timestamp,price,size\nyesterday,1,1\n", "timestamps"),
        ("BTC-USDT.parquet", "not parquet", "not a Parquet or CSV file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, name, text, message):
    """One line with the file and what is wrong with it."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=message) as refused:
        RecordedMarket((str(path),))
    assert name in str(refused.value)


@pytest.mark.real_data
@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETH-USDT"])
async def test_candles_served_from_a_recording_equal_its_aggregation(shared_data: Path, symbol):
    """11 minutes of Binance trades over midnight: every minute's row equals a group-by over the file."""
    path = shared_data / "trades" / f"binance_{symbol}_2024-08-08T2354_11min.parquet"
    recorded = pl.read_parquet(path).select(
        "trade_id",
        (pl.col("timestamp_ms") // MINUTE_MS * MINUTE_MS).alias("open_ms"),
        pl.col("price").cast(EXACT),
        pl.col("size").cast(EXACT),
    )
    expected = {
        row[0]: row[1:]
        for row in recorded.sort("trade_id")
        .group_by("open_ms")
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
        )
        .rows()
    }
    end_ms = max(expected) + MINUTE_MS
    running = await serve(SimOptions(source=(str(path),), start_ms=end_ms, speed=0.000_001))
    url = f"{running.rest_url}/api/v5/market/history-candles?instId={symbol}&limit=300"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        rows = (await answer.json())["data"]
    await running.close()
    closed = {int(row[0]): tuple(map(Decimal, row[1:6])) for row in rows if row[8] == "1"}
    assert closed == expected and len(closed) >= 11


@pytest.mark.real_data
def test_recorded_trades_keep_their_ids(shared_data: Path):
    """The ids of the recording are served, all of them, in order."""
    path = shared_data / "trades" / "binance_BTC-USDT_2024-08-08T2354_11min.parquet"
    market = RecordedMarket((str(path),))
    trades = History(market).newest_trades("BTC-USDT", market.end_ms(), 100_000)
    assert trades.ids.tolist() == pl.read_parquet(path)["trade_id"].to_list()
    assert market.day_of_id("BTC-USDT", int(trades.ids[0])) == int(trades.ts[0]) // 86_400_000


@pytest.mark.real_data
def test_recorded_candles_come_back_unchanged(shared_data: Path):
    """3,000 minutes of BTC and ETH candles through synthesised trades are the file's rows."""
    paths = tuple(str(shared_data / "candles" / f"{name}_1m.csv") for name in ("btcusdt", "ethusdt"))
    market = RecordedMarket(paths, "open")
    for path, symbol in zip(paths, ("BTC-USDT", "ETH-USDT"), strict=True):
        file = pl.read_csv(path, infer_schema=False)
        expected = [(int(row[0]), *map(Decimal, row[1:6])) for row in file.rows()]
        assert texts(market, symbol, all_candles(market, symbol))[: len(expected)] == expected


@pytest.mark.real_data
async def test_a_recording_is_replayed_whole_over_the_websocket(shared_data: Path):
    """At speed max a subscriber gets every recorded trade, from the first to the last; then time stops."""
    path = shared_data / "trades" / "binance_ETH-USDT_2024-08-08T2354_11min.parquet"
    recorded = pl.read_parquet(path)
    running = await serve(SimOptions(source=(str(path),), speed="max"))
    rows: list[dict[str, str]] = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{running.ws_url}/public") as socket,
    ):
        arg = {"channel": "trades", "instId": "ETH-USDT"}
        await socket.send_json({"op": "subscribe", "args": [arg]})
        last = str(recorded["trade_id"].max())
        while not rows or rows[-1]["tradeId"] != last:
            rows += (await socket.receive_json(timeout=10)).get("data", [])
    assert sum(int(row["count"]) for row in rows) == len(recorded)
    assert sum(Decimal(row["sz"]) for row in rows) == recorded["size"].cast(EXACT).sum()
    assert int(rows[0]["tradeId"]) - int(rows[0]["count"]) + 1 == recorded["trade_id"].min()
    assert running.now_ms() <= recorded["timestamp_ms"].max() + 2 * MINUTE_MS
    await running.close()
