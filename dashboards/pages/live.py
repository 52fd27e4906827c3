"""The live page: bots on the left, the selected bot's chart on the right, all bots' numbers below."""

from typing import Any

import dash_ag_grid as dag
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.timeframes import Timeframe
from dashboards import charts
from dashboards.callbacks import in_browser, on
from dashboards.chart_room import chart_files
from dashboards.components import downloads, empty, icon, moment
from dashboards.figures.style import BLANK, CONFIG
from dashboards.grids import COLUMN, bot_columns, grid_options
from dashboards.hub import Watch
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.services import Services

TIMEFRAMES = tuple(Timeframe)
FRESH_S = 1.0
"""How old a drawn chart may be: the stream brings what came since."""
LISTED_S = 10.0
ACTIONS = (("start", "play", "Start"), ("pause", "pause", "Pause"), ("stop", "stop", "Stop"))
WORDS = {
    "running": "Running",
    "paused": "Paused",
    "stopped": "Stopped",
    "starting": "Starting…",
    "pausing": "Pausing…",
    "stopping": "Stopping…",
    "crashed": "Crashed",
    "error": "Error",
    "silent": "Silent",
}


async def layout(services: Services, query: dict[str, str]) -> Any:
    """The page for the selection in the address: ?bot=bot_001&timeframe=5m."""
    selected = query.get("bot")
    bots = services.hub.bots
    listed = await bot_list(services, selected)
    return html.Div(
        [
            html.Aside(
                [
                    html.Header([html.H2("Bots"), html.Span("", id="bots-count", className="muted")]),
                    html.Div(listed, id="bot-list", className="bot-list"),
                    html.Footer([html.Span("All numbers", className="muted small"), downloads("/api/bots")]),
                ],
                className="panel bots",
                **{"aria-label": "Bots"},
            ),
            _chart_panel(),
            html.Section(
                dag.AgGrid(
                    id="bots-table",
                    columnDefs=bot_columns({bot["quote"] for bot in bots}),
                    rowData=bots,
                    getRowId="params.data.bot_id",
                    dashGridOptions=grid_options("No bots yet: add a file to config/bots"),
                    defaultColDef=COLUMN | {"filter": False},
                    className="grid",
                    style={"height": "100%"},
                ),
                className="panel table",
                **{"aria-label": "All bots"},
            ),
            dcc.Store(id="list-redraw"),
            dcc.Store(id="chart-redraw"),
            dcc.Store(id="chart-meta"),
        ],
        className="live",
    )


async def bot_list(services: Services, selected: str | None, path: str = "/") -> list[Any]:
    """One row a bot, a link to it on the page at `path`; made once for all who see the same. The browser
    keeps words, colours and buttons up to date from the stream. selected: None is the first, "" none."""
    hub = services.hub
    key = ("bot list", hub.bots_version, selected, path)

    async def made() -> list[Any]:
        return bot_rows(hub.bots, selected, path)

    return await services.shared.get(key, LISTED_S, made)


def bot_rows(bots: list[dict[str, Any]], selected: str | None, path: str) -> list[Any]:
    """As `bot_list`."""
    if not bots:
        make = dcc.Link([icon("plus"), "New bot"], href="/bots?new=1", className="button primary")
        return [empty("No bots yet", "A bot trades one symbol by one strategy, with simulated money.", make)]
    chosen = bots[0]["bot_id"] if selected is None else selected
    return [_bot_row(bot, bot["bot_id"] == chosen, path) for bot in bots]


