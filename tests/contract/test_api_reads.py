"""The REST API's answers on a real PostgreSQL and a real Redis."""

import asyncio
import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
import sqlalchemy as sa

from core.trades import Side, Trade
from dashboards.api import data_models, models
from dashboards.queries import system
from pipelines.bus.books import document, publish_book
from pipelines.bus.redis import RedisBus
from pipelines.warehouse import tables
from pipelines.warehouse.health import beat
from pipelines.warehouse.quality import QualityRow, record_quality
from pipelines.warehouse.trades import copy_trades
from tests.dashboard_seed import seed
from tests.dashboard_server import running, until
from tests.research_seed import BACKTEST, SWEEP, WALK, fill_research

pytestmark = pytest.mark.servers
OTHER_HOLE = {"exchange": "kraken", "first_id": 1, "last_id": 1}
NOW_MS = 1_790_000_000_000
MISTAKES = (
    ("/api/bot/nobody", 404, "nobody"),
    ("/api/bot/nobody/trades", 404, "nobody"),
    ("/api/bot/bot_001/trades?limit=0", 422, "limit"),
    ("/api/bot/bot_001/trades?cursor=zz", 422, "cursor"),
    ("/api/bot/bot_001/signals?type=maybe", 422, "type"),
    ("/api/market/XXX-USDT/history", 404, "XXX-USDT"),
    ("/api/market/XXX-USDT/trades", 404, "XXX-USDT"),
    ("/api/market/BTC-USDT/history?timeframe=7m", 422, "7m"),
    ("/api/market/BTC-USDT/book", 404, "BTC-USDT"),
    ("/api/market/BTC-USDT/history?from=yesterday", 422, "from"),
    ("/api/backtest/results/none", 404, "none"),
    ("/api/sweeps/none", 404, "none"),
    ("/api/nothing", 404, "nothing"),
)


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=150)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 20, "the bots")
        yield client


def test_reading_bots_trades_signals_and_candles(api):
    """Every list has the documented shape, newest first for bots' rows and oldest first for candles."""
    bots = models.Bots.model_validate(api.get("/api/bots").json)
    assert [bot.bot_id for bot in bots.items] == [f"bot_00{n}" for n in range(1, 6)]
    assert api.get("/api/bot/bot_001").json["symbol"] == "BTC-USDT"

    trades = models.Trades.model_validate(api.get("/api/bot/bot_001/trades").json).items
    assert len(trades) > 1
    assert trades == sorted(trades, key=lambda trade: trade.timestamp, reverse=True)

    signals = models.Signals.model_validate(api.get("/api/bot/bot_001/signals?type=buy").json).items
    assert signals
    assert {signal.signal_type for signal in signals} == {"buy"}
    assert set(signals[0].indicators) == {"ema_fast", "ema_slow"}

    values = models.Values.model_validate(api.get("/api/bot/bot_001/performance?limit=5").json)
    assert len(values.items) == 5
    assert values.next is not None

    history = models.History.model_validate(api.get("/api/market/BTC-USDT/history?limit=10").json)
    times = [candle.timestamp for candle in history.items]
    assert times == sorted(times)
    assert len(times) == 10


def test_prices_keep_every_digit(api):
    """A price with eighteen decimals is answered with all of them, as a JSON number."""
    exact = Decimal("0.123456789012345678")
    with api.database.begin() as connection:
        connection.execute(sa.update(tables.market_data).values(low=exact, volume=Decimal(60_000)))
    text = api.get("/api/market/BTC-USDT/history?limit=1").text
    assert '"low":0.123456789012345678' in text
    assert '"volume":60000,' in text


