"""Each read the product makes of a table that grows: the pages' and the API's, the collector's, the bots',
the lake's and Dagster's."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, Engine

from core.accounts import Matching
from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from dashboards.queries import accounts, bots, candles, comparisons, data, market, portfolio, system
from pipelines.warehouse import archive, coverage, gaps, inventory, reconciliation, resume, risk, trade_days
from pipelines.warehouse.bot_ledger import Ledger
from pipelines.warehouse.bots import list_bots
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.paths import Inside
from pipelines.warehouse.trade_days import DAY_MS
from pipelines.warehouse.trade_frames import read_trades
from pipelines.warehouse.trade_marks import last_mark
from pipelines.warehouse.trades import last_trade_ids
from tests.big_tables import START_MS

SYMBOL, BOT = "ETH-USDT", 7
HOUR_MS = Timeframe.H1.ms
NOON_MS = START_MS + DAY_MS // 2
NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
DAY = date(2025, 9, 2)
LARGE_TABLES = (
    "market_data",
    "raw_trades",
    "signals",
    "trades",
    "bot_performance",
    "orders",
    "system_events",
    "data_gaps",
    "candle_differences",
)

Read = Callable[[Engine], object]


def reads() -> dict[str, Read]:
    """By name; each may send several statements."""
    return {
        **{f"page: {name}": read for name, read in _pages().items()},
        **{f"collector: {name}": read for name, read in _collector().items()},
        **{f"bot: {name}": read for name, read in _bot().items()},
        **{f"lake: {name}": read for name, read in _lake().items()},
    }


def _pages() -> dict[str, Read]:
    cursor = (NOON, "bot_007-100")
    return {
        "all bots": lambda engine: bots.overview(engine, NOON),
        "one bot": lambda engine: bots.overview(engine, NOON, "bot_007"),
        "risk": risk.overview,
        "risk of a bot": lambda engine: risk.bot_risk(engine, "bot_007"),
        "orders": lambda engine: risk.order_rows(engine, BOT, 100),
        "orders, next page": lambda engine: risk.order_rows(engine, BOT, 100, cursor),
        "fills": lambda engine: bots.fills(engine, BOT, 100),
        "fills, next page": lambda engine: bots.fills(engine, BOT, 100, cursor),
        "fills of a chart": lambda engine: bots.fills(engine, BOT, 5001, span=(NOON, None)),
        "signals": lambda engine: bots.signal_rows(engine, BOT, 100),
        "signals, next page": lambda engine: bots.signal_rows(engine, BOT, 100, cursor),
        "sales": lambda engine: bots.fills(engine, BOT, 100, side="sell"),
        "fills of a time": lambda engine: bots.fills(
            engine, BOT, 100, span=(NOON, NOON + timedelta(hours=1))
        ),
        "orders of a time": lambda engine: risk.order_rows(
            engine, BOT, 100, span=(NOON, NOON + timedelta(hours=1))
        ),
        "buys": lambda engine: bots.signal_rows(engine, BOT, 100, None, "buy"),
        "performance": lambda engine: bots.performance_rows(engine, BOT, 500),
        "performance, next page": lambda engine: bots.performance_rows(engine, BOT, 500, NOON),
        "alerts": lambda engine: system.alerts(engine, NOON, NOON + timedelta(days=1)),
        "candles": lambda engine: market.candle_rows(engine, SYMBOL, "1m", 500),
        "candles of a stretch": lambda engine: market.candle_rows(
            engine, SYMBOL, "1m", 500, NOON, NOON + timedelta(hours=6)
        ),
        "candles, next page": lambda engine: market.candle_rows(engine, SYMBOL, "5m", 500, before=NOON),
        "chart": lambda engine: read_candles(engine, SYMBOL, "1m", limit=1000),
        "price at": lambda engine: market.price_at(engine, SYMBOL, NOON),
        "symbols": market.symbols,
        "ends of a series": lambda engine: market.ends(engine, SYMBOL, "1m"),
        "spans of a symbol": lambda engine: candles.spans(engine, SYMBOL),
        "hours made of minutes": lambda engine: candles.made_candles(
            engine, SYMBOL, Timeframe.H1, Timeframe.M1, range(NOON_MS, NOON_MS + 9 * HOUR_MS, HOUR_MS)
        ),
        "trades": lambda engine: market.trade_rows(engine, SYMBOL, 100),
        "trades, next page": lambda engine: market.trade_rows(engine, SYMBOL, 100, 1_500),
        "trades of a time": lambda engine: market.trade_rows(
            engine, SYMBOL, 100, span=(NOON, NOON + timedelta(hours=1))
        ),
        "recent trades": lambda engine: market.recent_trades(engine, SYMBOL, NOON),
        "stored days": lambda engine: data.coverage(engine, [SYMBOL], DAY, DAY + timedelta(days=3)),
        "final candles": lambda engine: data.finality(engine, [SYMBOL], NOON, NOON + timedelta(days=1)),
        "a bot's life": lambda engine: comparisons.bot_life(engine, BOT),
        "a bot's curve": _curve,
        "a bot's trips": lambda engine: comparisons.closed_trips(engine, BOT, NOON, NOON + timedelta(days=1)),
        "portfolio without marts": lambda engine: portfolio.live_curve(engine, NOON),
        "accounts": accounts.holders,
        "freshness": system.freshness,
        "events": system.events,
        "warnings": lambda engine: system.events(engine, 50, None, "warning"),
        "gaps": system.gaps,
        "gaps by time": lambda engine: system.gap_rows(engine, 50),
        "open gaps": lambda engine: system.gap_rows(engine, 50, state="open"),
        "trouble": system.trouble,
        "files of the lake": lambda engine: system.lake_rows(engine, 50),
        "differences": lambda engine: system.differences(engine, 50),
        "open differences": lambda engine: system.differences(engine, 50, only_open=True),
    }


def _curve(engine: Engine) -> object:
    bot, life = {"id": BOT, "symbol": SYMBOL, "timeframe": "1m"}, comparisons.bot_life(engine, BOT)
    assert life is not None
    return comparisons.bot_curve(engine, bot, *life, comparisons.step_of(Timeframe.M1, *life))


def _collector() -> dict[str, Read]:
    trades = [Trade(SYMBOL, n, NOON_MS, Decimal(1), Decimal(1), Side.BUY) for n in (1_500, 1_501)]
    return {
        "where to resume": _in(lambda connection: resume.resume_point(connection, SYMBOL)),
        "trades since": _in(lambda connection: resume.trades_since(connection, SYMBOL, _LATE_MS)),
        "collected trades": _in(
            lambda connection: resume.collected_trades(connection, SYMBOL, [_LATE_MS + 60_000])
        ),
        "stored minutes": _in(
            lambda connection: resume.exact_candles(
                connection, SYMBOL, Timeframe.M1, NOON_MS, NOON_MS + 3_600_000
            )
        ),
        "newest trades": _in(lambda connection: last_trade_ids(connection, ["BTC-USDT", SYMBOL])),
        "newest mark": _in(lambda connection: last_mark(connection, SYMBOL, NOON_MS)),
        "missing ids": _in(lambda connection: gaps.missing_ids(connection, SYMBOL, 1_500, 2_500)),
        "neighbours": _in(lambda connection: gaps.neighbour_times(connection, SYMBOL, 1_500, 1_600)),
        "unfilled gaps": _in(lambda connection: reconciliation.unfilled_gaps(connection, SYMBOL)),
        "settled differences": _in(
            lambda connection: reconciliation.settle_differences(connection, SYMBOL, NOON_MS)
        ),
        "aggregates": _in(lambda connection: coverage.aggregated_ids(connection, trades)),
        "missing candles": lambda engine: coverage.missing_candles(
            engine, SYMBOL, Timeframe.M1, START_MS, START_MS + DAY_MS
        ),
    }


def _bot() -> dict[str, Read]:
    def ledger(engine: Engine) -> Ledger:
        return Ledger(engine, BOT, SYMBOL, Timeframe.M1)

    return {
        "list": list_bots,
        "restore": lambda engine: ledger(engine).restore(),
        "candles after": lambda engine: ledger(engine).candles_after(NOON_MS),
        "candle at": lambda engine: ledger(engine).candle_at(NOON_MS),
        "last judged": lambda engine: ledger(engine).last_judged_ms(),
        "inside a final candle": lambda engine: Inside(engine, SYMBOL, "trades").of_final(_FLAT, Matching()),
        "inside a running candle": lambda engine: Inside(engine, SYMBOL, "trades").so_far(_FLAT, Matching()),
    }


def _lake() -> dict[str, Read]:
    return {
        "symbols": _in(archive.traded_symbols),
        "days": _in(lambda connection: trade_days.stored_days(connection, SYMBOL)),
        "a day of trades": _in(lambda connection: archive.read_trades_of_day(connection, SYMBOL, DAY)),
        "path inside candles": lambda engine: read_trades(engine, SYMBOL, NOON_MS, NOON_MS + 600_000),
        "table states": lambda engine: inventory.table_states(engine, LARGE_TABLES),
    }


_FLAT = Candle(SYMBOL, Timeframe.M5, NOON_MS, *(Decimal(60_000),) * 4, Decimal(1))
_LATE_MS = START_MS + 10 * DAY_MS - 60_000


def _in(read: Callable[[Connection], object]) -> Read:
    def run(engine: Engine) -> object:
        with engine.connect() as connection:
            return read(connection)

    return run
