"""A stored backtest as a page shows it: cards, figures and tables. Runs in a worker thread."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import html
from sqlalchemy import Engine

from core.timeframes import Timeframe
from dashboards.api.documents import MAX_LIMIT
from dashboards.candles import candles_between
from dashboards.chart_room import chart
from dashboards.components import downloads, empty, icon, panel
from dashboards.figures.run import MOST_MARKERS, equity_figure, returns_figure, trades_figure
from dashboards.formatting import DASH, cents, money, percent, strategy, utc
from dashboards.queries import bots as bot_queries
from dashboards.queries import comparisons
from dashboards.queries import runs as queries
from dashboards.queries.candles import spans
from dashboards.rows import epoch_ms, price_decimals
from dashboards.run_details import believed, months_table, sure_table
from dashboards.run_trades import returned, trades_table
from dashboards.theme import Scheme
from pipelines.warehouse.run_notes import LONGEST
from pipelines.warehouse.sql import EXCHANGE

MOST_CANDLES = 3000
"""Candles in the picture; a longer stretch is drawn in a longer timeframe."""


def result_view(engine: Engine, run_id: str, scheme: Scheme) -> Any:
    """Everything about one run, top to bottom."""
    run = queries.run(engine, run_id)
    if run is None or run["kind"] != "backtest":
        return empty("There is no such backtest", f"No run has the id {run_id}.")
    if run["status"] == "failed":
        return empty("This backtest failed", run["error"] or "No reason was kept.")
    trades = queries.run_trades(engine, run_id)
    curve, cash = comparisons.run_curve(engine, run_id), float(run["initial_cash"])
    symbol = run["symbol"]
    base, _, quote = symbol.partition("-")
    drawn, candles = picture(engine, run)
    instrument = bot_queries.instrument(engine, symbol, run["exchange"] or EXCHANGE)
    tick = instrument["tick_size"] if instrument else None
    decimals = price_decimals(tick, float(candles["close"][-1]) if candles.height else 0.0)
    drawn_curve = equity_figure(curve, holding(curve, cash), cash, quote, scheme)
    markers = trades_figure(candles, trades, drawn.ms, decimals, base, quote, scheme)
    return html.Div(
        [
            heading(run),
            _note_field(run),
            cards(run),
            panel(
                chart("run-equity", drawn_curve, "260px"),
                title="Equity",
                tools=downloads(f"/api/backtest/results/{run_id}/equity", limit=MAX_LIMIT),
            ),
            panel(
                chart("run-trades-chart", markers, "340px"),
                title="Trades on the chart",
                tools=_note(run, drawn, trades),
            ),
            *_behind(engine, run, curve, trades, scheme),
            panel(
                trades_table(trades, decimals, cents(quote)),
                title=f"Trades ({len(trades):,})",
                tools=downloads(f"/api/backtest/results/{run_id}"),
            ),
        ],
        className="run-result",
    )


def _behind(
    engine: Engine, run: dict[str, Any], curve: pl.DataFrame, trades: list[dict[str, Any]], scheme: Scheme
) -> list[html.Section | html.Div]:
    """How sure the numbers are beside how the trades ended, and the months; nothing without a curve."""
    if curve.is_empty():
        return []
    returns = [made for trade in trades if (made := returned(trade)) is not None]
    ended = (
        chart("run-returns", returns_figure(returns, scheme), "250px")
        if returns
        else empty("No round trip was closed", "Each is counted here by its return.")
    )
    return [
        html.Div(
            [
                panel(
                    sure_table(run, believed(engine, run, curve, trades)),
                    title="How sure is it?",
                    tools=downloads(f"/api/backtest/results/{run['id']}/certainty"),
                ),
                panel(ended, title="How its trades ended"),
            ],
            className="twins",
        ),
        panel(
            months_table(curve, float(run["initial_cash"])),
            title="Months (UTC)",
            tools=downloads(f"/api/backtest/results/{run['id']}/months"),
        ),
    ]


def picture(engine: Engine, run: dict[str, Any]) -> tuple[Timeframe, pl.DataFrame]:
    """The candles of a run's stretch, of its exchange, in its own timeframe or the shortest longer one that
    fits; without the one that closed as the first judged one opened."""
    own, symbol, exchange = Timeframe(run["timeframe"]), run["symbol"], run["exchange"] or EXCHANGE
    start_ms, end_ms = epoch_ms(run["start_time"]) or 0, epoch_ms(run["end_time"]) or 0
    fitting = [
        frame for frame in Timeframe if frame.ms >= own.ms and (end_ms - start_ms) / frame.ms <= MOST_CANDLES
    ]
    frame, found = fitting[0] if fitting else Timeframe.D1, spans(engine, symbol, exchange)
    return frame, candles_between(engine, symbol, frame, start_ms + 1, end_ms, found, exchange)


def holding(curve: pl.DataFrame, cash: float) -> pl.DataFrame | None:
    """What the cash would have become in the coin, bought at the run's first close, at the times of the
    curve: as long as that, whatever candles are drawn. None where the curve was kept without prices."""
    if curve.is_empty() or "close" not in curve.columns:
        return None
    return curve.select("timestamp", (pl.col("close") / pl.col("close").first() * cash).alias("equity"))


def heading(run: dict[str, Any]) -> html.Div:
    """What was tested, in one line."""
    values = ", ".join(described(run["parameters"])) or "no parameters"
    return html.Div(
        [
            html.H2(strategy(run["strategy_name"])),
            html.Span(f"{run['symbol']} · {run['timeframe']}", className="badge"),
            html.Span(
                f"{utc(run['start_time'])[:16]} – {utc(run['end_time'])[:16]} UTC", className="muted numeric"
            ),
            html.Span(f"{run['candles']:,} candles", className="muted numeric"),
            html.Span(values, className="muted"),
            html.A(
                [icon("play"), "Change and repeat"],
                href=f"/backtests?run={run['id']}",
                className="button push-right",
                title="Its settings into the form",
                hidden=not is_repeatable(run),
            ),
        ],
        className="run-heading",
    )


def is_repeatable(run: Mapping[str, Any]) -> bool:
    """Whether the form can ask for it again: it knows the exchange in force alone."""
    return run["kind"] == "backtest" and run["status"] == "done" and run["exchange"] in (None, EXCHANGE)


def _note_field(run: dict[str, Any]) -> dmc.TextInput:
    """Where people write what they learned; kept when they leave it or press Enter."""
    return dmc.TextInput(
        id="run-note",
        value=run["note"] or "",
        placeholder="Note: what was tried, what was learned …",
        inputProps={"maxLength": LONGEST},
        debounce=True,
        size="xs",
        **{"aria-label": "Note"},
    )


def described(values: Mapping[str, Any]) -> list[str]:
    """`fast period 12`, `stop loss 0.03`: each value of a run, those of its blocks too."""
    found = []
    for name, value in values.items():
        inner = value if isinstance(value, dict) else {name: value}
        found += described(inner) if inner is value else [f"{name.replace('_', ' ')} {value}"]
    return found


def cards(run: dict[str, Any]) -> html.Div:
    """The numbers that matter, first the one that people look for."""
    metrics = run["metrics"] or {}
    value, quote = run["final_value"], run["symbol"].partition("-")[2]
    places = cents(quote)
    pairs = [
        (
            "Total return",
            percent(metrics.get("total_return")),
            _tone(metrics.get("total_return")),
            f"{money(float(run['initial_cash']), places)} became {money(value, places)} {quote}",
        ),
        (
            "Buy and hold",
            percent(metrics.get("buy_and_hold_return")),
            _tone(metrics.get("buy_and_hold_return")),
            "The same cash put into the coin at the start",
        ),
        (
            "Max drawdown",
            percent(metrics.get("max_drawdown")),
            "down" if metrics.get("max_drawdown") else "",
            "Deepest fall from a peak of equity",
        ),
        ("Sharpe", money(metrics.get("sharpe")), "", "Yearly, from daily returns where there are enough"),
        ("Sortino", money(metrics.get("sortino")), "", "As Sharpe, but only losses count as risk"),
        ("Win rate", percent(metrics.get("win_rate"), 0, False), "", "Of closed round trips"),
        ("Profit factor", money(metrics.get("profit_factor")), "", "Gross profit over gross loss"),
        ("Trades", f"{metrics.get('trades', 0):,}", "", "Round trips"),
        ("Fees", money(metrics.get("fees"), places), "", f"Of all fills, {quote}"),
        (
            "Time in market",
            percent(metrics.get("exposure"), 0, False),
            "",
            "Share of candles with a position",
        ),
    ]
    return html.Div(
        [
            html.Div(
                [html.Span(name, className="muted small"), html.B(text, className=f"numeric {tone}")],
                className="card",
                title=hint if text != DASH else f"{hint}: not defined for this run",
            )
            for name, text, tone, hint in pairs
        ],
        className="cards",
    )


def run_row(run: dict[str, Any]) -> dict[str, Any]:
    """A run in the list of earlier ones."""
    metrics = run["metrics"] or {}
    return {
        "id": run["id"],
        "created_ms": epoch_ms(run["created_at"]),
        "strategy": " · ".join([strategy(run["strategy_name"]), *described(run["parameters"])]),
        "market": f"{run['symbol']} {run['timeframe']}",
        "period": _period(run["start_time"], run["end_time"], run["created_at"].year),
        "total_return": metrics.get("total_return"),
        "sharpe": metrics.get("sharpe"),
        "max_drawdown": metrics.get("max_drawdown"),
        "trades": metrics.get("trades"),
        "status": run["status"],
        "note": run["note"] or "",
    }


def _period(start: datetime | None, end: datetime | None, year: int) -> str:
    """Two days; without their year where both are of the given one."""
    if start is not None and end is not None and start.year == end.year == year:
        return f"{start:%m-%d} – {end:%m-%d}"
    return f"{_date(start)} – {_date(end)}"


def _date(moment: datetime | None) -> str:
    return DASH if moment is None else f"{moment:%Y-%m-%d}"


def _tone(value: float | None) -> str:
    return "" if not value else "up" if value > 0 else "down"


def _note(run: dict[str, Any], drawn: Timeframe, trades: list[dict[str, Any]]) -> html.Span:
    """What the picture leaves out."""
    said = []
    if drawn.value != run["timeframe"]:
        said.append(f"drawn in {drawn.value} candles")
    if len(trades) > MOST_MARKERS:
        said.append(f"the last {MOST_MARKERS:,} trades are marked")
    return html.Span(" · ".join(said), className="muted small")
