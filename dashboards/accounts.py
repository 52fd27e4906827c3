"""The portfolio's cards and tables: all bots of one quote currency as one account. Pure.

Amounts of different currencies are never added up: whoever calls gives the rows of one.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from dash import html

from dashboards.components import Card
from dashboards.components import cards as in_a_row
from dashboards.figures.portfolio import depths
from dashboards.formatting import DASH, cents, money, percent
from dashboards.formatting import strategy as strategy_words

Rows = Sequence[dict[str, Any]]


def by_quote(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each quote currency, in their order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["quote"]].append(row)
    return found


def day_name(day: date, today: date) -> str:
    """`Today`, or which day it was: yesterday's profit is not today's."""
    return "Today" if day == today else f"{day:%b %d}"


def cards(days: Rows, bots: Rows, points: Rows, today: date) -> html.Div:
    """The account in seven numbers. days: oldest first; bots, points: queries.portfolio's; today: UTC day of
    the exchange."""
    last, quote = days[-1], bots[0]["quote"]
    places = cents(quote)
    value = sum(float(bot["current_value"]) for bot in bots)
    made = sum(float(bot["pnl"]) for bot in bots)
    growth, profit = float(last["growth"]) - 1, float(last["pnl"])
    falls = [float(day["drawdown"]) for day in days] + [-depth for depth in depths(_equity(points))]
    deepest = max(falls)
    pairs = [
        (f"Value, {quote}", money(value, places), "", f"{len(bots)} bots, cash and coins"),
        _in_coins(points, quote),
        ("P&L", money(made, places, signed=True), _tone(made), "Since the start, fees deducted"),
        ("Growth", percent(growth), _tone(growth), "Daily returns chained: cash that joins is no profit"),
        (
            f"P&L {day_name(last['day'], today).replace('Today', 'today')}",
            money(profit, places, signed=True),
            _tone(profit),
            f"{last['day']} UTC, the newest day that a bot judged a candle on",
        ),
        (
            "Max drawdown",
            percent(-deepest),
            "down" if deepest else "",
            "The deepest of daily closing values and of the equity below",
        ),
        _costs(days, bots, quote),
    ]
    return in_a_row(pairs)


def _equity(points: Rows) -> list[float]:
    return [float(point["equity"]) for point in points]


def _in_coins(points: Rows, quote: str) -> Card:
    equity, cash = (float(points[-1][name]) for name in ("equity", "cash")) if points else (0.0, 0.0)
    share = (equity - cash) / equity if equity else None
    hint = f"Of the value; {money(cash, cents(quote))} {quote} are cash"
    return "In coins", percent(share, 0, signed=False), "", hint


def _costs(days: Rows, bots: Rows, quote: str) -> Card:
    """All fees; what they are of the turnover is of the days that are read, on both sides."""
    fees, places = sum(float(bot["fees"] or 0) for bot in bots), cents(quote)
    paid, turnover = (sum(float(day[name] or 0) for day in days) for name in ("fees", "turnover"))
    share = percent(paid / turnover, 3, signed=False) if turnover else DASH
    hint = f"All fills; {share} of {money(turnover, places)} {quote} bought and sold since {days[0]['day']}"
    return "Fees", money(fees, places), "", hint


def table_rows(bots: Rows) -> list[dict[str, Any]]:
    """One row a bot, JSON-ready; `share` is its part of all these bots' value, a fraction."""
    total = sum(float(bot["current_value"]) for bot in bots)
    rows = []
    for bot in bots:
        named = ("current_value", "pnl", "day_pnl", "total_return", "max_drawdown", "fees")
        values = {name: None if bot[name] is None else float(bot[name]) for name in named}
        rows.append(
            {
                "bot": bot["bot_name"],
                "strategy": strategy_words(bot["strategy_name"]),
                "cents": cents(bot["quote"]),
                "share": values["current_value"] / total if total and values["current_value"] else None,
                **values,
                "max_drawdown": -(values["max_drawdown"] or 0.0),
            }
        )
    return rows


def live_cards(bots: Rows) -> html.Div:
    """The account in five numbers, before there are marts. bots: rows of the hub, at least one."""
    quote, places = bots[0]["quote"], bots[0]["cents"]
    value, made, today = (sum(bot[name] for bot in bots) for name in ("value", "pnl", "pnl_today"))
    running = sum(bot["shown"] == "running" for bot in bots)
    part = percent(made / (value - made) if value != made else None)
    return in_a_row(
        [
            (
                f"Value, {quote}",
                money(value, places),
                "",
                f"{len(bots)} bots, cash and coins at the last price",
            ),
            ("P&L", money(made, places, signed=True), _tone(made), "Since the start, fees deducted"),
            ("P&L %", part, _tone(made), "Of all cash"),
            ("P&L today", money(today, places, signed=True), _tone(today), "Since 00:00 UTC"),
            ("Running", f"{running} of {len(bots)}", "", "Bots that judge candles"),
        ]
    )


def live_rows(bots: Rows) -> list[dict[str, Any]]:
    """Rows of the table from the hub's; what only the marts know is empty."""
    total = sum(bot["value"] for bot in bots)
    return [
        {
            "bot": bot["bot_id"],
            "strategy": bot["strategy"],
            "cents": bot["cents"],
            "share": bot["value"] / total if total else None,
            "current_value": bot["value"],
            "pnl": bot["pnl"],
            "day_pnl": bot["pnl_today"],
            "total_return": bot["pnl_fraction"],
            "max_drawdown": None,
            "fees": None,
        }
        for bot in bots
    ]


def _tone(value: float) -> str:
    return "" if not value else "up" if value > 0 else "down"
