"""What many bots come to together: the portfolio by the day, and who stands where."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from pipelines.validation.bot_numbers import Number, filled

DAY = timedelta(days=1)
SUMMED = ("opening_value", "closing_value", "pnl", "realised_pnl", "fees", "turnover", "closed_trades")
"""Of the portfolio: the bots' together."""

LEAST_GROWTH = 1e-12
"""What is left of a portfolio that lost everything: growth goes on from there."""

DIGITS = 12
"""Returns that differ later are equal: nothing was earned, and a rounding was left."""


@dataclass(frozen=True)
class Account:
    """A bot as a part of a group.

    cash: at its start, quote currency; closings: UTC day → value of its last snapshot
    fills: what was filled (`bot_numbers.filled`) on each UTC day with fills, a day of its life too
    """

    cash: Decimal
    closings: Mapping[date, Decimal]
    fills: Mapping[date, Mapping[str, Any]]

    @property
    def days(self) -> set[date]:
        """All days it is known of."""
        return {*self.closings, *self.fills}

    @property
    def value(self) -> Decimal:
        """What it has now."""
        return self.closings[max(self.closings)] if self.closings else self.cash


def last_day(accounts: Iterable[Account]) -> date | None:
    """The last day that any of them is known of."""
    return max((day for account in accounts for day in account.days), default=None)


def bot_days(account: Account, last: date | None) -> dict[date, dict[str, Any]]:
    """What a bot earned and paid on each day from its first to `last`. On a day without a snapshot it keeps
    its value."""
    found: dict[date, dict[str, Any]] = {}
    day, value = min(account.days, default=None), account.cash
    while day is not None and last is not None and day <= last:
        opening, value = value, account.closings.get(day, value)
        found[day] = {
            "opening_value": opening,
            "closing_value": value,
            "pnl": value - opening,
            "return_fraction": float(value - opening) / float(opening) if opening else None,
            **account.fills.get(day, filled(())),
        }
        day += DAY
    return found


def portfolio_days(accounts: Iterable[Account], last: date | None) -> dict[date, dict[str, Any]]:
    """Each day of these bots, all of one currency, together, until `last`. Returns are chained: a bot that
    joins brings cash, which is no profit."""
    by_day: dict[date, list[Mapping[str, Any]]] = defaultdict(list)
    for account in accounts:
        for day, row in bot_days(account, last).items():
            by_day[day].append(row)
    growth, peak, earned = 1.0, 1.0, Decimal(0)
    found: dict[date, dict[str, Any]] = {}
    for day in sorted(by_day):
        totals = {name: sum(row[name] for row in by_day[day]) for name in SUMMED}
        opening, pnl = totals["opening_value"], totals["pnl"]
        part = float(pnl) / float(opening) if opening else None
        earned += pnl
        growth *= max(1 + (-1.0 if part is None else part), LEAST_GROWTH)
        peak = max(peak, growth)
        found[day] = {
            "bots": len(by_day[day]),
            **totals,
            "return_fraction": part,
            "cumulative_pnl": earned,
            "growth": growth,
            "drawdown": (peak - growth) / peak,
        }
    return found


def places(keys: Sequence[tuple[float | None, ...]]) -> list[int]:
    """Which place each has, from 1, the largest first and None last; equals share one."""
    ordered = sorted(_descending(key) for key in keys)
    return [1 + ordered.index(_descending(key)) for key in keys]


def _descending(key: tuple[float | None, ...]) -> tuple[float, ...]:
    return tuple(float("inf") if part is None else -round(part, DIGITS) for part in key)


def strategies(
    standings: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    walks: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str], dict[str, Number]]:
    """(quote currency, lower-case name) of each strategy → what its bots earned there, and what its backtests
    and walk-forwards say.

    Each row with its `symbol` and `strategy_name`; standings: a bot with its `cash`, `pnl`, `fees`,
    `closed_trades`, `win_rate` and `max_drawdown`; runs: a backtest with `total_return` and `sharpe`; walks:
    with `average_test_return`
    """
    groups: dict[tuple[str, str], tuple[list[Any], list[Any], list[Any]]]
    groups = defaultdict(lambda: ([], [], []))
    for number, rows in enumerate((standings, runs, walks)):
        for row in rows:
            groups[row["symbol"].partition("-")[2], row["strategy_name"].lower()][number].append(row)
    found = {name: _strategy(*rows) for name, rows in groups.items()}
    keys = [(row["live_return"], row["median_backtest_return"]) for row in found.values()]
    for row, place in zip(found.values(), places(keys), strict=True):
        row["place"] = place
    return found


def _strategy(bots: list[Any], runs: list[Any], walks: list[Any]) -> dict[str, Any]:
    closed = sum(bot["closed_trades"] for bot in bots)
    cash = sum((bot["cash"] for bot in bots), Decimal(0))
    pnl = sum((bot["pnl"] for bot in bots), Decimal(0))
    won = sum(bot["win_rate"] * bot["closed_trades"] for bot in bots if bot["win_rate"] is not None)
    sharpes = [run["sharpe"] for run in runs if run["sharpe"] is not None]
    tested = [walk["average_test_return"] for walk in walks if walk["average_test_return"] is not None]
    return {
        "bots": len(bots),
        "pnl": pnl,
        "live_return": float(pnl) / float(cash) if cash else None,
        "fees": sum((bot["fees"] for bot in bots), Decimal(0)),
        "closed_trades": closed,
        "win_rate": won / closed if closed else None,
        "max_drawdown": max((bot["max_drawdown"] for bot in bots), default=None),
        "backtests": len(runs),
        "median_backtest_return": median(run["total_return"] for run in runs) if runs else None,
        "median_backtest_sharpe": median(sharpes) if sharpes else None,
        "best_backtest_sharpe": max(sharpes, default=None),
        "walk_forwards": len(walks),
        "average_test_return": sum(tested) / len(tested) if tested else None,
    }
