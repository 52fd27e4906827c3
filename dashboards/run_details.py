"""What stands behind the numbers of a backtest: how sure they are, its months, and how its trades ended. In a
worker thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from dash import html
from sqlalchemy import Engine

from core.statistics.bootstrap import CONFIDENCE, RESAMPLES, optimal_block_length
from core.timeframes import Timeframe
from dashboards.formatting import DASH, MINUS, THIN, measure, percent
from pipelines.reports.calendar import monthly
from pipelines.reports.wording import PACE, between, titled
from pipelines.validation.periods import Periods, periods_of
from pipelines.validation.trials import Trials
from pipelines.validation.validate import intervals, sharpe_of
from pipelines.warehouse.trials import read_trials

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SURE = ("total_return", "sharpe", "max_drawdown", "win_rate")
Run = Mapping[str, Any]


def believed(
    engine: Engine, run: Run, curve: pl.DataFrame, trades: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """`intervals`, `sharpe` and `returns` as `pipelines.validation.validate` has them: what was stored with
    the run, else computed from its stored curve, in which the ends of hours or days were kept."""
    stored = run["validation"] or {}
    if {"intervals", "sharpe", "returns"} <= stored.keys():
        return dict(stored)
    periods = _periods(run, curve)
    pnl = np.array([trade["pnl"] for trade in trades if trade["pnl"] is not None], dtype=np.float64)
    length = optimal_block_length(periods.returns)
    family = (run["strategy_name"], run["symbol"], run["timeframe"])
    trials = Trials(*read_trials(engine, *family, run["parameters"], run["exchange"]))
    return {
        "intervals": intervals(periods, pnl, length),
        "sharpe": sharpe_of(periods, trials),
        "returns": {"period": periods.unit, "observations": int(periods.returns.size)},
    }


def _periods(run: Run, curve: pl.DataFrame) -> Periods:
    own = curve if "close" in curve.columns else curve.with_columns(close=pl.lit(1.0))
    return periods_of(own, float(run["initial_cash"]), Timeframe(run["timeframe"]).ms)


def sure_rows(run: Run, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as `sure_table` for a file: of each measure what was found and the ends of its interval, None
    where there is none; the probabilities that the true Sharpe ratio is above zero, deflated by `trials`.
    period, observations, period_sharpe: the returns that were resampled, and the ratio of those."""
    metrics, sharpe, returns = run["metrics"] or {}, found["sharpe"], found["returns"]
    resampled = {"period": returns["period"], "observations": returns["observations"]}
    rows: list[dict[str, Any]] = [
        {
            "measure": name,
            "found": metrics.get(name),
            "low": pair[0],
            "high": pair[1],
            "trials": None,
            "period_sharpe": sharpe["value"] if name == "sharpe" else None,
            **resampled,
        }
        for name in SURE
        for pair in [found["intervals"].get(name) or (None, None)]
    ]
    nothing = {"low": None, "high": None, "period_sharpe": None, **resampled}
    for name, trials in (("probabilistic", None), ("deflated", sharpe["trials"])):
        rows.append({"measure": f"{name}_sharpe", "found": sharpe[name], "trials": trials, **nothing})
    return rows


def sure_table(run: Run, found: Mapping[str, Any]) -> html.Div:
    """Each number with the interval that its own past allows, and what many tries leave of it."""
    metrics, sharpe = run["metrics"] or {}, found["sharpe"]
    lines = [
        (titled(name), measure(name, metrics.get(name)), between(name, found, measure, DASH)) for name in SURE
    ]
    tried = sharpe["trials"]
    lines += [
        ("Skill, not luck", percent(sharpe["probabilistic"], 0, False), "that the true Sharpe is above 0"),
        (
            "… after all variants tried",
            percent(sharpe["deflated"], 0, False),
            DASH if tried is None else f"{tried:,} on this market, deflated Sharpe",
        ),
    ]
    body = [
        html.Tr(
            [
                html.Th(name, scope="row"),
                html.Td(value, className="numeric right"),
                html.Td(more, className="numeric right muted"),
            ]
        )
        for name, value, more in lines
    ]
    heads = ("", "Found", f"{percent(CONFIDENCE, 0, False)} interval")
    head = [html.Th(text, scope="col", className="right" if n else "") for n, text in enumerate(heads)]
    returns = found["returns"]
    said = (
        f"Stationary bootstrap of {returns['observations']:,} {PACE[returns['period']]} returns, "
        f"{RESAMPLES:,} resamples. A dash: fewer than ten of them."
    )
    return html.Div(
        [
            html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className="plain even"),
            html.P(said, className="muted small padded"),
        ]
    )


def months_table(curve: pl.DataFrame, cash: float) -> html.Div:
    """Returns by month (UTC), a line a year, the newest first."""
    body = []
    for year, months, whole in reversed(monthly(curve, cash)):
        cells = [_month(value) for value in months]
        body.append(html.Tr([html.Th(str(year), scope="row"), *cells, _month(whole, "strong")]))
    head = [html.Th("", scope="col"), *(html.Th(name, scope="col", className="right") for name in MONTHS)]
    head.append(html.Th("Year", scope="col", className="right"))
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className="plain even months"),
        className="scroll",
        tabIndex=0,
    )


def _month(value: float | None, more: str = "") -> html.Td:
    if value is None:
        return html.Td("", className="right")
    tone = "up" if value > 0 else "down" if value < 0 else ""
    text = f"{value * 100:+.1f}".replace("-", MINUS) + f"{THIN}%"
    return html.Td(text, className=f"numeric right {tone} {more}".strip())
