"""The bots page: all bots on the left; the chosen one's settings, records and troubles on the right."""

import json
from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput
from dashboards import bot_editor, bot_view
from dashboards.bot_form import FIXED
from dashboards.bot_log import log_tail
from dashboards.bot_tables import RECORDS
from dashboards.callbacks import in_browser, on
from dashboards.components import empty, failure, icon, moment
from dashboards.navigation import parameters
from dashboards.pages.live import bot_list
from dashboards.pages.page import Page
from dashboards.queries import bots as queries
from dashboards.rows import day_start, epoch_ms
from dashboards.services import Services
from pipelines.warehouse.bot_versions import list_versions
from pipelines.warehouse.controls import kill_switch_is_on
from pipelines.warehouse.risk import bot_risk

EVERY_MS = 3_000
FRESH_S = 1.0
"""How old the numbers and rows may be that are read every few seconds."""


async def layout(services: Services, query: dict[str, str]) -> Any:
    """List and view: ?bot=ID&tab=trades shows that bot's trades, ?new=1 the form of a new one."""
    head = html.Header(
        [
            html.H2("Bots"),
            html.Span("", id="bots-count", className="muted"),
            dcc.Link(
                [icon("plus"), "New"], href=f"{bot_view.PATH}?new=1", className="button primary push-right"
            ),
        ]
    )
    return html.Div(
        [
            html.Aside(
                [
                    head,
                    html.Div(await _listed(services, query), id="bots-list", className="bot-list"),
                    html.Div(await _deleted(services), id="bots-deleted"),
                ],
                className="panel side-list",
                **{"aria-label": "Bots"},
            ),
            html.Div(await _shown(services, query), id="bot-view", className="run-column bot-column"),
            dcc.Store(id="bots-list-redraw"),
            dcc.Store(id="bots-changed"),
            dcc.Store(id="bot-shown", data=_state(query, None)),
        ],
        className="listed bots-page",
    )


async def _listed(services: Services, query: dict[str, str]) -> list[Any]:
    return await bot_list(services, "" if query.get("new") else query.get("bot"), bot_view.PATH)


async def _deleted(services: Services) -> Any:
    """Links to the bots that are gone from the list; nothing when there are none."""
    gone = await services.query(queries.deleted)
    if not gone:
        return None
    links = [
        dcc.Link(
            [html.Span(name), moment(epoch_ms(at))],
            href=bot_view.address(name, tab="trades"),
            className="list-item row",
        )
        for name, at in gone
    ]
    return html.Details([html.Summary(f"Deleted ({len(gone)})"), *links], className="deleted")


def register(dash: Dash, services: Services) -> None:
    """The view, what keeps it fresh, and the form."""
    _register_list(dash, services)
    _register_view(dash, services)
    _register_refresh(dash, services)
    bot_editor.register(dash, services)


