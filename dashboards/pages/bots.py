"""The bots page: all bots on the left; the chosen one's settings, records and troubles on the right."""

import json
from contextlib import suppress
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.files import ConfigError
from core.errors import BadInput, Unavailable
from dashboards import bot_form, bot_view
from dashboards.bot_form import FIELD, FIXED, PARAMETER, WHERE
from dashboards.bot_log import log_tail
from dashboards.bot_tables import RECORDS
from dashboards.callbacks import in_browser, on
from dashboards.components import empty, failure, icon, moment, toast
from dashboards.navigation import parameters
from dashboards.pages.live import bot_list
from dashboards.pages.page import Page
from dashboards.promotion import CASH, free_name
from dashboards.queries import bots as queries
from dashboards.rows import day_start, epoch_ms
from dashboards.services import Services
from pipelines.warehouse.bot_edits import write_bot
from pipelines.warehouse.bot_files import check_bot
from pipelines.warehouse.bot_versions import list_versions
from pipelines.warehouse.bots import announce
from pipelines.warehouse.controls import kill_switch_is_on
from pipelines.warehouse.risk import bot_risk

EVERY_MS = 3_000
SKELETON = html.Div(className="skeleton run-skeleton")
CHANGED = "was changed elsewhere meanwhile: load the page again to see how"


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
                    html.Div(_listed(services, query), id="bots-list", className="bot-list"),
                    html.Div(await _deleted(services), id="bots-deleted"),
                ],
                className="panel side-list",
                **{"aria-label": "Bots"},
            ),
            html.Div(SKELETON, id="bot-view", className="run-column bot-column"),
            dcc.Store(id="bots-list-redraw"),
            dcc.Store(id="bots-changed"),
            dcc.Store(id="bot-shown"),
        ],
        className="listed bots-page",
    )


def _listed(services: Services, query: dict[str, str]) -> list[Any]:
    chosen = "" if query.get("new") else query.get("bot")
    found = bot_list(services.hub.bots, chosen, bot_view.PATH)
    if chosen == "":
        for row in found:
            row.className = row.className.replace(" selected", "")
    return found


async def _deleted(services: Services) -> Any:
    """Links to the bots that are gone from the list; nothing when there are none."""
    rows = await services.query(queries.overview, day_start(services.hub.exchange_now()), None, True)
    gone = [row for row in rows if row["deleted_at"] is not None]
    if not gone:
        return None
    links = [
        dcc.Link(
            [html.Span(row["name"]), moment(epoch_ms(row["deleted_at"]))],
            href=bot_view.address(row["name"], tab="trades"),
            className="list-item row",
        )
        for row in gone
    ]
    return html.Details([html.Summary(f"Deleted ({len(gone)})"), *links], className="deleted")


def register(dash: Dash, services: Services) -> None:
    """The view, what keeps it fresh, and the form."""
    _register_list(dash, services)
    _register_view(dash, services)
    _register_refresh(dash, services)
    _register_form(dash, services)


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
        return _listed(services, parameters(search)), await _deleted(services)


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
        state = f"{search or ''} {changed or ''}"
        if state == shown:
            return no_update, no_update
        asked = parameters(search)
        try:
            if asked.get("new"):
                return _new(services), state
            name = asked.get("bot") or (services.hub.bots[0]["bot_id"] if services.hub.bots else "")
            return await _view(services, name, asked), state
        except SQLAlchemyError as error:
            return failure("The bot cannot be read", error), None


def _new(services: Services) -> html.Div:
    taken = [bot["bot_id"] for bot in services.hub.bots]
    document = {
        "bot_id": free_name("bot", taken),
        "strategy": "ema_crossover",
        "symbol": services.settings.symbol_list[0],
        "timeframe": services.settings.timeframe_list[0],
        "virtual_balance": CASH,
    }
    head = html.Div(
        [
            html.H2("New bot"),
            html.Span("It trades on paper unless its broker says otherwise", className="muted"),
        ],
        className="run-heading",
    )
    return html.Div([head, _form(services, document, (), 0, "Create bot")], className="bot-frame")


