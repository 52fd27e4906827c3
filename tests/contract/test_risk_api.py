"""The risk gate over HTTP, and in bots that run."""

import json
import time
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.exposure import PortfolioLimits
from core.risk import RiskState
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exposure import store_limits
from pipelines.warehouse.health import beat
from pipelines.warehouse.kill_switch import switch
from tests import bot_bench as bench
from tests.dashboard_seed import seed
from tests.dashboard_server import running

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
_VETO = text("""
    INSERT INTO orders (id, bot_id, timestamp, side, order_type, quantity, status, reason)
    VALUES ('veto', :bot, now(), 'buy', 'market', 1, 'rejected', 'cooldown')
""")
_HALTED = RiskState(0, Decimal(1), Decimal(1), Decimal(1), halted="daily loss")
_HALT = text("UPDATE positions SET risk = CAST(:risk AS jsonb) WHERE bot_id = :bot")
HISTORY, LIVE = 100, 70


def test_limits_halts_switches_and_vetoes_over_http(database_url, redis_url, unused_port, tmp_path):
    """Limits are put in force and written as a file, wrong ones change nothing; the switch of a bot is told
    and turned; orders and the standing of a bot are read; unknown bots are 404."""
    with running(database_url, redis_url, unused_port, tmp_path) as api:
        seed(api.database, NOW_MS, minutes=150)
        assert api.put("/api/risk", {"max_open_positions": 3}).json == {"max_open_positions": 3}
        assert json.loads((tmp_path / "risk.json").read_text()) == {"max_open_positions": 3}
        wrong = api.put("/api/risk", {"max_open_positions": 0})
        assert (wrong.status, "max_open_positions" in wrong.json["detail"]) == (422, True)
        told = api.get("/api/risk").json
        assert told["limits"] == {"max_open_positions": 3}
        assert told["portfolios"][0]["quote"] == "USDT"

        turned = api.post("/api/kill-switch", {"on": True, "bot_id": "bot_002"})
        assert (turned.status, turned.json["bot_id"]) == (200, "bot_002")
        assert api.get("/api/kill-switch").json == {"on": False, "bots": ["bot_002"]}
        assert api.get("/api/bot/bot_002/risk").json["kill_switch"] is True
        switches = {one["bot_id"]: one["kill_switch"] for one in api.get("/api/bots").json["items"]}
        assert switches.pop("bot_002") and not any(switches.values())
        assert api.post("/api/kill-switch", {"on": False, "flatten": True}).status == 422
        assert api.post("/api/kill-switch", {"on": True, "bot_id": "nobody"}).status == 404

        with engine_of(database_url).begin() as connection:
            bot = {"bot": find_bot(engine_of(database_url), "bot_002").id}
            connection.execute(_VETO, bot)
            connection.execute(_HALT, bot | {"risk": msgspec.json.encode(_HALTED).decode()})
        told = api.get("/api/bot/bot_002").json
        assert (told["halted"], told["last_veto"]["reason"]) == ("daily loss", "cooldown")
        assert [
            one["reason"] for one in api.get("/api/bot/bot_002/orders?status=rejected").json["items"]
        ] == ["cooldown"]
        assert api.get("/api/bot/nobody/orders").status == 404
        assert api.post("/api/bot/bot_002/risk/reset", {}).json == {"was_halted": "daily loss"}
        assert api.get("/api/bot/bot_002").json["halted"] is None
        assert api.post("/api/risk/reset", {}).json["was_halted"] == []


async def test_running_bots_share_the_room_and_are_sold_by_the_switch(database_url, redis_url, tmp_path):
    """Two running twins may hold one position together: one buys, the other is vetoed at every signal. The
    switch sells within two seconds, nothing is traded while it is on, every candle is judged once all the
    same, and after it is off trading goes on."""
    engine, bus = engine_of(database_url), RedisBus(redis_url)
    candles = bench.walk(HISTORY + LIVE)
    names = ("alpha", "beta")
    for name in names:
        bench.add_bot(engine, name)
    bench.store(engine, candles[:HISTORY])
    beat(engine, "live", 0, candles[HISTORY - 1].close_ms + 1, {})
    store_limits(engine, PortfolioLimits(max_open_positions=1))
    runners = [bench.start_runner(name, database_url, redis_url, tmp_path / name) for name in names]

    async def judged(n: int) -> None:
        for name in names:
            at_ms = candles[n].close_ms
            await bench.until(lambda at=at_ms, name=name: bench.last_candle_ms(engine, name) == at, "judged")

    async def go(first: int, last: int) -> None:
        for n in range(first, last):
            bench.store(engine, [candles[n]])
            await bench.publish(bus, candles[n], candles[n + 1] if n + 1 < last else None)
            await judged(n)
            held = [find_bot(engine, name).quantity > Decimal("0.00001") for name in names]
            assert sum(held) <= 1

    try:
        await judged(HISTORY - 1)
        n = HISTORY
        while not any(find_bot(engine, name).quantity > Decimal("0.00001") for name in names):
            await go(n, n + 2)
            n += 2
        begin = time.monotonic()
        done = switch(engine, True, "test", flatten=True)
        assert len(done.sold) == 1 and time.monotonic() - begin < 2
        trades = bench.scalar(engine, "SELECT count(*) FROM trades")
        await go(n, n + 40)
        assert bench.scalar(engine, "SELECT count(*) FROM trades") == trades
        switch(engine, False, "test")
        await go(n + 40, HISTORY + LIVE)
        assert bench.scalar(engine, "SELECT count(*) FROM trades") > trades
        for name in names:
            rows = bench.history(engine, name)
            assert len({row[0] for row in rows["signals"]}) == len(rows["signals"]) == LIVE + 1
        vetoes = "SELECT array_agg(DISTINCT left(reason, 14)) FROM orders WHERE status = 'rejected'"
        assert sorted(bench.scalar(engine, vetoes)) == ["over all bots:", "the kill switc"]
    finally:
        for runner in runners:
            runner.kill()
            runner.wait()
        await bus.close()
        engine.dispose()
