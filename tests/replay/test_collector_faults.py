"""The collector comes through each fault of the simulated exchange: what is stored is what was emitted."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from core.timeframes import Timeframe
from live.collector.collector import Collector
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.connect import make_feed, make_rest
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.database import engine as engine_of
from tests.emitted import Emitted

pytestmark = pytest.mark.servers

MIDNIGHT = 1_772_409_600_000  # 2026-03-02
MINUTE = 60_000
SYMBOLS = ("ETH-USDT", "XRP-USDT", "LTC-USDT")
FRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)
SEED, ACTIVITY, SPEED = 17, 1.5, 180
START_MS, END_MS = MIDNIGHT + 13 * MINUTE, MIDNIGHT + 31 * MINUTE + 20_000
PATIENCE_S = 90
"""A busy machine stores the last of it long after it was emitted."""
WHOLE = {"at_s": 420, "for_s": 360}
FAULTS: dict[str, dict[str, Any]] = {
    "disconnect": {"disconnect": {"every_s": 1}},
    "silence": {"silence": {"every_s": 1, "for_s": 0.5}},
    "half open": {"script": [{"at_s": 120, "fault": "half_open"}]},
    "notice": {"notice": {"every_s": 0.8, "for_s": 0.3}},
    "duplicate": {"duplicate": 0.5},
    "reorder": {"reorder": 0.3},
    "gap": {"gap": 0.1},
    "garbage": {"garbage": 0.3},
    "unpushed": {"unpushed": 0.05},
    "late": {"late": {"share": 0.02, "by_s": 0.8}},
    "late, longer than a candle waits": {"late": {"share": 0.004, "by_s": 4.5}},
    "rest lag": {"rest_lag_s": 1, "gap": 0.05},
    "late candle": {"late_candle": {"share": 0.5, "by_s": 1}},
    "revised candle": {"revised_candle": {"share": 0.5, "by_s": 1.5}},
    "clock ahead": {"clock": {"ahead_s": 0.5, "drift_s": 0.4, "every_s": 3}},
    "clock behind": {"clock": {"ahead_s": -0.5, "drift_s": 0.4, "every_s": 3}},
    "429": {"http_429": 0.3, "gap": 0.05},
    "500 for a while": {"gap": 0.05, "script": [{**WHOLE, "fault": "http_500"}]},
    "silence of all": {"script": [{**WHOLE, "fault": "silence"}]},
    "disconnect of all": {"script": [{"at_s": 120, "fault": "disconnect"}]},
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=list(FAULTS))
async def test_what_is_stored_is_what_was_emitted(
    database_url: str, redis_url: str, faults: dict[str, Any]
) -> None:
    """Over one socket, and every candle, count and id of a quarter of an hour is right in the end."""
    engine = engine_of(database_url)
    emitted = Emitted(engine, SEED, ACTIVITY, SYMBOLS, START_MS, END_MS)
    await asyncio.to_thread(emitted.load)
    options = SimOptions(
        seed=SEED,
        activity=ACTIVITY,
        speed=SPEED,
        start_ms=START_MS,
        end_ms=END_MS,
        faults={"seed": 5, **faults},
    )
    sim = await serve(options)
    settings = Settings(okx_rest_url=sim.rest_url, okx_ws_url=sim.ws_url, okx_sockets=1)
    rest, bus = make_rest(settings), RedisBus(redis_url)
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
    found: list[str] = ["nothing yet"]
    compared: dict[str, int] = {}
    try:
        async with asyncio.timeout(PATIENCE_S):
            while found or sim.now_ms() < END_MS:
                assert not running.done(), running.result()
                await asyncio.sleep(0.2)
                begun = await asyncio.to_thread(emitted.note_begin) == len(SYMBOLS)
                # The comparison reads all there is: it is made when all of that was emitted.
                if not begun or sim.now_ms() < END_MS:
                    continue
                found, compared = await asyncio.to_thread(emitted.faults, own_only=True)
    except TimeoutError:
        pytest.fail("\n".join(found[:20]))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await rest.close()
        await bus.close()
        await sim.close()
    assert compared["1m"] >= 3 * 9 and compared["trades"] > 300
