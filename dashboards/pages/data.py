"""The data health page: is what is stored whole, final and equal to the exchange's, and how to fill it."""

from datetime import date, timedelta
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards import health
from dashboards.api.documents import MAX_LIMIT
from dashboards.backfills import Backfills
from dashboards.callbacks import on
from dashboards.chart_room import chart
from dashboards.components import cards, downloads, empty, failure, icon, panel
from dashboards.figures.data import QUALITY_MINUTES, WORDS, coverage_figure, first_day, quality_figure
from dashboards.figures.style import CONFIG
from dashboards.forms import period_field
from dashboards.grids import COLUMN, DIFFERENCE_COLUMNS, GAP_COLUMNS, SERIES_COLUMNS, grid_options
from dashboards.jobs import QueueFull
from dashboards.pages.page import Page
from dashboards.queries import data as queries
from dashboards.queries import market, system
from dashboards.rows import day_start
from dashboards.services import Services
from dashboards.theme import Scheme
from pipelines.warehouse.quality import recent_quality

EVERY_MS = 15_000
FRESH_S = 5.0
SETTLED_S = 600.0
"""How old the counts of past days may be: they take some 300,000 rows, and change by backfills alone."""
BACKFILLS_MS = 2_000
SHOWN = 200
QUIET = CONFIG | {"scrollZoom": False, "displayModeBar": False}
ALREADY = "what is stored is not fetched again"
FORM = ("kind", "symbol", "timeframe", "period")


async def layout(services: Services, query: dict[str, str]) -> Any:
    """The frame; what is in it is read by the callback, and again every quarter of a minute."""
    return html.Div(
        [
            html.Div(html.Div(className="skeleton cards-skeleton"), id="health-cards"),
            html.Div(
                [
                    panel(
                        html.Div(className="skeleton calendar", id="health-coverage"),
                        title="Stored days",
                        tools=_legend(),
                    ),
                    panel(await _form(services), title="Fetch history", className="backfill"),
                ],
                className="halves",
            ),
            html.Div(
                [
                    panel(
                        html.Div(className="skeleton calendar", id="health-quality"),
                        title="Connections, last hour",
                        tools=[
                            html.Span(
                                "trade to arrival · ✕ lost ids, cuts, silences", className="muted small"
                            ),
                            downloads("/api/data/quality", limit=MAX_LIMIT),
                        ],
                    ),
                    panel(
                        html.Div(id="health-finality"),
                        title="1m candles of today (UTC)",
                        tools=downloads("/api/data/finality"),
                    ),
                ],
                className="twins",
            ),
            html.Div(
                [
                    _table(
                        "health-gaps",
                        GAP_COLUMNS,
                        "Holes in the trades",
                        "No trade was ever missed",
                        "/api/data/gaps",
                    ),
                    _table(
                        "health-differences",
                        DIFFERENCE_COLUMNS,
                        "Candles that differed",
                        "Every compared candle equals the exchange's own",
                        "/api/data/differences",
                    ),
                ],
                className="tables",
            ),
            _table(
                "health-series",
                SERIES_COLUMNS,
                "Stored series",
                "No candle is stored yet",
                "/api/data/series",
            ),
            dcc.Interval(id="health-clock", interval=EVERY_MS),
            dcc.Interval(id="backfill-clock", interval=BACKFILLS_MS),
        ],
        className="run-result",
    )


def _legend() -> html.Div:
    tokens = ("raised", "warning", "accent", "up")
    return html.Div(
        [
            html.Span([html.I(style={"background": f"var(--{token})"}), words])
            for token, words in zip(tokens, WORDS, strict=True)
        ],
        className="legend muted small",
    )


def _table(name: str, columns: list[dict[str, Any]], title: str, nothing: str, files: str) -> html.Section:
    grid = dag.AgGrid(
        id=name,
        columnDefs=columns,
        rowData=None,
        getRowId="params.data.id",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options(nothing),
        className="grid",
        style={"height": "250px"},
    )
    return panel(grid, title=title, tools=downloads(files, limit=MAX_LIMIT))


async def _form(services: Services) -> Any:
    symbols = sorted({*services.settings.symbol_list, *await services.query(market.symbols)})
    today = services.hub.exchange_now().date()
    kinds = [{"value": "candles", "label": "Candles"}, {"value": "trades", "label": "Trades"}]
    small = {"size": "xs", "allowDeselect": False}
    return html.Div(
        [
            html.Div(
                [
                    dmc.Select(id="backfill-kind", label="What", data=kinds, value="candles", **small),
                    dmc.Select(id="backfill-symbol", label="Symbol", data=symbols, value=symbols[0], **small),
                    dmc.Select(
                        id="backfill-timeframe", label="Timeframe", data=list(Timeframe), value="1m", **small
                    ),
                ],
                className="thirds",
            ),
            period_field("backfill-period", today, today, f"UTC days, both included; {ALREADY}"),
            html.Button([icon("download"), "Fetch"], id="backfill-start", className="button primary wide"),
            html.Div("", id="backfill-problem", className="problem", role="alert"),
            html.Ul(id="backfill-list", className="runs-list"),
        ],
        className="form-fields padded",
    )


