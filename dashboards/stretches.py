"""What is compared is measured over the time that all have: a run of two years says nothing beside a bot of
three days. Pure but for asking each for its trips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from core.metrics import DAY_MS, cagr, daily_equity, drawdown, returns, sharpe, sortino, volatility
from core.timeframes import Timeframe
from pipelines.validation.compare import Record

DAYS_A_YEAR = 365
LEAST = 2
"""Points of a curve that tell anything."""

Stretch = tuple[datetime, datetime]
Trips = Mapping[str, Any]
"""`trades` that were closed, `wins` among them, `gains`, `losses` and `fees`, quote currency."""


@dataclass(frozen=True)
class Compared:
    """One column: its record, what it is called, and what it came to. trips: of a first to a last time; life:
    from when to when it has values, of which the record may have a part."""

    record: Record
    name: str
    about: str
    metrics: Mapping[str, Any]
    trips: Callable[[datetime, datetime], Trips]
    life: Stretch

    @property
    def curve(self) -> pl.DataFrame:
        """timestamp and equity, at least two points."""
        assert self.record.equity is not None
        return self.record.equity

    @property
    def quote(self) -> str:
        """Currency of its money."""
        return str(self.record.document["symbol"]).partition("-")[2]

    @property
    def stretch(self) -> Stretch:
        """First and last time of its record."""
        return self.curve["timestamp"][0], self.curve["timestamp"][-1]


def overlap(lives: Sequence[Stretch]) -> Stretch | None:
    """The time that lies in all of them, None where there is none."""
    begin, end = max(first for first, _ in lives), min(last for _, last in lives)
    return (begin, end) if begin < end else None


def common(columns: Sequence[Compared]) -> Stretch | None:
    """The time that all have, None where there is none of which each has two points."""
    found = overlap([column.stretch for column in columns])
    has_points = found and all(within(column.curve, found).height >= LEAST for column in columns)
    return found if has_points else None


def within(curve: pl.DataFrame, stretch: Stretch) -> pl.DataFrame:
    """The points of a stretch, both ends included."""
    return curve.filter(pl.col("timestamp").is_between(*stretch))


def measured(columns: Sequence[Compared], stretch: Stretch | None) -> list[Compared]:
    """All of them over the stretch, or without one each over its own time: one that has more is measured
    anew, from its value at the beginning. None tells a growth a year of less than a day."""
    found = [
        column if stretch is None or column.stretch == stretch else _over(column, stretch)
        for column in columns
    ]
    return [_of_a_day(column, *(stretch or column.stretch)) for column in found]


def _of_a_day(column: Compared, begin: datetime, end: datetime) -> Compared:
    """Without `cagr` where the time is less than a day: stored runs have it of any length."""
    if column.metrics.get("cagr") is None or end - begin >= timedelta(days=1):
        return column
    return replace(column, metrics={**column.metrics, "cagr": None})


def _over(column: Compared, stretch: Stretch) -> Compared:
    part = within(column.curve, stretch)
    frame = Timeframe(column.record.document["timeframe"])
    found = curve_metrics(part, float(part["equity"][0]), frame, column.trips(*stretch))
    return replace(column, metrics=found)


def curve_metrics(
    curve: pl.DataFrame, cash: float, frame: Timeframe, trips: Trips
) -> dict[str, float | int | None]:
    """The metrics of core.metrics that a curve and trips tell. cash: value before the curve's first point."""
    equity = curve["equity"].to_numpy()
    close_ms = curve["timestamp"].dt.epoch("ms").to_numpy()
    daily = returns(daily_equity(equity, close_ms), cash)
    span = int(close_ms[-1] - close_ms[0]) + frame.ms
    return {
        "total_return": float(equity[-1] / cash - 1),
        "cagr": cagr(float(equity[-1] / cash), span) if span >= DAY_MS else None,
        "sharpe": sharpe(daily, DAYS_A_YEAR),
        "sortino": sortino(daily, DAYS_A_YEAR),
        "volatility": volatility(daily, DAYS_A_YEAR),
        "max_drawdown": drawdown(equity, close_ms, cash, frame.ms)[0],
        "win_rate": trips["wins"] / trips["trades"] if trips["trades"] else None,
        "profit_factor": trips["gains"] / -trips["losses"] if trips["losses"] else None,
        "trades": trips["trades"],
        "closed_trades": trips["trades"],
        "fees": trips["fees"],
    }