def _register_list(dash: Dash, services: Services) -> None:
    in_browser(
        dash,
        "tcpLive.bots",
        Output("bots-list-redraw", "data"),
        Input("live-bots", "data"),
        Input("url", "search"),
    )

    @on(
        dash,
        Output("bots-list", "children"),
        Output("bots-deleted", "children"),
        Input("bots-list-redraw", "data"),
        Input("bots-changed", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def redraw(_redraw: Any, _changed: Any, search: str | None) -> Any:
        return await _listed(services, parameters(search)), await _deleted(services)


def _register_view(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("bot-view", "children"),
        Output("bot-shown", "data"),
        Input("url", "search"),
        Input("bots-changed", "data"),
        State("url", "pathname"),
        State("bot-shown", "data"),
    )
    async def view(search: str | None, changed: Any, pathname: str, shown: str | None) -> Any:
        if pathname.rstrip("/") != PAGE.path:
            return no_update, no_update
        asked = parameters(search)
        state = _state(asked, changed)
        if state == shown:
            return no_update, no_update
        return await _shown(services, asked), state


def _state(asked: dict[str, str], changed: str | None) -> str:
    """What the view depends on: it is drawn again only when this differs, or a form would forget what was
    typed."""
    return json.dumps([sorted(asked.items()), changed])


async def _shown(services: Services, asked: dict[str, str]) -> Any:
    try:
        if asked.get("new"):
            return await bot_editor.new(services)
        return await _view(services, _named(services, asked), asked)
    except SQLAlchemyError as error:
        return failure("The bot cannot be read", error)


async def _view(services: Services, name: str, asked: dict[str, str]) -> Any:
    if not name:
        make = dcc.Link([icon("plus"), "New bot"], href=f"{bot_view.PATH}?new=1", className="button primary")
        text = "A bot trades one symbol by one strategy, with simulated money."
        return html.Div(empty("No bots yet", text, make), className="panel")
    row = await services.query(queries.bot, name)
    if row is None:
        return html.Div(empty("There is no such bot", f"No bot is called {name}."), className="panel")
    tab = bot_view.tab_of(asked)
    try:
        content = await _content(services, row, tab, asked)
    except BadInput as error:
        content = failure("This cannot be shown", error, "Choose a tab above.")
    return html.Div(
        [
            bot_view.heading(row),
            html.Div(
                await services.share(FRESH_S, name, _summary, services, name),
                id="bot-summary",
                className="bot-summary",
            ),
            bot_view.tabs(name, tab),
            content,
            dcc.Interval(id="bot-clock", interval=EVERY_MS),
        ],
        className="bot-frame",
    )


def _summary(engine: Engine, services: Services, name: str) -> list[Any]:
    hub = services.hub
    row = queries.overview(engine, day_start(hub.exchange_now()), name)[0]
    stands = bot_risk(engine, name)
    switched_off = kill_switch_is_on(engine, row["id"])
    price = hub.prices.get(row["symbol"])
    return [*bot_view.banners(row, stands, switched_off), bot_view.cards(row, stands, price, hub.now())]


async def _content(services: Services, row: dict[str, Any], tab: str, asked: dict[str, str]) -> Any:
    if tab in RECORDS:
        return await services.query(bot_view.record_panel, row, tab, asked)
    if tab == "crashes":
        return await services.query(bot_view.crash_list, row)
    if tab == "history":
        return await services.query(bot_view.history_list, row)
    if tab == "log":
        return bot_view.log_panel(services.settings, row["name"])
    document = row["config"]
    if asked.get("version"):
        document = await services.query(_version, row["name"], asked["version"])
    judged = (await services.query(queries.holding, row["id"]) or {}).get("last_candle")
    locked = ("bot_id", "enabled", *(FIXED if judged is not None else ()))
    return bot_editor.frame(services, document, locked, row["config_version"], "Save")


def _version(engine: Engine, name: str, asked: str) -> dict[str, Any]:
    for version in list_versions(engine, name):
        if str(version.version) == asked:
            return version.document
    raise BadInput("version", f"{name} has no version {asked}")


def _register_refresh(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("bot-summary", "children"),
        Input("bot-clock", "n_intervals"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def summary(_turn: int | None, search: str | None) -> Any:
        name = _chosen(services, search)
        try:
            return await services.share(FRESH_S, name, _summary, services, name)
        except (SQLAlchemyError, BadInput, IndexError):
            return no_update  # away or purged: what is shown stays, and the top bar says since when

    @on(
        dash,
        Output("bot-rows", "rowData"),
        Input("bot-rows-clock", "n_intervals"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def rows(_turn: int | None, search: str | None) -> Any:
        asked = parameters(search)
        tab = bot_view.tab_of(asked)
        try:
            row = await services.query(queries.bot, _chosen(services, search))
            if row is None or tab not in RECORDS:
                return no_update
            key = (row["id"], tab, *sorted(asked.items()))
            return (await services.share(FRESH_S, key, bot_view.record_rows, row, tab, asked))[0]
        except SQLAlchemyError:
            return no_update  # as above

    @on(
        dash,
        Output("bot-log", "children"),
        Input("bot-log-clock", "n_intervals"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def log(_turn: int | None, search: str | None) -> Any:
        try:
            row = await services.query(queries.bot, _chosen(services, search))
        except SQLAlchemyError:
            return no_update  # as above
        return no_update if row is None else log_tail(services.settings, row["name"])


def _chosen(services: Services, search: str | None) -> str:
    return _named(services, parameters(search))


def _named(services: Services, asked: dict[str, str]) -> str:
    """The bot of the address, else the first one; "" where there is none."""
    return asked.get("bot") or (services.hub.bots[0]["bot_id"] if services.hub.bots else "")


PAGE = Page(bot_view.PATH, "Bots", "bots", layout, register, key="o")
