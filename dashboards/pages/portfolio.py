"""The portfolio page: all bots of a currency as one account, out of the dbt marts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dash_ag_grid as dag
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboards import accounts
from dashboards.callbacks import on
from dashboards.chart_room import chart
from dashboards.components import downloads, empty, failure, moment, panel, segment
from dashboards.figures.portfolio import Period, calendar_figure, combined_figure, profit_figure
from dashboards.grids import COLUMN, grid_options, portfolio_columns
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.queries import portfolio as queries
from dashboards.rows import epoch_ms
from dashboards.services import Services
from dashboards.theme import Scheme

EVERY_MS = 60_000
FRESH_S = 10.0
"""How old it may be: the marts are built every quarter of an hour."""
STALE_AFTER = timedelta(minutes=30)
"""Wall time that the marts may be behind the bots: two builds."""
Shown = Period | Literal["calendar"]
PERIODS: tuple[Shown, ...] = ("calendar", "day", "week", "month")
UPPER, LOWER = "max(300px, 40vh - 20px)", "max(252px, 40vh - 68px)"
"""Heights of the equity and of what is below it: at 800 px all is in view, taller screens are filled."""


async def layout(services: Services, query: dict[str, str]) -> Any:
    """The frame; its content is read by the callback, and again every minute."""
    return html.Div(
        [
            html.Div(html.Div(className="skeleton run-skeleton"), id="portfolio-view"),
            dcc.Interval(id="portfolio-clock", interval=EVERY_MS),
        ],
        className="portfolio",
    )


@dataclass(frozen=True)
class Asked:
    """What the page is made for. dagster_url: who builds the marts; rate: exchange seconds a wall second; by:
    a square a day, or what a bar of profit covers."""

    dagster_url: str
    scheme: Scheme = "dark"
    by: Shown = "calendar"
    rate: float = 1.0


def view(engine: Engine, asked: Asked, live: Sequence[dict[str, Any]], now: datetime) -> Any:
    """Of each currency cards, equity, daily profit and each bot's part; a designed face while there is
    nothing to sum.

    live: all bots as the live page shows them, for currencies that the marts have no day of; now: exchange
    time
    """
    if not queries.built(engine):
        return live_view(live, queries.live_curve(engine, now), asked) if live else _no_value()
    days, points = accounts.by_quote(queries.days(engine)), accounts.by_quote(queries.curve(engine))
    bots, of_bots = accounts.by_quote(queries.bots(engine)), accounts.by_quote(live)
    curves = accounts.by_quote(queries.live_curve(engine, now) if of_bots.keys() - days.keys() else ())
    is_stale = queries.behind(engine) > STALE_AFTER * asked.rate
    parts: list[tuple[str, list[Any]]] = []
    for quote, suffix in _in_order(of_bots | bots):
        if quote in bots and quote in days:
            account = Account(quote, days[quote], bots[quote], points[quote], suffix)
            parts.append((quote, _account(account, asked, is_stale, now)))
        elif quote in of_bots:
            known = of_bots[quote], curves.get(quote, [])
            parts.append((quote, _live_account(quote, *known, asked, suffix, is_stale)))
    return _page(parts, is_stale and not bots.keys().isdisjoint(days)) if parts else _no_value()


def _in_order(bots: Mapping[str, Sequence[Any]]) -> list[tuple[str, str]]:
    """(currency, what the ids of its parts end with), the one of most bots first."""
    quotes = sorted(bots, key=lambda quote: (-len(bots[quote]), quote))
    return [(quote, f"-{quote}" if n else "") for n, quote in enumerate(quotes)]


def _page(parts: Sequence[tuple[str, list[Any]]], is_stale: bool = False) -> html.Div:
    """The accounts below each other; a single one needs no name."""
    shown: list[Any] = []
    for quote, part in parts:
        shown += [html.H2(quote, className="currency"), *part] if len(parts) > 1 else part
    return html.Div(shown, className="run-result" + (" is-stale" if is_stale else ""))


@dataclass(frozen=True)
class Account:
    """What the marts know of all bots of one currency; the ids of its parts end with `suffix`."""

    quote: str
    days: list[dict[str, Any]]
    bots: list[dict[str, Any]]
    points: list[dict[str, Any]]
    suffix: str


def _account(account: Account, asked: Asked, is_stale: bool, now: datetime) -> list[Any]:
    figure = combined_figure(account.points, account.quote, asked.scheme)
    today = now.astimezone(UTC).date()
    columns = portfolio_columns(account.quote, accounts.day_name(account.days[-1]["day"], today))
    rows = accounts.table_rows(account.bots)
    profit = _profit(account.days, asked.by, account.quote, asked.scheme)
    return [
        accounts.cards(account.days, account.bots, account.points, today),
        panel(
            chart(f"portfolio-equity{account.suffix}", figure, UPPER),
            title="Equity of all bots",
            tools=[_made(account.points, asked.dagster_url, is_stale), downloads("/api/portfolio/equity")],
        ),
        html.Div(
            [
                panel(
                    _table(columns, rows, account.suffix),
                    title="Bots",
                    tools=downloads("/api/portfolio/bots"),
                    className="wide",
                ),
                panel(
                    chart(f"portfolio-daily{account.suffix}", profit, LOWER),
                    title="P&L (UTC)",
                    tools=html.Div(_periods(asked.by), className="segments"),
                ),
            ],
            className="halves",
        ),
    ]


def _made(points: Sequence[dict[str, Any]], dagster_url: str, is_stale: bool) -> Any:
    """How old the numbers are, and who would renew them."""
    if not points:
        return None
    told: list[Any] = ["Computed up to ", moment(epoch_ms(points[-1]["at"]))]
    if is_stale:
        dagster = html.A("Dagster", href=dagster_url, target="_blank", rel="noopener")
        told += ["; ", dagster, " should do it every quarter of an hour"]
    return html.Span(
        told,
        className="warn-text small" if is_stale else "muted small",
        title="Time of the newest snapshot, on the exchange's clock",
    )


def _profit(days: Sequence[dict[str, Any]], by: Shown, quote: str, scheme: Scheme) -> dict[str, Any]:
    if by == "calendar":
        return calendar_figure(days, quote, scheme)
    return profit_figure(days, by, quote, scheme)


def _periods(chosen: Shown) -> list[html.Span]:
    return [segment(name.capitalize(), f"{PAGE.path}?by={name}", name == chosen) for name in PERIODS]


def _no_value() -> Any:
    text = "A bot counts from its first judged candle on. Start one on the live page."
    start = html.A("Go to the live page", href="/", className="button primary")
    return html.Div(empty("No bot has a value yet", text, start), className="panel")


def live_view(bots: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]], asked: Asked) -> Any:
    """What is known without the marts: values at the last prices, the last day's equity of snapshots."""
    of_bots, curves = accounts.by_quote(bots), accounts.by_quote(points)
    return _page(
        [
            (quote, _live_account(quote, of_bots[quote], curves[quote], asked, suffix))
            for quote, suffix in _in_order(of_bots)
        ]
    )


