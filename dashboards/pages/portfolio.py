"""The portfolio page: all bots as one account, out of the dbt marts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import dash_ag_grid as dag
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboards.callbacks import on
from dashboards.components import Card, downloads, empty, failure, moment, panel, segment
from dashboards.components import cards as in_a_row
from dashboards.figures.portfolio import Period, calendar_figure, combined_figure, profit_figure
from dashboards.figures.style import CONFIG
from dashboards.formatting import DASH, money, percent
from dashboards.formatting import strategy as strategy_words
from dashboards.grids import COLUMN, PORTFOLIO_COLUMNS, grid_options
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.queries import portfolio as queries
from dashboards.rows import epoch_ms
from dashboards.services import Services
from dashboards.theme import Scheme

EVERY_MS = 60_000
FRESH_S = 10.0
"""How old it may be: the marts are built every quarter of an hour."""
Shown = Period | Literal["calendar"]
PERIODS: tuple[Shown, ...] = ("calendar", "day", "week", "month")
UPPER, LOWER = "max(300px, 40vh - 20px)", "max(252px, 40vh - 68px)"
"""Heights of the equity and of what is below it: at 800 px all is in view, taller screens are filled."""
QUOTE = "USDT"


async def layout(services: Services, query: dict[str, str]) -> Any:
    """The frame; its content is read by the callback, and again every minute."""
    return html.Div(
        [
            html.Div(html.Div(className="skeleton run-skeleton"), id="portfolio-view"),
            dcc.Interval(id="portfolio-clock", interval=EVERY_MS),
        ],
        className="portfolio",
    )


def view(
    engine: Engine,
    dagster_url: str,
    scheme: Scheme,
    live: Sequence[dict[str, Any]],
    now: datetime,
    by: Shown = "calendar",
) -> Any:
    """Cards, equity, daily profit and each bot's part; a designed face while there is nothing to sum.

    live: all bots as the live page shows them, for as long as the marts are not built; now: exchange time;
    by: a square a day, or what a bar of profit covers
    """
    if not queries.built(engine):
        return live_view(live, queries.live_curve(engine, now), dagster_url, scheme) if live else _no_value()
    days, bots, points = queries.days(engine), queries.bots(engine), queries.curve(engine)
    if not days or not bots:
        return _no_value()
    return html.Div(
        [
            cards(days, bots, points),
            panel(
                _graph(combined_figure(points, QUOTE, scheme), "portfolio-equity", UPPER),
                title="Equity of all bots",
                tools=html.Span(
                    ["Computed up to ", moment(max(filter(None, (epoch_ms(p["at"]) for p in points))))],
                    className="muted small",
                    title="Time of the newest snapshot, on the exchange's clock",
                )
                if points
                else None,
            ),
            html.Div(
                [
                    panel(
                        _table(table_rows(bots)),
                        title="Bots",
                        tools=downloads("/api/portfolio/bots"),
                        className="wide",
                    ),
                    panel(
                        _graph(_profit(days, by, scheme), "portfolio-daily", LOWER),
                        title="P&L (UTC)",
                        tools=html.Div(_periods(by), className="segments"),
                    ),
                ],
                className="halves",
            ),
        ],
        className="run-result",
    )


def _profit(days: Sequence[dict[str, Any]], by: Shown, scheme: Scheme) -> dict[str, Any]:
    if by == "calendar":
        return calendar_figure(days, QUOTE, scheme)
    return profit_figure(days, by, QUOTE, scheme)


def _periods(chosen: Shown) -> list[html.Span]:
    return [segment(name.capitalize(), f"{PAGE.path}?by={name}", name == chosen) for name in PERIODS]


def _no_value() -> Any:
    text = "A bot counts from its first judged candle on. Start one on the live page."
    start = html.A("Go to the live page", href="/", className="button primary")
    return html.Div(empty("No bot has a value yet", text, start), className="panel")


def live_view(
    bots: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]], dagster_url: str, scheme: Scheme
) -> Any:
    """What is known without the marts: values at the last prices, the last day's equity of snapshots."""
    note = html.Span(
        [
            "Live values. History and daily profit are computed every quarter of an hour by ",
            html.A("Dagster", href=dagster_url, target="_blank", rel="noopener"),
            ".",
        ],
        className="muted small",
    )
    equity = (
        _graph(combined_figure(points, QUOTE, scheme), "portfolio-equity", UPPER)
        if points
        else empty("No snapshot yet", "Each bot stores its value at every candle it judges.")
    )
    return html.Div(
        [
            live_cards(bots),
            panel(equity, title="Equity of all bots, last 24 hours", tools=note),
            panel(_table(live_rows(bots)), title="Bots", tools=downloads("/api/bots"), className="wide"),
        ],
        className="run-result",
    )


