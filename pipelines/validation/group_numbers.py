"""What many bots come to together: the portfolio by the day, and who stands where."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from pipelines.validation.bot_numbers import Number

DAY = timedelta(days=1)
LEAST_GROWTH = 1e-12
"""What is left of a portfolio that lost everything: growth goes on from there."""

DIGITS = 12
"""Returns that differ later are equal: nothing was earned, and a rounding was left."""


@dataclass(frozen=True)
class Account:
    """A bot as a part of a group.

    cash: at its start, quote currency; closings: UTC day → value of its last snapshot
    fill_days: UTC days with fills, which are days of its life too
    """

    cash: Decimal
    closings: Mapping[date, Decimal]
    fill_days: frozenset[date]

    @property
    def days(self) -> set[date]:
        """All days it is known of."""
        return {*self.closings, *self.fill_days}

    @property
    def value(self) -> Decimal:
        """What it has now."""
        return self.closings[max(self.closings)] if self.closings else self.cash


def portfolio_days(accounts: Iterable[Account]) -> dict[date, dict[str, Number]]:
    """Each day of all bots together. A bot stands in it from its first day to the last of any; on a day
    without a snapshot it keeps its value. Returns are chained: a bot that joins brings cash, which is no
    profit."""
    living = [account for account in accounts if account.days]
    last = max((day for account in living for day in account.days), default=None)
    totals: dict[date, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for account in living:
        day, value = min(account.days), account.cash
        while last is not None and day <= last:
            totals[day][0] += value
            value = account.closings.get(day, value)
            totals[day][1] += value
            day += DAY
    growth, peak, earned = 1.0, 1.0, Decimal(0)
    found: dict[date, dict[str, Number]] = {}
    for day in sorted(totals):
        opening, closing = totals[day]
        earned += closing - opening
        earned_part = float(closing - opening) / float(opening) if opening else -1.0
        growth *= max(1 + earned_part, LEAST_GROWTH)
        peak = max(peak, growth)
        found[day] = {
            "closing_value": closing,
            "pnl": closing - opening,
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
) -> dict[str, dict[str, Number]]:
    """Lower-case name of each strategy → what its bots earned, and what its backtests and walk-forwards say.

    standings: a bot with its `strategy_name`, `cash`, `pnl`, `fees`, `closed_trades`, `win_rate` and
    `max_drawdown`; runs: a backtest with `strategy_name`, `total_return` and `sharpe`; walks: with
    `average_test_return`
    """
    groups: dict[str, tuple[list[Any], list[Any], list[Any]]] = defaultdict(lambda: ([], [], []))
    for number, rows in enumerate((standings, runs, walks)):
        for row in rows:
            groups[row["strategy_name"].lower()][number].append(row)
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