def test_pages_by_cursor_give_every_row_once(api):
    """Following `next` walks through all signals without a gap or a repeat."""
    seen, path = [], "/api/bot/bot_001/signals?limit=40"
    cursor = ""
    while cursor is not None:
        page = api.get(path + (f"&cursor={cursor}" if cursor else "")).json
        seen += [row["id"] for row in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 150

    first = api.get("/api/market/ETH-USDT/history?limit=100").json
    second = api.get(f"/api/market/ETH-USDT/history?limit=100&cursor={first['next']}").json
    assert len(second["items"]) == 50
    assert second["items"][-1]["timestamp"] < first["items"][0]["timestamp"]


def test_tables_download_as_csv_and_parquet(api):
    """The same rows come as CSV and as Parquet, with the next cursor in a header."""
    rows = api.get("/api/bot/bot_003/trades?limit=3").json["items"]
    as_csv = api.get("/api/bot/bot_003/trades?limit=3&format=csv")
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert "x-next-cursor" in as_csv.headers
    assert pl.read_csv(io.BytesIO(as_csv.body))["id"].to_list() == [row["id"] for row in rows]
    as_parquet = api.get("/api/bot/bot_003/trades?limit=3&format=parquet")
    assert pl.read_parquet(io.BytesIO(as_parquet.body))["id"].to_list() == [row["id"] for row in rows]


EVERY_TABLE = (
    "/api/bots",
    "/api/bot/bot_001/trades",
    "/api/bot/bot_001/signals",
    "/api/bot/bot_001/orders",
    "/api/bot/bot_001/performance",
    "/api/bot/bot_001/crashes",
    "/api/bot/bot_001/config/history",
    "/api/market/BTC-USDT/history",
    "/api/backtest/results",
    "/api/sweeps",
    f"/api/sweeps/{SWEEP}",
    "/api/portfolio/equity",
    "/api/portfolio/days",
    "/api/portfolio/bots",
    "/api/events",
    "/api/data/gaps",
    "/api/data/series",
    "/api/data/lake",
    "/api/data/differences",
    "/api/data/quality",
    "/api/data/finality",
    "/api/market/BTC-USDT/trades",
    f"/api/backtest/results/{BACKTEST}/equity",
    f"/api/backtest/results/{BACKTEST}/signals",
    f"/api/backtest/results/{BACKTEST}/months",
    f"/api/backtest/results/{BACKTEST}/certainty",
    "/api/components",
    "/api/walk-forwards",
    f"/api/walk-forwards/{WALK}",
    f"/api/compare?of={BACKTEST}&of=bot:bot_001",
    f"/api/compare/differences?of={BACKTEST}&of=bot:bot_001",
)
ONE_PAGE = ("/api/compare", "/api/components", f"/api/backtest/results/{BACKTEST}/certainty")
"""What has no more rows than were asked for."""


def test_every_table_comes_as_json_csv_and_parquet_and_in_pages(api):
    """Whatever list the API has, its rows are the same in all three forms, and `limit` and `cursor` walk
    through them."""
    fill_research(api.database, NOW_MS)
    store_trades(api.database, 5)
    filled = 0
    for path in EVERY_TABLE:
        rows, sign = api.get(path).json["items"], "&" if "?" in path else "?"
        as_csv, as_parquet = (api.get(f"{path}{sign}format={kind}") for kind in ("csv", "parquet"))
        assert as_csv.headers["content-disposition"].endswith('.csv"'), path
        assert pl.read_parquet(io.BytesIO(as_parquet.body)).height == len(rows), path
        filled += bool(rows)
        if not path.startswith(ONE_PAGE):
            assert_pages(api, path, rows)
    assert filled >= 20


def assert_pages(api, path, rows):
    """Two pages of two rows are the first four; candles are of the newest, so the last four."""
    first = api.get(f"{path}?limit=2").json
    second = api.get(f"{path}?limit=2&cursor={first['next']}").json if first["next"] else {"items": []}
    if path.endswith("/history") and "market" in path:
        assert second["items"] + first["items"] == rows[-4:], path
    else:
        assert first["items"] + second["items"] == rows[:4], path


def store_trades(database, count):
    """Trades of a symbol, one a second until now."""
    price, size = Decimal("61828.02"), Decimal("0.5")
    times = [NOW_MS - 1000 * (count - n) for n in range(count)]
    with database.begin() as connection:
        trades = [Trade("BTC-USDT", 100 + n, at, price, size, Side.BUY) for n, at in enumerate(times)]
        copy_trades(connection, trades)


def test_lists_keep_to_a_kind_and_a_time(api):
    """`from` and `to` are included ends; side, type, level and state keep one kind; a wrong one is named."""
    sells = api.get("/api/bot/bot_001/trades?side=sell").json["items"]
    assert sells and {row["side"] for row in sells} == {"sell"}
    at = sells[1]["timestamp"]
    assert [row["id"] for row in api.get(f"/api/bot/bot_001/trades?from={at}&to={at}").json["items"]] == [
        sells[1]["id"]
    ]
    for path in ("signals", "performance", "orders"):
        found = api.get(f"/api/bot/bot_001/{path}?from={at}").json["items"]
        assert all(row["timestamp"] >= at for row in found)
    assert len(api.get("/api/events?level=warning").json["items"]) == 1
    assert api.get("/api/events?level=loud").json["field"] == "level"
    assert api.get("/api/data/gaps?state=lost").json["field"] == "state"


def test_every_list_of_times_keeps_to_a_stretch_of_time(api):
    """What lies before `from` and behind `to` is left out, of every list that says so."""
    fill_research(api.database, NOW_MS)
    document, filled = api.get("/api/openapi.json").json["paths"], 0
    for path, operations in document.items():
        names = {parameter["name"] for parameter in operations.get("get", {}).get("parameters", [])}
        if "from" not in names:
            continue
        address = path.format(bot_id="bot_001", symbol="BTC-USDT", test_id=BACKTEST)
        rows = api.get(address).json["items"]
        assert api.get(f"{address}?from=2001-01-01&to=2101-01-01").json["items"] == rows
        assert api.get(f"{address}?from=2101-01-01").json["items"] == [], address
        assert api.get(f"{address}?to=2001-01-01").json["items"] == [], address
        filled += bool(rows)
    assert filled >= 9


def test_crashes_and_the_log_of_a_bot_are_read(api, tmp_path):
    """A crash comes with its stack, page by page; the log is the end of the file of that bot alone."""
    with api.database.begin() as connection:
        for n in range(3):
            connection.execute(
                sa.insert(tables.bot_crashes).values(
                    bot_id=1, timestamp=sa.func.now(), reason=f"ValueError: {n}", stack_trace="line 7"
                )
            )
    first = api.get("/api/bot/bot_001/crashes?limit=2").json
    crashes = models.Crashes.model_validate(first).items
    assert [crash.reason for crash in crashes] == ["ValueError: 2", "ValueError: 1"]
    rest = api.get(f"/api/bot/bot_001/crashes?limit=2&cursor={first['next']}").json["items"]
    assert [crash["reason"] for crash in rest] == ["ValueError: 0"]
    assert "Nothing yet" in api.get("/api/bot/bot_001/log").text
    log = tmp_path / "logs" / "bots" / "bot_001.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(9)))
    assert api.get("/api/bot/bot_001/log?lines=2").text == "line 7\nline 8\n"
    assert api.get("/api/bot/..%2F..%2Fsecrets/log").status == 404


def test_sweeps_are_listed_and_their_rows_come_best_first(api):
    """The list has sweeps alone; a sweep pages through its rows."""
    fill_research(api.database, NOW_MS)
    listed = models.Runs.model_validate(api.get("/api/sweeps").json)
    assert [run.id for run in listed.items] == [SWEEP]
    first = api.get(f"/api/sweeps/{SWEEP}?limit=5").json
    second = api.get(f"/api/sweeps/{SWEEP}?limit=5&cursor={first['next']}").json
    ratios = [row["metrics"]["sharpe"] for row in first["items"] + second["items"]]
    assert len(ratios) == 9
    assert ratios == sorted(ratios, reverse=True)


def test_trouble_is_counted_however_old_and_of_this_exchange_alone(api):
    """An open hole and an unsettled difference count behind hundreds of newer ones; what is stored of another
    exchange is neither listed nor counted, nor are its files."""
    at = sa.func.now()
    hole = {"symbol": "BTC-USDT", "state": "open", "detected_at": at}
    candle = {"symbol": "BTC-USDT", "timeframe": "1m", "explanation": "stale", "detected_at": at}
    old, new = datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    file = {"dataset": "candles", "rows": 1, "bytes": 7, "sha256": "", "date": old.date()}
    ends = {"min_timestamp": old, "max_timestamp": new}
    holes = [hole | {"exchange": "okx", "first_id": n, "last_id": n} for n in range(230)]
    holes += [hole | {"exchange": "okx", "first_id": 230, "last_id": 230, "state": "refilled"}]
    settled = [
        candle | {"exchange": "okx", "timestamp": new + timedelta(minutes=n), "resolved_at": at}
        for n in range(210)
    ]
    with api.database.begin() as connection:
        connection.execute(sa.insert(tables.data_gaps).values([*holes, hole | OTHER_HOLE]))
        connection.execute(sa.insert(tables.candle_differences).values(settled))
        for exchange in ("okx", "kraken"):
            open_one = candle | {"exchange": exchange, "timestamp": old}
            connection.execute(sa.insert(tables.candle_differences).values(open_one))
            path = {"exchange": exchange, "path": f"{exchange}.parquet", "symbol": f"{exchange}-USD"}
            connection.execute(sa.insert(tables.lake_files).values(file | path | ends))
    found = data_models.DataHealth.model_validate(api.get("/api/data/health").json)
    assert found.trouble == {"open": 230, "unfillable": 0, "differences": 1}
    assert {(gap["exchange"], gap["state"]) for gap in found.gaps} == {("okx", "open")}
    assert [gap["state"] for gap in system.gaps(api.database, 231)] == ["open"] * 230 + ["refilled"]
    assert [(each["symbol"], each["files"]) for each in found.lake] == [("okx-USD", 1)]
    assert [each["path"] for each in api.get("/api/data/lake").json["items"]] == ["okx.parquet"]


def test_a_mistake_is_answered_with_its_name(api):
    """Unknown things are 404, bad parameters 422, and `detail` is one line that names them."""
    for path, status, word in MISTAKES:
        answer = api.get(path)
        assert answer.status == status, path
        assert word in answer.json["detail"], path


def test_health_metrics_and_openapi(api):
    """Health, Prometheus gauges, data health and the OpenAPI document answer."""
    assert api.get("/healthz").json["status"] == "ok"
    metrics = api.get("/metrics").text
    assert 'tcp_bot_value{bot="bot_001",symbol="BTC-USDT"}' in metrics
    health = data_models.DataHealth.model_validate(api.get("/api/data/health").json)
    assert {row["component"] for row in health.components} == {"live", "collector"}
    assert len(health.series) == 12
    assert (health.connections, health.quality) == ([], [])
    paths = api.get("/api/openapi.json").json["paths"]
    assert "/api/bot/{bot_id}/trades" in paths
    wrong = paths["/api/sweeps"]["get"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert wrong["$ref"].endswith("/Problem")
    assert "swagger-ui-bundle.js" in api.get("/api/docs").text
    assert api.get("/api/docs/files/swagger-ui.css").status == 200
    assert not any(path.startswith("/_dash") for path in paths)


def test_books_and_the_quality_of_connections(api, redis_url):
    """The book is the one kept under book:{symbol}, to the last digit. The quality of the connections comes
    from the daemon's heartbeat, and by minute from what it stored, the newest minute first."""

    async def keep() -> None:
        bus = RedisBus(redis_url)
        bids = [(Decimal("64000.10"), Decimal("0.00000001")), (Decimal(64_000), Decimal(2))]
        message = document("ETH-BTC", "2026-11-21T00:00:00.250Z", bids, [(Decimal("64000.2"), Decimal(1))], 7)
        await publish_book(bus, message)
        await bus.close()

    asyncio.run(keep())
    book = models.Book.model_validate(api.get("/api/market/ETH-BTC/book").json)
    assert book.bids == [(Decimal("64000.10"), Decimal("0.00000001")), (Decimal(64_000), Decimal(2))]
    assert book.asks == [(Decimal("64000.2"), Decimal(1))]
    assert (book.symbol, book.sequence, book.timestamp.microsecond) == ("ETH-BTC", 7, 250_000)
    as_csv = api.get("/api/market/ETH-BTC/book?format=csv").text.splitlines()
    assert as_csv[0] == "side,level,price,size,timestamp,sequence"
    assert as_csv[1] == "bid,1,64000.1,0.00000001,2026-11-21T00:00:00.250Z,7"
    assert [line.partition(",")[0] for line in as_csv[1:]] == ["bid", "bid", "ask"]
    as_parquet = pl.read_parquet(io.BytesIO(api.get("/api/market/ETH-BTC/book?format=parquet").body))
    assert as_parquet["size"].to_list() == ["0.00000001", "2", "1"]

    row = QualityRow("trades 1", "wss://a/public", 12.5, 80.0, 10, 20, 1, 3, 0, 1, 0, -4)
    wall_ms = time.time_ns() // 1_000_000
    for minute in range(2):
        record_quality(api.database, NOW_MS + minute * 60_000, [row])
    socket = {"connection": "trades 1", "state": "live", "latency_p50_ms": None, "latency_p99_ms": 80.0}
    socket |= dict.fromkeys(("trades", "repeated", "unknown_frames", "reconnects", "silences"), 0)
    socket |= {"lost_ids": 3}
    beat(api.database, "live", wall_ms, NOW_MS, {"connections": [socket], "clock": {"offset_ms": -4}})
    health = data_models.DataHealth.model_validate(api.get("/api/data/health").json)
    assert health.connections == [socket]
    assert health.clock == {"offset_ms": -4}
    line = 'tcp_connection_latency_seconds{connection="trades 1",quantile="0.99"} 0.08'
    until(lambda: line in api.get("/metrics").text, 20, "the connection's gauges")
    assert 'tcp_connection_lost_ids{connection="trades 1"} 3' in api.get("/metrics").text
    assert "tcp_exchange_clock_offset_seconds -0.004" in api.get("/metrics").text
    assert [(row["connection"], row["lost_ids"], row["latency_p99_ms"]) for row in health.quality] == [
        ("trades 1", 3, 80.0)
    ] * 2
    assert health.quality[0]["minute"] > health.quality[1]["minute"]
