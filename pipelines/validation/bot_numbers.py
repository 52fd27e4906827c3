"""What a bot's life comes to by `core.metrics`, out of the rows that the daemon stored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics import (
    DAY_MS,
    cagr,
    calmar,
    daily_equity,
    drawdown,
    of_trades,
    returns,
    sharpe,
    sortino,
    volatility,
)
from core.timeframes import Timeframe
from pipelines.warehouse.mart_metrics import History
from pipelines.warehouse.sql import to_datetime

DAYS_A_YEAR = 365
Number = float | int | Decimal | None


@dataclass(frozen=True)
class Life:
    """A bot's history with what it began with.

    cash: quote currency; candle_ms: length of the candles it judges
    """

    cash: Decimal
    candle_ms: int
    history: History

    @classmethod
    def of(cls, bot: Mapping[str, Any], history: History) -> "Life":
        """bot: its `cash` and `timeframe`."""
        return cls(bot["cash"], Timeframe(bot["timeframe"]).ms, history)

    def numbers(self, is_whole: bool) -> dict[str, Number]:
        """Metrics of the whole life: ratios as fractions, money in quote currency.

        is_whole: no snapshot was removed: time in market and exposure count each of them
        """
        cash, at_ms, value = float(self.cash), self.history.at_ms, self.history.value
        daily = returns(daily_equity(value, at_ms), cash)
        span = int(at_ms[-1] - at_ms[0]) + self.candle_ms
        growth = cagr(float(value[-1] / cash), span) if span >= DAY_MS else None
        depth = drawdown(value, at_ms, cash, self.candle_ms)[0]
        part = exposures(self.history)
        return {
            "total_return": float(value[-1] / cash - 1),
            "cagr": growth,
            "sharpe": sharpe(daily, DAYS_A_YEAR),
            "sortino": sortino(daily, DAYS_A_YEAR),
            "volatility": volatility(daily, DAYS_A_YEAR),
            "max_drawdown": -depth,
            "calmar": calmar(growth, depth),
            **self.trips(),
            **(
                {
                    "time_in_market": float((self.history.coins > 0).mean()),
                    "average_exposure": float(part.mean()),
                }
                if is_whole
                else {}
            ),
        }

    def trips(self) -> dict[str, Number]:
        """Metrics of its round trips, and what all fills cost."""
        fills = self.history.fills
        closed = [fill["pnl"] for fill in fills if fill["pnl"] is not None]
        found = of_trades(np.array(closed, dtype=np.float64))
        return {
            **{name: found[name] for name in ("win_rate", "profit_factor", "expectancy")},
            "closed_trades": len(closed),
            "realised_pnl": sum(closed, Decimal(0)),
            "fees": sum((fill["fees"] for fill in fills), Decimal(0)),
        }

    def depths(self) -> NDArray[np.float64]:
        """How far below its peak each snapshot is, a fraction."""
        peak = np.maximum(np.maximum.accumulate(self.history.value), float(self.cash))
        return np.asarray(1 - self.history.value / peak, dtype=np.float64)

    def days(self) -> dict[date, dict[str, float]]:
        """What each UTC day with snapshots was."""
        number = (self.history.at_ms - 1) // DAY_MS
        part, depth, held = exposures(self.history), self.depths(), self.history.coins > 0
        found = {}
        for day in np.unique(number).tolist():
            own = slice(*np.searchsorted(number, [day, day + 1]))
            found[day_of(day)] = {
                "snapshots": own.stop - own.start,
                "time_in_market": float(held[own].mean()),
                "average_exposure": float(part[own].mean()),
                "max_exposure": float(part[own].max()),
                "max_drawdown": float(depth[own].max()),
            }
        return found

    def fills_by_day(self) -> dict[date, dict[str, Any]]:
        """What was filled on each UTC day with fills."""
        by_day: dict[date, list[Mapping[str, Any]]] = defaultdict(list)
        for fill in self.history.fills:
            by_day[day_of(fill["at_ms"] // DAY_MS)].append(fill)
        return {day: filled(fills) for day, fills in by_day.items()}


def filled(fills: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fills together: amounts in quote currency, and how many there were."""
    closed = [fill["pnl"] for fill in fills if fill["pnl"] is not None]
    return {
        "realised_pnl": sum(closed, Decimal(0)),
        "fees": sum((fill["fees"] for fill in fills), Decimal(0)),
        "turnover": sum((fill["value"] for fill in fills), Decimal(0)),
        "fills": len(fills),
        "closed_trades": len(closed),
        "winning_trades": sum(pnl > 0 for pnl in closed),
    }


def exposures(history: History) -> NDArray[np.float64]:
    """Which part of the value is in coins, at each snapshot."""
    return np.divide(history.coins, history.value, out=np.zeros(history.value.size), where=history.value != 0)


def day_of(number: int) -> date:
    """The day with that number since 1970-01-01."""
    return to_datetime(number * DAY_MS).date()