def live_cards(bots: Sequence[dict[str, Any]]) -> html.Div:
    """The account in four numbers. bots: rows of the hub, at least one."""
    value, made, today = (sum(bot[name] for bot in bots) for name in ("value", "pnl", "pnl_today"))
    running = sum(bot["shown"] == "running" for bot in bots)
    return in_a_row(
        [
            (f"Value, {QUOTE}", money(value), "", f"{len(bots)} bots, cash and coins at the last price"),
            ("P&L", money(made, signed=True), _tone(made), "Since the start, fees deducted"),
            ("P&L %", percent(made / (value - made) if value != made else None), _tone(made), "Of all cash"),
            ("P&L today", money(today, signed=True), _tone(today), "Since 00:00 UTC"),
            ("Running", f"{running} of {len(bots)}", "", "Bots that judge candles"),
        ]
    )


def live_rows(bots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table from the hub's; what only the marts know is empty."""
    total = sum(bot["value"] for bot in bots)
    return [
        {
            "bot": bot["bot_id"],
            "strategy": bot["strategy"],
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


def cards(
    days: list[dict[str, Any]], bots: list[dict[str, Any]], points: Sequence[dict[str, Any]]
) -> html.Div:
    """The account in seven numbers. days: oldest first; bots, points: queries.portfolio's."""
    last = days[-1]
    value = sum(float(bot["current_value"]) for bot in bots)
    made = sum(float(bot["pnl"]) for bot in bots)
    growth = float(last["growth"]) - 1
    deepest = max(float(day["drawdown"]) for day in days)
    pairs = [
        (f"Value, {QUOTE}", money(value), "", f"{len(bots)} bots, cash and coins"),
        _in_coins(points),
        ("P&L", money(made, signed=True), _tone(made), "Since the start, fees deducted"),
        ("Growth", percent(growth), _tone(growth), "Daily returns chained: cash that joins is no profit"),
        ("P&L today", money(last["pnl"], signed=True), _tone(float(last["pnl"])), f"{last['day']} UTC"),
        ("Max drawdown", percent(-deepest), "down" if deepest else "", "Of daily closing values"),
        _costs(days, bots),
    ]
    return in_a_row(pairs)


def _in_coins(points: Sequence[dict[str, Any]]) -> Card:
    equity, cash = (float(points[-1][name]) for name in ("equity", "cash")) if points else (0.0, 0.0)
    share = (equity - cash) / equity if equity else None
    return "In coins", percent(share, 0, signed=False), "", f"Of the value; {money(cash)} {QUOTE} are cash"


def _costs(days: list[dict[str, Any]], bots: list[dict[str, Any]]) -> Card:
    fees = sum(float(bot["fees"] or 0) for bot in bots)
    turnover = sum(float(day["turnover"] or 0) for day in days)
    share = percent(fees / turnover, 3, signed=False) if turnover else DASH
    return "Fees", money(fees), "", f"All fills: {share} of {money(turnover)} {QUOTE} bought and sold"


def table_rows(bots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a bot, JSON-ready; `share` is its part of all bots' value, a fraction."""
    total = sum(float(bot["current_value"]) for bot in bots)
    rows = []
    for bot in bots:
        named = ("current_value", "pnl", "day_pnl", "total_return", "max_drawdown", "fees")
        values = {name: None if bot[name] is None else float(bot[name]) for name in named}
        rows.append(
            {
                "bot": bot["bot_name"],
                "strategy": strategy_words(bot["strategy_name"]),
                "share": values["current_value"] / total if total and values["current_value"] else None,
                **values,
                "max_drawdown": -(values["max_drawdown"] or 0.0),
            }
        )
    return rows


def _table(rows: list[dict[str, Any]]) -> dag.AgGrid:
    return dag.AgGrid(
        id="portfolio-bots",
        columnDefs=PORTFOLIO_COLUMNS,
        rowData=rows,
        getRowId="params.data.bot",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options("No bot has a value yet"),
        className="grid",
        style={"height": LOWER},
    )


def _tone(value: float) -> str:
    return "" if not value else "up" if value > 0 else "down"


def _graph(figure: dict[str, Any], name: str, height: str) -> html.Div:
    """A chart whose room is there before it is drawn, so that nothing jumps."""
    graph = dcc.Graph(id=name, figure=figure, config=CONFIG, responsive=True, style={"height": "100%"})
    return html.Div(graph, style={"height": height})


def register(dash: Dash, services: Services) -> None:
    """Read the marts when the page opens, and every minute."""

    @on(
        dash,
        Output("portfolio-view", "children"),
        Input("portfolio-clock", "n_intervals"),
        Input("url", "search"),
        State("url", "pathname"),
        State("scheme", "data"),
    )
    async def read(_turn: int | None, search: str | None, pathname: str, scheme: str | None) -> Any:
        if pathname.rstrip("/") != PAGE.path:
            return no_update
        address = f"http://127.0.0.1:{services.settings.dagster_port}/"
        try:
            asked: Scheme = "light" if scheme == "light" else "dark"
            hub, by = services.hub, _by(search)
            key = (asked, by, await services.query(queries.built))
            given = (address, asked, hub.bots, hub.exchange_now(), by)
            return await services.share(FRESH_S, key, view, *given)
        except SQLAlchemyError as error:
            return failure("The portfolio cannot be read", error)


def _by(search: str | None) -> Shown:
    asked = parameters(search).get("by")
    return next((name for name in PERIODS if name == asked), PERIODS[0])


PAGE = Page("/portfolio", "Portfolio", "portfolio", layout, register)
