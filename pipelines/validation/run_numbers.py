"""What backtests, walk-forwards and sweeps said of themselves when they ended."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from core.metrics import DAY_MS
from pipelines.validation.bot_numbers import Life, Number

HOURS_A_DAY = 24
OF_BACKTESTS = ("total_return", "sharpe", "max_drawdown", "win_rate", "profit_factor", "closed_trades")
OF_WALKS = ("total_return", "sharpe", "max_drawdown")
Row = Mapping[str, Any]


def of_backtest(run: Row) -> dict[str, Number]:
    """What the engine reported of a backtest."""
    metrics = run["metrics"] or {}
    return {**{name: metrics.get(name) for name in OF_BACKTESTS}, "pnl": run["ended_with"] - run["cash"]}


def of_walk(run: Row) -> dict[str, Number]:
    """What a walk-forward reported of its record, and its windows on average."""
    metrics = run["metrics"] or {}
    tested = [window["total_return"] for window in run["tested"]]
    return {
        **{name: metrics.get(name) for name in OF_WALKS},
        "windows": len(tested),
        "average_train_return": _mean([window["total_return"] for window in run["trained"]]),
        "average_test_return": _mean(tested),
        "share_profitable": sum(earned > 0 for earned in tested) / len(tested),
    }


def of_sweep(walked: int | None, rows: Sequence[tuple[float | None, float | None]]) -> dict[str, Number]:
    """A sweep's combinations together. walked: how many there were, None: as many as rows; rows: Sharpe ratio
    and return of each that was kept, the best first. Where not all were, the best ones say nothing of all."""
    sharpes = [sharpe for sharpe, _ in rows if sharpe is not None]
    returns = [earned for _, earned in rows if earned is not None]
    of_all: dict[str, Number] = {
        "best_sharpe": max(sharpes, default=None),
        "median_sharpe": median(sharpes) if sharpes else None,
        "median_return": median(returns) if returns else None,
        "share_profitable": sum(earned > 0 for earned in returns) / len(rows),
    }
    combinations = len(rows) if walked is None else walked
    return {
        "combinations": combinations,
        "kept": len(rows),
        "sharpe_of_best": rows[0][0],
        "return_of_best": rows[0][1],
        **(of_all if combinations == len(rows) else dict.fromkeys(of_all)),
    }


def of_pair(run: Row | None, life: Life | None) -> dict[str, Number]:
    """A bot's life beside its backtest; what is not there has no numbers."""
    found: dict[str, Number] = {}
    if run is not None:
        metrics = run["metrics"] or {}
        days = (run["ended_at"] - run["started_at"]).total_seconds() * 1000 / DAY_MS
        depth = metrics.get("max_drawdown")
        numbers = {**metrics, "max_drawdown": None if depth is None else -depth}
        found |= _side("backtest", numbers, days)
    if life is not None:
        at_ms = life.history.at_ms
        found |= _side("live", life.numbers(is_whole=False), float(at_ms[-1] - at_ms[0]) / DAY_MS)
    return found


def _side(name: str, numbers: Mapping[str, Any], days: float) -> dict[str, Number]:
    closed = numbers.get("closed_trades")
    return {
        f"{name}_days": days,
        f"{name}_daily_return": _daily(numbers.get("total_return"), days),
        **{f"{name}_{metric}": numbers.get(metric) for metric in ("sharpe", "max_drawdown", "win_rate")},
        f"{name}_trades_a_day": None if closed is None or not days else closed / days,
    }


def _daily(earned: float | None, days: float) -> float | None:
    """Return a day that compounds to the whole; None for less than an hour."""
    if earned is None or days * HOURS_A_DAY < 1:
        return None
    return -1.0 if earned <= -1 else float((1 + earned) ** (1 / days) - 1)


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
