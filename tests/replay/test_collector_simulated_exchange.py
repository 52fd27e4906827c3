"""The collector against the simulated exchange over real sockets, a minute of its time a second."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import Settings
from core.timeframes import Timeframe
from live.collector.collector import Collector
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.connect import make_feed, make_rest
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.resume import exact_candles
from tests.sql_candles import candles_by_sql

pytestmark = pytest.mark.servers

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
FRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)
FAULTS = {"seed": 3, "duplicate": 0.05, "reorder": 0.05, "gap": 0.05, "garbage": 0.02, "http_429": 0.05}
# ccxt keeps to half of what OKX allows: fewer holes, or refilling takes longer than the test.
CCXT_FAULTS = {**FAULTS, "gap": 0.005, "disconnect": {"every_s": 4}}


@pytest.mark.parametrize(
    ("exchange", "faults"),
    [("sim", {}), ("sim", FAULTS), ("ccxt:okx", CCXT_FAULTS)],
    ids=["quiet", "faulty", "ccxt-faulty"],
)
async def test_candles_equal_the_exchanges_own_and_the_stored_trades(
    database_url: str, redis_url: str, tmp_path: Path, exchange: str, faults: dict
):
    """By either adapter, whatever the line does, once no minute is provisional."""
    sim = await serve(SimOptions(speed=60, seed=11, faults=faults, state_file=tmp_path / "clock"))
    settings = Settings(exchange=exchange, okx_rest_url=sim.rest_url, okx_ws_url=sim.ws_url)
    rest, bus, engine = make_rest(settings), RedisBus(redis_url), engine_of(database_url)
    collector = Collector(
        SYMBOLS,
        FRAMES,
        rest,
        make_feed(settings),
        engine,
        bus,
        ExchangeClock(),
        SystemClock(),
        history_days=0,
        on_event=lambda level, event, message: None,
    )
    running = asyncio.create_task(collector.run())
    try:
        async with asyncio.timeout(90):
            while await asyncio.to_thread(own_minutes, database_url) < 11:
                assert not running.done(), running.result()
                await asyncio.sleep(0.1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    try:
        for symbol in SYMBOLS:
            for timeframe in FRAMES:
                with engine.connect() as connection:
                    stored = exact_candles(connection, symbol, timeframe, 0, 2**42)
                own = [candle for candle in stored if candle.source != "exchange"]
                theirs = await rest.candles(symbol, timeframe, stored[0].open_ms, stored[-1].close_ms)
                assert [numbers(c) for c in stored] == [numbers(c) for c in theirs]
                by_sql = candles_by_sql(database_url, symbol, timeframe)
                traded = [c for c in own if c.source == "trades"]
                assert traded or timeframe is not Timeframe.M1
                assert [(*numbers(c), c.trades_count) for c in traded] == [by_sql[c.close_ms] for c in traded]
            assert read_candles(engine, symbol, "1m")["timestamp"].diff().drop_nulls().n_unique() == 1
    finally:
        await rest.close()
        await bus.close()
        await sim.close()


def numbers(candle) -> tuple:
    return candle.close_ms, candle.open, candle.high, candle.low, candle.close, candle.volume


def own_minutes(database_url: str) -> int:
    """Of the symbol with the fewest; none while one of them waits for trades."""
    query = text(
        "SELECT CASE WHEN bool_or(provisional) THEN 0 ELSE count(*) END FROM market_data "
        "WHERE timeframe = '1m' AND source <> 'exchange' GROUP BY symbol"
    )
    with engine_of(database_url).connect() as connection:
        counts = list(connection.execute(query).scalars())
    return min(counts) if len(counts) == len(SYMBOLS) else 0