def read_period(period: list[str] | None) -> tuple[date, date]:
    """First and last day of the form; BadInput when one is missing."""
    if not period or not all(period):
        raise BadInput("period", "choose the first and the last day")
    first, last = (date.fromisoformat(str(day)[:10]) for day in period)
    return first, last


def backfill_items(backfills: Backfills) -> list[html.Li]:
    """One line a backfill, the newest first."""
    tones = {"failed": "bad", "done": "good"}
    items = []
    for row in [backfill.row() for backfill in backfills.asked]:
        state = html.Span(
            [html.Span(className="dot"), row["state"].capitalize()],
            className="state",
            **{"data-tone": tones.get(row["state"], "warn")},
        )
        what = html.Span([html.B(row["what"]), html.Span(row["days"], className="muted numeric")])
        said: list[Any] = [state, html.Span(row["said"], className="muted")]
        if row["address"]:
            said.append(html.A("in Dagster", href=row["address"], target="_blank", rel="noopener"))
        items.append(html.Li([what, html.Span(said)]))
    return items


def register(dash: Dash, services: Services) -> None:
    """Read what is stored, and start backfills."""
    _register_reading(dash, services)
    _register_backfills(dash, services)


def _register_reading(dash: Dash, services: Services) -> None:
    @on(
        dash,
        *(Output(f"health-{name}", "children") for name in ("cards", "coverage", "quality", "finality")),
        *(Output(f"health-{name}", "className") for name in ("coverage", "quality")),
        *(Output(f"health-{name}", "rowData") for name in ("gaps", "differences", "series")),
        Input("health-clock", "n_intervals"),
        State("scheme", "data"),
    )
    async def read(_turn: int | None, scheme: str | None) -> Any:
        try:
            asked: Scheme = "light" if scheme == "light" else "dark"
            return await services.shared.get((PAGE.path, asked), FRESH_S, lambda: _read(services, asked))
        except SQLAlchemyError as error:
            return failure("The data's health cannot be read", error), *([no_update] * 8)


async def _read(services: Services, scheme: Scheme) -> tuple[Any, ...]:
    now, feed = services.hub.exchange_now(), services.hub.feed.document(services.hub.feed_now_ms())
    today = now.date()
    begin = first_day(today)
    symbols = await services.query(market.symbols)
    gaps = await services.query(system.gaps, SHOWN)
    differences = await services.query(system.differences, SHOWN)
    quality = await services.query(recent_quality, QUALITY_MINUTES)
    finality = await services.query(queries.finality, symbols, day_start(now), now)
    stored = await _coverage(services, symbols, begin, today)
    archived = await services.query(queries.archived, begin, today)
    lake = await services.query(system.lake_summary)
    trouble = await services.query(system.trouble)
    coverage = (
        chart("coverage-chart", coverage_figure(stored, archived, now, scheme), config=QUIET)
        if stored
        else empty(
            "No candle is stored yet", "The daemon stores them from its start; older days are fetched here."
        )
    )
    connections = (
        chart("quality-chart", quality_figure(quality, scheme), config=QUIET)
        if quality
        else empty(
            "No connection was measured yet", "The daemon stores a line a minute: `tcp up` or `tcp live`."
        )
    )
    return (
        cards(health.cards(feed, trouble, finality, quality, lake), "six"),
        coverage,
        connections,
        health.finality_table(finality, await services.query(system.reconciled)),
        "calendar",
        "calendar",
        health.gap_rows(gaps),
        health.difference_rows(differences),
        health.series_rows(await services.query(system.freshness), now),
    )


async def _coverage(services: Services, symbols: list[str], begin: date, today: date) -> list[dict[str, Any]]:
    """Candles by day. Days before yesterday change by backfills alone, and are counted now and then."""
    recent = today - timedelta(days=1)
    over = sum(backfill.job is not None and backfill.job.ended for backfill in services.backfills.asked)
    key, ends = (*symbols, begin, over), (begin, recent - timedelta(days=1))
    settled = await services.share(SETTLED_S, key, queries.coverage, symbols, *ends)
    return [*settled, *await services.query(queries.coverage, symbols, recent, today)]


def _register_backfills(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("backfill-problem", "children"),
        Output("backfill-list", "children"),
        Input("backfill-start", "n_clicks"),
        *(State(f"backfill-{name}", "value") for name in FORM),
        prevent_initial_call=True,
    )
    async def start(_clicks: int, kind: Any, symbol: str, timeframe: str, period: list[str]) -> Any:
        try:
            services.backfills.start(kind, symbol, timeframe, *read_period(period))
        except (BadInput, QueueFull) as error:
            return str(error), no_update
        return "", backfill_items(services.backfills)

    @on(
        dash,
        Output("backfill-list", "children", allow_duplicate=True),
        Input("backfill-clock", "n_intervals"),
        prevent_initial_call="initial_duplicate",
    )
    async def follow(_turn: int | None) -> Any:
        return backfill_items(services.backfills)

    @on(dash, Output("backfill-timeframe", "disabled"), Input("backfill-kind", "value"))
    async def only_candles(kind: str) -> bool:
        return kind != "candles"


PAGE = Page("/data", "Data", "data", layout, register)