def _live_account(
    quote: str,
    bots: Sequence[dict[str, Any]],
    points: Sequence[dict[str, Any]],
    asked: Asked,
    suffix: str,
    is_late: bool = False,
) -> list[Any]:
    """is_late: the marts should have had these bots by now."""
    note = html.Span(
        [
            "Live values. History and daily profit are computed every quarter of an hour by ",
            html.A("Dagster", href=asked.dagster_url, target="_blank", rel="noopener"),
            ".",
        ],
        className="warn-text small" if is_late else "muted small",
    )
    equity = (
        chart(f"portfolio-equity{suffix}", combined_figure(points, quote, asked.scheme), UPPER)
        if points
        else empty("No snapshot yet", "Each bot stores its value at every candle it judges.")
    )
    table = _table(portfolio_columns(quote, "Today"), accounts.live_rows(bots), suffix)
    return [
        accounts.live_cards(bots),
        panel(equity, title="Equity of all bots, last 24 hours", tools=note),
        panel(table, title="Bots", tools=downloads("/api/bots"), className="wide"),
    ]


def _table(columns: list[dict[str, Any]], rows: list[dict[str, Any]], suffix: str) -> dag.AgGrid:
    return dag.AgGrid(
        id=f"portfolio-bots{suffix}",
        columnDefs=columns,
        rowData=rows,
        getRowId="params.data.bot",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options("No bot has a value yet"),
        className="grid",
        style={"height": LOWER},
    )


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
            hub = services.hub
            shown: Scheme = "light" if scheme == "light" else "dark"
            asked = Asked(address, shown, _by(search), hub.feed.rate)
            key = (asked, await services.query(queries.built))
            return await services.share(FRESH_S, key, view, asked, hub.bots, hub.exchange_now())
        except SQLAlchemyError as error:
            return failure("The portfolio cannot be read", error)


def _by(search: str | None) -> Shown:
    asked = parameters(search).get("by")
    return next((name for name in PERIODS if name == asked), PERIODS[0])


PAGE = Page("/portfolio", "Portfolio", "portfolio", layout, register)
