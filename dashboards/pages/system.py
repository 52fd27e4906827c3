"""The system page: what runs and since when it was heard of, what happened, and where the other tools are."""

import asyncio
from datetime import timedelta
from typing import Any

import dash_ag_grid as dag
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Unavailable
from dashboards import platform
from dashboards.api.documents import MAX_LIMIT
from dashboards.callbacks import on
from dashboards.component_states import Component, component_rows
from dashboards.components import cards, downloads, failure, icon, moment, panel, segment
from dashboards.grids import COLUMN, EVENT_COLUMNS, grid_options
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.queries import system as queries
from dashboards.rows import epoch_ms
from dashboards.services import Services

EVERY_MS = 5_000
FRESH_S = 2.0
SHOWN_EVENTS = 200
DAGSTER_MS = 10_000
SHOWN_RUNS = 10
LOAD_FRESH_S = 15.0
"""How old the database's size and the counts of a day may be."""
LEVELS = ((None, "All", ""), ("error", "Errors", "?level=error"), ("warning", "Warnings", "?level=warning"))


async def layout(services: Services, query: dict[str, str]) -> Any:
    """Numbers on top, components beside Dagster's runs, events below; read again every five seconds."""
    level = _level(query)
    events = await services.query(queries.events, SHOWN_EVENTS, None, level)
    return html.Div(
        [
            html.Div(html.Div(className="skeleton cards-skeleton"), id="system-cards"),
            html.Div(
                [
                    panel(
                        html.Div(html.Div(className="skeleton components-skeleton"), id="components"),
                        title="Components",
                        tools=downloads("/api/components"),
                        className="wide",
                    ),
                    panel(
                        html.Div(html.Div(className="skeleton components-skeleton"), id="dagster-runs"),
                        title="Dagster runs",
                    ),
                ],
                className="halves",
            ),
            panel(
                dag.AgGrid(
                    id="events",
                    columnDefs=EVENT_COLUMNS,
                    rowData=event_rows(events),
                    getRowId="params.data.id",
                    defaultColDef=COLUMN,
                    dashGridOptions=grid_options(f"No {level}" if level else "Nothing has happened yet"),
                    className="grid",
                    style={"height": "100%"},
                ),
                title="Events",
                tools=[
                    html.Div(
                        [segment(word, f"{PAGE.path}{kept}", name == level) for name, word, kept in LEVELS],
                        className="segments",
                    ),
                    downloads("/api/events", limit=MAX_LIMIT, **({"level": level} if level else {})),
                ],
                className="events",
            ),
            html.Nav(_links(services), className="panel links", **{"aria-label": "Other tools"}),
            dcc.Interval(id="system-clock", interval=EVERY_MS),
            dcc.Interval(id="dagster-clock", interval=DAGSTER_MS),
        ],
        className="system",
    )


def components_table(rows: list[Component]) -> html.Table:
    """One line a component; the browser keeps the ages."""
    body = [
        html.Tr(
            [
                html.Th(name, scope="row"),
                html.Td(
                    html.Span([html.Span(className="dot"), word], className="state", **{"data-tone": tone})
                ),
                html.Td(moment(heard), className="muted numeric"),
                html.Td(detail, className="muted"),
            ]
        )
        for name, tone, word, heard, detail in rows
    ]
    head = html.Tr(
        [html.Th(text, scope="col") for text in ("Component", "State", "Last heard of", "Details")]
    )
    return html.Table([html.Thead(head), html.Tbody(body)], className="plain")


def event_rows(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the events' table, JSON-ready."""
    named = ("level", "component", "event", "message")
    return [
        {"id": str(event["id"]), "at": epoch_ms(event["timestamp"]), **{name: event[name] for name in named}}
        for event in events
    ]


def _level(query: dict[str, str]) -> str | None:
    """The kind of events that an address asks for; None for all."""
    return next((name for name, _, _ in LEVELS if name and name == query.get("level")), None)


def _links(services: Services) -> list[html.A]:
    settings = services.settings
    found = (
        ("Dagster", f"http://127.0.0.1:{settings.dagster_port}/", "backfills, archive, models, schedules"),
        (
            "Models",
            f"http://127.0.0.1:{settings.docs_port}/",
            "dbt lineage and columns, while tcp docs runs",
        ),
        ("API", "/api/docs", "every REST route, to read and to try"),
        ("OpenAPI", "/api/openapi.json", "the same for programs"),
        ("Metrics", "/metrics", "for Prometheus"),
        ("Health", "/healthz", "for a supervisor"),
    )
    return [
        html.A(
            [icon("link"), name],
            id=f"{name.lower()}-link",
            href=address,
            target="_blank",
            rel="noopener",
            title=about,
        )
        for name, address, about in found
    ]


def register(dash: Dash, services: Services) -> None:
    """Keep numbers, components, events and runs fresh."""

    @on(
        dash,
        Output("system-cards", "children"),
        Output("components", "children"),
        Output("events", "rowData"),
        Input("system-clock", "n_intervals"),
        Input("url", "search"),
        State("url", "pathname"),
    )
    async def read(_turn: int | None, search: str | None, pathname: str) -> Any:
        if pathname.rstrip("/") != PAGE.path:
            return no_update, no_update, no_update
        hub, level = services.hub, _level(parameters(search))
        try:
            beats = await services.share(FRESH_S, "", queries.components)
            events = await services.share(FRESH_S, level, queries.events, SHOWN_EVENTS, None, level)
            day = (hub.now() - timedelta(days=1), hub.now())
            alerts = await services.share(LOAD_FRESH_S, "", queries.alerts, *day)
            load = await services.share(LOAD_FRESH_S, "", queries.database_load)
        except SQLAlchemyError as error:
            return no_update, failure("The database does not answer", error), no_update
        numbers = cards(platform.cards(hub.feed.daemon, hub.bots, alerts, load), "eight")
        rows = component_rows(beats, hub.feed_now_ms(), hub.feed.database_error, hub.feed.bus_error)
        return numbers, components_table(rows), event_rows(events)

    @on(
        dash,
        Output("dagster-runs", "children"),
        Output("dagster-link", "hidden"),
        Input("dagster-clock", "n_intervals"),
    )
    async def follow(_turn: int | None) -> Any:
        dagster = services.dagster
        try:
            runs = await services.shared.get(
                "dagster runs", FRESH_S, lambda: asyncio.to_thread(dagster.newest, SHOWN_RUNS)
            )
        except Unavailable as error:
            return failure("Dagster's runs cannot be read", error), False
        return platform.runs_list(runs, dagster.url), runs is None


PAGE = Page("/system", "System", "system", layout, register)