def _form(
    services: Services, document: dict[str, Any], locked: tuple[str, ...], version: int, label: str
) -> html.Div:
    preview = html.Details(
        [html.Summary("Configuration as JSON"), html.Pre("", id="bot-json", className="code", tabIndex=0)],
        className="form-part",
    )
    bar = html.Footer(
        [
            html.Div("", id="bot-problem", className="problem", role="alert"),
            html.Button(label, id="bot-save", className="button primary push-right"),
        ],
        className="save-bar",
    )
    return html.Div(
        [
            html.Div([*bot_form.form(services.settings, document, locked), preview], className="form-parts"),
            bar,
            dcc.Store(id="bot-version", data=version),
        ],
        className="panel bot-form",
    )


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
                await services.query(_summary, services, name), id="bot-summary", className="bot-summary"
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
    return _form(services, document, locked, row["config_version"], "Save")


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
            return await services.query(_summary, services, name)
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
            return (await services.query(bot_view.record_rows, row, tab, asked))[0]
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
    name = parameters(search).get("bot", "")
    return name or (services.hub.bots[0]["bot_id"] if services.hub.bots else "")


def _register_form(dash: Dash, services: Services) -> None:
    names, inside = ({"type": kind, "name": ALL} for kind in (FIELD, PARAMETER))

    @on(
        dash,
        Output("bot-parameters", "children"),
        Input({"type": FIELD, "name": "strategy"}, "value"),
        prevent_initial_call=True,
    )
    async def choose(strategy: str) -> Any:
        return bot_form.parameters_of(strategy, {})

    @on(
        dash,
        Output(names, "error"),
        Output(inside, "error"),
        Output("bot-problem", "children"),
        Output("bot-json", "children"),
        Output("bots-changed", "data"),
        Output("toasts", "children", allow_duplicate=True),
        Output("url", "search", allow_duplicate=True),
        Input("bot-save", "n_clicks"),
        Input(names, "value"),
        Input(inside, "value"),
        State(names, "id"),
        State(inside, "id"),
        State("bot-version", "data"),
        prevent_initial_call="initial_duplicate",
    )
    async def check(
        clicks: int | None, values: list[Any], given: list[Any], ids: Any, inner: Any, version: int
    ) -> Any:
        fields = [each["name"] for each in ids]
        own = [each["name"] for each in inner]
        nothing = (no_update, no_update, no_update)
        try:
            document = bot_form.read_bot(
                services.settings, zip(fields, values, strict=True), zip(own, given, strict=True)
            )
            shown = json.dumps(document, indent=2)
            if ctx.triggered_id != "bot-save" or not clicks:
                check_bot(document, WHERE, services.settings)
                return [None] * len(fields), [None] * len(own), "", shown, *nothing
            name = await _save(services, document, version)
        except (BadInput, ConfigError) as error:
            return *bot_form.marked(fields, own, *bot_form.problem(error)), no_update, *nothing
        except SQLAlchemyError:
            said = "The database does not answer: nothing was saved."
            return [None] * len(fields), [None] * len(own), said, no_update, *nothing
        return (
            [None] * len(fields),
            [None] * len(own),
            "",
            shown,
            f"{name} {services.hub.feed_now_ms()}",
            toast(_saved(name, version)),
            f"?bot={name}",
        )


def _saved(name: str, version: int) -> str:
    return f"{name} was saved; it goes by it from its next candle." if version else f"{name} was created."


async def _save(services: Services, document: dict[str, Any], version: int) -> str:
    """Store the document as a new bot (version 0) or as the next configuration; the bot's name."""
    name = str(document["bot_id"])
    known = await services.query(queries.bot, name)
    if version == 0 and known is not None:
        raise BadInput("bot_id", f"there is a bot {name} already: choose another name")
    if version and (known is None or known["config_version"] != version):
        raise BadInput("bot_id", CHANGED)
    await services.query(write_bot, services.settings, name, document, "api")
    with suppress(Unavailable):  # the supervisor looks by itself too; the row is what counts
        await announce(services.bus, name)
    services.hub.refresh_soon()
    return name


PAGE = Page(bot_view.PATH, "Bots", "bots", layout, register, key="o")
