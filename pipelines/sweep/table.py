"""From walked states to a table: a row a combination, its parameters and every metric."""

from typing import Any

import numpy as np
import polars as pl

from core.metrics import FLAT, METRICS, YEAR_MS
from pipelines.backtest.account import Floats, Ints
from pipelines.sweep import walk as w
from pipelines.sweep.prices import CLOSE_MS, Prices

COUNTS = ("trades", "closed_trades")


def metrics_of(floats: Floats, integers: Ints, prices: Prices, cash: float) -> dict[str, Any]:
    """Metric → column, by the formulas of `core.metrics`; NaN where undefined."""
    n, days, candle_ms = prices.close.size, prices.day_end.size, prices.candle_ms
    span_ms = prices.look[-1, CLOSE_MS] - prices.look[0, CLOSE_MS] + candle_ms
    trades = integers[:, w.TRADES]
    ratio = floats[:, w.EQUITY] / cash
    depth = floats[:, w.WORST] - 1
    with np.errstate(all="ignore"):
        growth = ratio ** (YEAR_MS / span_ms) - 1
        day_mean, bar_mean = floats[:, w.DAY_MEAN], floats[:, w.SUM] / n
        pnl_mean = np.where(trades > 0, floats[:, w.PNL_MEAN], np.nan)
        day_deviation = _deviation(floats[:, w.DAY_SPREAD], days)
        bar_deviation = _deviation(floats[:, w.SQUARES] - floats[:, w.SUM] * bar_mean, n)
        pnl_deviation = _deviation(floats[:, w.PNL_SPREAD], trades)
        downside = np.sqrt(floats[:, w.DAY_DOWN] / days) * (1.0 if days > 1 else np.nan)
        columns = {
            "total_return": ratio - 1,
            "cagr": growth,
            "sharpe": _sharpe(day_mean, day_deviation, 365),
            "sharpe_bar": _sharpe(bar_mean, bar_deviation, YEAR_MS / candle_ms),
            "sortino": day_mean / downside * np.sqrt(365),
            "calmar": growth / np.abs(depth),
            "volatility": day_deviation * np.sqrt(365),
            "max_drawdown": depth,
            "max_drawdown_duration": floats[:, w.LONGEST_MS] / 1000,
            "win_rate": integers[:, w.WINS] / trades,
            "profit_factor": floats[:, w.GAINS] / floats[:, w.LOSSES],
            "expectancy": pnl_mean,
            "sqn": np.sqrt(trades) * pnl_mean / pnl_deviation,
            "exposure": integers[:, w.HELD] / n,
            "turnover": floats[:, w.TRADED] / cash,
            "fees": floats[:, w.FEES],
            "trades": trades,
            "closed_trades": integers[:, w.CLOSED],
            "buy_and_hold_return": np.full(trades.size, prices.close[-1] / prices.close[0] - 1),
        }
    return {name: columns[name] for name in METRICS}


def table_of(
    symbol: str, timeframe: str, parameters: pl.DataFrame, metrics: dict[str, Any], errors: list[str | None]
) -> pl.DataFrame:
    """point, symbol, timeframe, parameters, metrics, error: a metric is null where it is undefined, all of
    them where there is an error. parameters: the points and their values."""
    failed = np.array([error is not None for error in errors], np.bool_)
    columns = [
        pl.Series("symbol", [symbol]).new_from_index(0, len(errors)),
        pl.Series("timeframe", [timeframe], dtype=pl.String).new_from_index(0, len(errors)),
        *(column for column in parameters.iter_columns() if column.name != "point"),
    ]
    for name in METRICS:
        values = np.asarray(metrics[name], dtype=np.float64)
        defined = np.where(np.isfinite(values) & ~failed, values, np.nan)
        column = pl.Series(name, defined, nan_to_null=True)
        columns.append(column.cast(pl.Int64) if name in COUNTS else column)
    return pl.DataFrame([parameters["point"], *columns, pl.Series("error", errors, dtype=pl.String)])


def _sharpe(mean: Floats, deviation: Floats, a_year: float) -> Floats:
    """See `core.metrics.sharpe`."""
    ratio: Floats = np.where(deviation > FLAT, mean / deviation, np.nan) * np.sqrt(a_year)
    return ratio


def _deviation(spread: Floats, count: Any) -> Floats:
    """Sample deviation from a sum of squared differences; NaN for fewer than two values."""
    freedom = np.asarray(count - 1, dtype=np.float64)
    deviation: Floats = np.sqrt(np.maximum(spread, 0.0) / np.where(freedom > 0, freedom, np.nan))
    return deviation
