"""A platform in the middle of its day, for tests: candles, bots, signals, trades, heartbeats.

Prices are a seeded random walk; signals and trades are what the strategies say about them, so that markers,
indicators and money fit together. `tests.dashboard_market` is its live part.
"""

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from config.files import BotFile
from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse import tables
from pipelines.warehouse.bots import save_bot
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.health import beat, record_event
from strategies.evaluate import evaluate
from strategies.registry import build

MINUTE_MS = 60_000
MARKETS = {"BTC-USDT": (61_800.0, "0.1"), "ETH-USDT": (3_020.0, "0.01"), "SOL-USDT": (148.0, "0.01")}
BOTS = (
    ("bot_001", "ema_crossover", "BTC-USDT", {"fast_period": 12, "slow_period": 26}),
    ("bot_002", "rsi_reversion", "ETH-USDT", {}),
    ("bot_003", "macd_trend", "SOL-USDT", {}),
    ("bot_004", "buy_and_hold", "BTC-USDT", {}),
    ("bot_005", "ema_crossover", "ETH-USDT", {"fast_period": 20, "slow_period": 60}),
)
CASH = 10_000.0
DAEMON = {
    "clock_rate": 1.0,
    "feed": "live",
    "pending_trades": 3,
    "last_commit_ms": 7.9,
    "bus_waiting": 0,
    "rss_mb": 158.2,
}
FEE = 0.001


@dataclass(frozen=True)
class Weather:
    """What a seeded market does. timeframe: of the bots; slow, drift: its waves' length and height, of those
    of a day of minutes, which would make anybody rich in a month."""

    timeframe: Timeframe = Timeframe.M1
    slow: float = 1.0
    drift: float = 1.0


A_DAY = Weather()
A_MONTH = Weather(Timeframe.M15, slow=15, drift=0.1)


def seed(engine: Engine, now_ms: int, minutes: int = 1600, weather: Weather = A_DAY) -> None:
    """Fill an empty, migrated database up to `now_ms` (wall and exchange time)."""
    end = now_ms - now_ms % MINUTE_MS
    for symbol, (price, tick) in MARKETS.items():
        _instrument(engine, symbol, tick)
        walk = candles_of(symbol, price, Decimal(tick), end, minutes, weather)
        with engine.begin() as connection:
            upsert_candles(connection, walk)
            for timeframe in (Timeframe.M5, Timeframe.M15, Timeframe.H1):
                upsert_candles(connection, rolled(walk, timeframe))
    for name, strategy, symbol, parameters in BOTS:
        _bot(engine, name, strategy, symbol, parameters, now_ms, weather.timeframe.value)
    beat(engine, "live", now_ms, now_ms, DAEMON)
    beat(engine, "collector", now_ms, now_ms, {"state": "live"})
    record_event(engine, "info", "collector", "connected", "connected to the exchange", now_ms=now_ms)
    record_event(engine, "warning", "collector", "gap", "12 trades of ETH-USDT were refilled", now_ms=now_ms)


def candles_of(
    symbol: str, price: float, tick: Decimal, end_ms: int, minutes: int, weather: Weather = A_DAY
) -> list[Candle]:
    """A seeded walk of 1m candles that ends at `price` or near it, the last one closing at `end_ms`."""
    chance = random.Random(symbol)
    closes = [price]
    for step in range(minutes):
        at = step / weather.slow
        wave = weather.drift * (0.0004 * math.sin(at / 37) + 0.0002 * math.sin(at / 11))
        closes.append(closes[-1] * (1 + wave * 0.6 + chance.gauss(0, 0.0005)))
    closes.reverse()
    found = []
    for index in range(minutes):
        first, last = closes[index], closes[index + 1]
        high = max(first, last) * (1 + abs(chance.gauss(0, 0.0003)))
        low = min(first, last) * (1 - abs(chance.gauss(0, 0.0003)))
        volume = Decimal(str(round(abs(chance.gauss(8, 5)) * 60_000 / price / 8, 4)))
        found.append(
            Candle(
                symbol,
                Timeframe.M1,
                end_ms - (minutes - 1 - index) * MINUTE_MS,
                *(_tick(value, tick) for value in (first, high, low, last)),
                volume=volume,
                trades_count=chance.randrange(5, 200),
            )
        )
    return found


def rolled(minutes: list[Candle], timeframe: Timeframe) -> list[Candle]:
    """Higher candles of 1m ones (only whole ones)."""
    groups: dict[int, list[Candle]] = {}
    for candle in minutes:
        groups.setdefault(timeframe.close_ms(candle.open_ms), []).append(candle)
    return [
        Candle(
            group[0].symbol,
            timeframe,
            close_ms,
            group[0].open,
            max(candle.high for candle in group),
            min(candle.low for candle in group),
            group[-1].close,
            sum((candle.volume for candle in group), Decimal(0)),
            sum(candle.trades_count for candle in group),
        )
        for close_ms, group in groups.items()
        if len(group) == timeframe.ms // MINUTE_MS
    ]


