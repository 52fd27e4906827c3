"""A made-up history of bots for the marts, and what the marts must say about it, computed in plain Python.

Nothing here is shared with the SQL: sums are loops over exact decimals.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, insert

from pipelines.warehouse.tables import bot_performance, bots, trades

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 5
FEE = Decimal("0.001")


@dataclass
class Fill:
    """A fill as the table has it."""

    at: datetime
    side: str
    price: Decimal
    quantity: Decimal
    fees: Decimal
    pnl: Decimal | None


@dataclass
class Bot:
    """A bot with its fills and its snapshots (time, value, cash), oldest first; one that was `deleted` later
    keeps them."""

    number: int
    name: str
    cash: Decimal
    deleted: bool = False
    symbol: str = "BTC-USDT"
    fills: list[Fill] = field(default_factory=list)
    snapshots: list[tuple[datetime, Decimal, Decimal]] = field(default_factory=list)


def invent(seed: int) -> list[Bot]:
    """Five bots: four trade, from different days on, one of them pausing for a day and deleted since, one
    with another currency; the fifth never ran."""
    chance = random.Random(seed)
    found = []
    for number, (name, first_day) in enumerate([("alpha", 0), ("beta", 1), ("gamma", 0), ("delta", 2)], 1):
        symbol = "ETH-BTC" if name == "delta" else "BTC-USDT"
        bot = Bot(number, name, Decimal(1000 * number), deleted=name == "gamma", symbol=symbol)
        cash, coins, cost = bot.cash, Decimal(0), Decimal(0)
        price = Decimal(100)
        for step in range(1, (DAYS - first_day) * 24 * 6 + 1):
            at = START + timedelta(days=first_day, minutes=10 * step)
            price = max(price + Decimal(chance.randint(-200, 205)) / 100, Decimal(20))
            if name == "gamma" and at.date() == date(2026, 3, 3):
                continue
            if chance.random() < 0.06:
                moment = at - timedelta(minutes=5)
                if coins == 0:
                    quantity = (cash / price).quantize(Decimal("0.0001")) - Decimal("0.0001")
                    fees = quantity * FEE * price
                    bot.fills.append(Fill(moment, "buy", price, quantity, fees, None))
                    coins, cost, cash = quantity * (1 - FEE), quantity * price, cash - quantity * price
                else:
                    fees = coins * price * FEE
                    proceeds = coins * price - fees
                    bot.fills.append(Fill(moment, "sell", price, coins, fees, proceeds - cost))
                    cash, coins, cost = cash + proceeds, Decimal(0), Decimal(0)
            bot.snapshots.append((at, cash + coins * price, cash))
        found.append(bot)
    return [*found, Bot(5, "idle", Decimal(777))]


def store_bots(connection: Connection, history: list[Bot]) -> None:
    """Write the bots, without a life yet."""
    for bot in history:
        connection.execute(
            insert(bots).values(
                name=bot.name,
                strategy_name="invented",
                symbol=bot.symbol,
                timeframe="1m",
                status="active",
                config={},
                virtual_balance=bot.cash,
                current_balance=bot.cash,
                deleted_at=START + timedelta(days=DAYS) if bot.deleted else None,
            )
        )


def store(connection: Connection, history: list[Bot], after: datetime, until: datetime) -> None:
    """Write the fills and snapshots of (after, until] where the daemon would."""
    for bot in history:
        for n, fill in enumerate(bot.fills):
            if not after < fill.at <= until:
                continue
            connection.execute(
                insert(trades).values(
                    id=f"{bot.name}-{n:04}",
                    bot_id=bot.number,
                    timestamp=fill.at,
                    side=fill.side,
                    price=fill.price,
                    quantity=fill.quantity,
                    fees=fill.fees,
                    pnl=fill.pnl,
                    balance_after=0,
                )
            )
        snapshots = [snapshot for snapshot in bot.snapshots if after < snapshot[0] <= until]
        if snapshots:
            connection.execute(
                insert(bot_performance),
                [
                    {
                        "bot_id": bot.number,
                        "timestamp": at,
                        "total_value": value,
                        "cash_balance": cash,
                        "crypto_balance": value - cash,
                        "total_trades": 0,
                        "winning_trades": 0,
                        "total_fees": 0,
                    }
                    for at, value, cash in snapshots
                ],
            )


def exposure(history: list[Bot]) -> dict[tuple[str, date], dict[str, Any]]:
    """(bot, day) → snapshots, share of them with coins, average exposure."""
    parts: dict[tuple[str, date], list[float]] = defaultdict(list)
    for bot in history:
        for at, value, cash in bot.snapshots:
            parts[bot.name, _closing_day(at)].append(float((value - cash) / value))
    return {
        key: {
            "snapshots": len(of_day),
            "time_in_market": sum(part > 0 for part in of_day) / len(of_day),
            "average_exposure": sum(of_day) / len(of_day),
        }
        for key, of_day in parts.items()
    }


def drawdowns(history: list[Bot]) -> dict[str, list[tuple[datetime, datetime | None, float]]]:
    """Bot → (time of the trough, end or None, depth) of each drawdown of at least 0.1 %, in order."""
    found: dict[str, list[tuple[datetime, datetime | None, float]]] = {}
    for bot in history:
        peak, depth, trough = bot.cash, 0.0, bot.snapshots[0][0] if bot.snapshots else START
        ended: list[tuple[datetime, datetime | None, float]] = []
        for at, value, _ in bot.snapshots:
            if value > peak:
                ended.append((trough, at, depth))
                peak, depth = value, 0.0
            elif float((peak - value) / peak) > depth:
                depth, trough = float((peak - value) / peak), at
        found[bot.name] = [one for one in [*ended, (trough, None, depth)] if one[2] >= 0.001]
    return found


def daily(history: list[Bot]) -> dict[tuple[str, date], dict[str, Any]]:
    """(bot, day) → opening, closing, pnl, realised, fees, closed trades."""
    last_day = max(_closing_day(at) for bot in history for at, *_ in bot.snapshots)
    found = {}
    for bot in history:
        if not bot.snapshots:
            continue
        closings = {_closing_day(at): value for at, value, _ in bot.snapshots}
        day, value = min(closings), bot.cash
        while day <= last_day:
            opening, value = value, closings.get(day, value)
            of_day = [fill for fill in bot.fills if fill.at.date() == day]
            sells = [fill.pnl for fill in of_day if fill.pnl is not None]
            found[bot.name, day] = {
                "opening_value": opening,
                "closing_value": value,
                "pnl": value - opening,
                "realised_pnl": sum(sells, Decimal(0)),
                "fees": sum((fill.fees for fill in of_day), Decimal(0)),
                "closed_trades": len(sells),
                "winning_trades": sum(pnl > 0 for pnl in sells),
            }
            day += timedelta(days=1)
    return found


def statistics(history: list[Bot]) -> dict[str, dict[str, Any]]:
    """Bot → closed trades, win rate, profit factor, fees, realised profit."""
    found = {}
    for bot in history:
        closed = [fill.pnl for fill in bot.fills if fill.pnl is not None]
        won, lost = sum(p for p in closed if p > 0), -sum(p for p in closed if p < 0)
        found[bot.name] = {
            "closed_trades": len(closed),
            "win_rate": sum(p > 0 for p in closed) / len(closed) if closed else None,
            "profit_factor": float(won / lost) if lost else None,
            "fees": sum((fill.fees for fill in bot.fills), Decimal(0)),
            "realised_pnl": sum(closed, Decimal(0)),
        }
    return found


def standings(history: list[Bot]) -> dict[str, dict[str, Any]]:
    """Bot → profit, return, deepest drawdown; deleted ones stand nowhere."""
    found = {}
    for bot in (bot for bot in history if not bot.deleted):
        peak, deepest, value = bot.cash, 0.0, bot.cash
        for _, value, _ in bot.snapshots:
            peak = max(peak, value)
            deepest = max(deepest, float((peak - value) / peak))
        found[bot.name] = {
            "pnl": value - bot.cash,
            "total_return": float((value - bot.cash) / bot.cash),
            "max_drawdown": deepest,
        }
    return found


def portfolio(history: list[Bot]) -> dict[tuple[str, date], dict[str, Any]]:
    """Quote currency and day → profit, value and growth of all its bots together that are not deleted."""
    by_day: dict[tuple[str, date], list[dict[str, Any]]] = defaultdict(list)
    kept = {bot.name: bot.symbol.partition("-")[2] for bot in history if not bot.deleted}
    for (name, day), row in daily(history).items():
        if name in kept:
            by_day[kept[name], day].append(row)
    growth: dict[str, float] = defaultdict(lambda: 1.0)
    found = {}
    for quote, day in sorted(by_day):
        rows = by_day[quote, day]
        pnl = sum((row["pnl"] for row in rows), Decimal(0))
        opening = sum((row["opening_value"] for row in rows), Decimal(0))
        growth[quote] *= 1 + float(pnl / opening)
        found[quote, day] = {
            "pnl": pnl,
            "closing_value": opening + pnl,
            "growth": growth[quote],
            "bots": len(rows),
        }
    return found


def _closing_day(at: datetime) -> date:
    return (at - timedelta(microseconds=1)).date()