def _bot_row(bot: dict[str, Any], selected: bool, path: str) -> html.Div:
    name = bot["bot_id"]
    buttons = [
        html.Button(
            icon(picture),
            className="button icon-only small",
            title=f"{word} {name}",
            **{"data-action": action, "data-bot": name, "aria-label": f"{word} {name}"},
        )
        for action, picture, word in ACTIONS
    ]
    return html.Div(
        [
            html.Span(className="dot"),
            dcc.Link(
                [
                    html.Span(
                        [html.B(name), html.Span(WORDS[bot["shown"]], className="state")], className="line"
                    ),
                    html.Span(
                        [
                            html.Span(bot["strategy"], className="muted", title=bot["strategy"]),
                            moment(bot["heartbeat_ms"]),
                        ],
                        className="line small",
                    ),
                ],
                href=f"{path}?bot={name}",
                className="bot-link",
            ),
            html.Div(buttons, className="bot-buttons"),
        ],
        className=f"bot-row is-{bot['shown']}" + (" selected" if selected else ""),
        **{"data-bot-row": name, "data-status": bot["status"]},
    )


def _chart_panel() -> html.Section:
    frames = [
        html.Button(name, className="segment", **{"data-timeframe": name, "aria-label": f"Timeframe {name}"})
        for name in TIMEFRAMES
    ]
    head = html.Header(
        [
            html.Span("", id="chart-symbol", className="symbol"),
            html.Span("", id="chart-price", className="price numeric", **{"aria-live": "off"}),
            html.Span("", id="chart-change", className="numeric change"),
            html.Span("", id="chart-countdown", className="muted numeric", title="Until this candle closes"),
            html.Span("", id="chart-note", className="muted small"),
            html.Div(frames, className="segments", role="group", **{"aria-label": "Timeframe"}),
        ]
    )
    graph = dcc.Graph(id="price-chart", config=CONFIG, className="chart", responsive=True, figure=BLANK)
    return html.Section(
        [
            head,
            html.Div(id="chart-face"),
            html.Div([graph, chart_files("price-chart")], className="chart-box waiting", id="chart-box"),
        ],
        className="panel price-panel",
        **{"aria-label": "Price"},
    )


def register(dash: Dash, services: Services) -> None:
    """Drawing the chart on selection, and the browser's part of the live updates."""

    @on(
        dash,
        Output("price-chart", "figure"),
        Output("chart-meta", "data"),
        Output("chart-face", "children"),
        Input("url", "search"),
        Input("chart-redraw", "data"),
        State("session", "data"),
        State("scheme", "data"),
    )
    async def draw(search: str | None, _redraw: Any, session: str, scheme: str | None) -> Any:
        query = parameters(search)
        try:
            bots = services.hub.bots
            name = query.get("bot") or (bots[0]["bot_id"] if bots else None)
            asked = (name, query.get("timeframe"), scheme)
            drawn = await services.share(
                FRESH_S,
                (*asked, services.hub.epoch),
                charts.live_chart,
                *asked,
                services.hub.exchange_now(),
            )
        except SQLAlchemyError as error:
            return no_update, no_update, charts.chart_failure(error)
        if drawn.meta is None:
            return no_update, None, drawn.face
        meta = drawn.meta
        services.hub.watch(session, Watch(meta["bot"], meta["symbol"], meta["timeframe"]))
        return drawn.figure or no_update, meta, drawn.face

    @on(
        dash,
        Output("bot-list", "children"),
        Input("list-redraw", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def redraw_list(_redraw: Any, search: str | None) -> Any:
        return await bot_list(services, parameters(search).get("bot"))

    in_browser(
        dash,
        "tcpLive.bots",
        Output("list-redraw", "data"),
        Input("live-bots", "data"),
        Input("url", "search"),
    )
    in_browser(dash, "tcpLive.table", Output("bots-table", "rowData"), Input("live-bots", "data"))
    in_browser(
        dash,
        "tcpLive.chart",
        Output("chart-redraw", "data"),
        Input("live-chart", "data"),
        State("chart-meta", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpLive.chartMeta",
        Output("sink", "data", allow_duplicate=True),
        Input("chart-meta", "data"),
        Input("price-chart", "figure"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpLive.select",
        Output("url", "search"),
        Input("bots-table", "cellClicked"),
        State("url", "search"),
        initial=False,
    )


PAGE = Page("/", "Live", "live", layout, register)