def _tick(value: float, tick: Decimal) -> Decimal:
    return (Decimal(str(value)) / tick).quantize(Decimal(1)) * tick


def _instrument(engine: Engine, symbol: str, tick: str) -> None:
    base, quote = symbol.split("-")
    values = {
        "exchange": "okx",
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "tick_size": Decimal(tick),
        "lot_size": Decimal("0.00001"),
        "min_size": Decimal("0.0001"),
        "state": "live",
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.instruments).values(values))


def _bot(
    engine: Engine,
    name: str,
    strategy: str,
    symbol: str,
    parameters: dict[str, Any],
    now_ms: int,
    timeframe: str,
) -> None:
    document = {
        "bot_id": name,
        "strategy": strategy,
        "parameters": parameters,
        "symbol": symbol,
        "timeframe": timeframe,
        "virtual_balance": 10_000,
    }
    save_bot(engine, BotFile.model_validate(document), f"config/bots/{name}.json")
    with engine.connect() as connection:
        bot_id = connection.execute(
            sa.select(tables.bots.c.id).where(tables.bots.c.name == name)
        ).scalar_one()
        rows = connection.execute(
            sa.select(tables.market_data)
            .where(tables.market_data.c.symbol == symbol, tables.market_data.c.timeframe == timeframe)
            .order_by(tables.market_data.c.timestamp)
        ).mappings()
        candles = _frame([dict(row) for row in rows])
    _trade(engine, bot_id, name, evaluate(build(strategy, parameters, timeframe), candles), candles, now_ms)


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns: dict[str, Any] = {"timestamp": [row["timestamp"] for row in rows]}
    for column in ("open", "high", "low", "close", "volume"):
        columns[column] = [float(row[column]) for row in rows]
    return pl.DataFrame(columns).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


def _trade(
    engine: Engine, bot_id: int, name: str, judged: pl.DataFrame, candles: pl.DataFrame, now_ms: int
) -> None:
    """All-in paper trades at the next candle's open, and everything that a bot writes about them."""
    cash, coins, cost, fees_paid, realised = CASH, 0.0, 0.0, 0.0, 0.0
    closed = winning = 0
    signals, trades, values = [], [], []
    opens = candles["open"].to_list()
    skipped = {"timestamp", "close", "buy", "sell", "confidence"}
    for index, row in enumerate(judged.iter_rows(named=True)):
        kind = "buy" if row["buy"] else "sell" if row["sell"] else "hold"
        at = row["timestamp"]
        signal_id = f"{name}:{int(at.timestamp() * 1000)}"
        shown = {key: value for key, value in row.items() if key not in skipped}
        signals.append(
            {
                "id": signal_id,
                "bot_id": bot_id,
                "timestamp": at,
                "signal_type": kind,
                "price": row["close"],
                "confidence": row["confidence"] if kind != "hold" else 0.0,
                "indicators": shown,
                "latency_ms": 4.2,
            }
        )
        if index + 1 < len(opens) and ((kind == "buy" and not coins) or (kind == "sell" and coins)):
            price = opens[index + 1]
            made = None
            if kind == "buy":
                size, fee = cash / price, cash * FEE
                coins, cost, cash = size * (1 - FEE), cash, 0.0
            else:
                size, fee = coins, coins * price * FEE
                cash += coins * price - fee
                made = cash - cost
                closed, winning, coins, realised = closed + 1, winning + (made > 0), 0.0, realised + made
            fees_paid += fee
            trades.append(
                {
                    "id": f"{signal_id}:1",
                    "bot_id": bot_id,
                    "signal_id": signal_id,
                    "timestamp": at + timedelta(milliseconds=420),
                    "side": kind,
                    "price": price,
                    "quantity": size,
                    "fees": fee,
                    "pnl": made,
                    "balance_after": cash,
                }
            )
        held = coins * row["close"]
        values.append(
            {
                "bot_id": bot_id,
                "timestamp": at,
                "total_value": cash + held,
                "cash_balance": cash,
                "crypto_balance": held,
                "total_trades": closed,
                "winning_trades": winning,
                "total_fees": fees_paid,
            }
        )
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    with engine.begin() as connection:
        for table, rows in (
            (tables.signals, signals),
            (tables.trades, trades),
            (tables.bot_performance, values),
        ):
            if rows:
                connection.execute(sa.insert(table), rows)
        connection.execute(
            sa.update(tables.positions)
            .where(tables.positions.c.bot_id == bot_id)
            .values(
                cash=cash,
                quantity=coins,
                cost=cost if coins else 0,
                realised_pnl=realised,
                fees=fees_paid,
                total_trades=closed,
                winning_trades=winning,
            )
        )
        connection.execute(
            sa.update(tables.bots)
            .where(tables.bots.c.id == bot_id)
            .values(state="running", last_heartbeat=now, current_balance=values[-1]["total_value"], pid=4242)
        )
