"""A bot as its page shows it: what it is worth, what is wrong, and what it left on record. In a worker
thread."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import dash_ag_grid as dag
from dash import dcc, html
from sqlalchemy import Engine

from config.settings import Settings
from dashboards import components
from dashboards.api.documents import MAX_LIMIT, cursor_of, read_cursor
from dashboards.bot_log import log_tail
from dashboards.bot_tables import RECORDS, SHOWN
from dashboards.components import clock, downloads, empty, icon, moment, segment
from dashboards.formatting import cents, money, percent, quantity, strategy
from dashboards.forms import words
from dashboards.grids import COLUMN, grid_options
from dashboards.queries import bots as queries
from dashboards.rows import bot_row, epoch_ms, price_decimals
from pipelines.warehouse.bot_versions import ConfigVersion, list_versions
from pipelines.warehouse.risk import BotRisk

PATH = "/bots"
TABS = {
    "settings": "Settings",
    **{name: record.title for name, record in RECORDS.items()},
    "crashes": "Crashes",
    "history": "History",
    "log": "Log",
}
MOST_CRASHES = 20
Asked = Mapping[str, str]


def address(bot: str, **more: str) -> str:
    """The page's address with this bot and what else is chosen; empty choices are left out."""
    return f"{PATH}?{urlencode({'bot': bot, **{name: value for name, value in more.items() if value}})}"


def tab_of(asked: Asked) -> str:
    """The tab that an address names; the settings where it names none that is known."""
    return asked.get("tab", "") if asked.get("tab") in TABS else "settings"


def heading(row: Mapping[str, Any]) -> html.Div:
    """Name, what it trades, and what can be done with it. row: of `bots`."""
    name, deleted = row["name"], row["deleted_at"] is not None
    actions: list[Any] = [
        dcc.Link([icon("backtest"), "Backtest it"], href=f"/backtests?bot={name}", className="button"),
        dcc.Link([icon("live"), "Chart"], href=f"/?bot={name}", className="button"),
    ]
    if not deleted:
        veto = "Waiting orders are withdrawn, every order is vetoed, sales too. What it holds stays."
        actions += [
            _switch(name, True, [icon("power"), "Stop its orders"], veto),
            request_button(
                [icon("trash"), "Delete"],
                f"DELETE /api/bot/{name}",
                f"Delete {name}?",
                "It stops and leaves all lists. What it did stays on record, and it can be brought back.",
                f"{name} was deleted",
            ),
        ]
    about = f"{strategy(row['strategy_name'])} · {row['symbol']} · {row['timeframe']}"
    return html.Div(
        [html.H2(name), html.Span(about, className="muted"), html.Div(actions, className="tools push-right")],
        className="run-heading",
    )


def request_button(
    children: Any, request: str, title: str, text: str, done: str, body: Any = None, danger: bool = True
) -> html.Button:
    """A button that asks (title, text) and then sends `request`, a method and a path of the API; `done` is
    said when it was accepted."""
    said = {"data-request": request, "data-title": title, "data-text": text, "data-done": done}
    if body is not None:
        said["data-body"] = json.dumps(body)
    return html.Button(children, className="button" + (" danger-quiet" if danger else ""), **said)


def tabs(bot: str, chosen: str) -> html.Nav:
    """Links to the parts of the page."""
    links = [
        segment(title, address(bot, tab=name if name != "settings" else ""), name == chosen)
        for name, title in TABS.items()
    ]
    return html.Nav(links, className="segments tabs", **{"aria-label": "What to see of the bot"})


def banners(row: Mapping[str, Any], stands: BotRisk, switched_off: bool) -> list[html.Div]:
    """What keeps the bot from trading, each with the way out of it. row: of the overview; switched_off:
    whether its own kill switch is on."""
    name, found = row["name"], []
    if row["deleted_at"] is not None:
        found.append(_deleted(name, row["deleted_at"]))
    if switched_off:
        on = _switch(name, False, "Turn it off", f"{name} trades again from where it is.")
        found.append(_banner("Its kill switch is on", "every order of it is vetoed, sales too", on))
    if stands.halted:
        lift = request_button(
            "Let it buy again",
            f"POST /api/bot/{name}/risk/reset",
            f"Let {name} buy again?",
            "Its losses are measured from here on.",
            f"{name} may buy again",
            danger=False,
        )
        found.append(_banner("Its risk limits stopped it", stands.halted, lift))
    if "error" in {row["status"], row["state"]} or row["state"] == "crashed":
        see = dcc.Link("See its crashes", href=address(name, tab="crashes"), className="button")
        found.append(_banner(f"It is {row['state']}", (row["last_error"] or "no reason is known"), see))
    return found


def _switch(name: str, on: bool, label: Any, text: str) -> html.Button:
    """A button for the bot's own kill switch."""
    return request_button(
        label,
        "POST /api/kill-switch",
        f"Turn the kill switch of {name} {'on' if on else 'off'}?",
        text,
        f"The kill switch of {name} is {'on' if on else 'off'}",
        {"on": on, "bot_id": name},
        danger=on,
    )


def _deleted(name: str, at: datetime) -> html.Div:
    restore = request_button(
        "Bring it back",
        f"POST /api/bot/{name}/restore",
        f"Bring {name} back?",
        "It comes back stopped, with its history and its file.",
        f"{name} is back, stopped",
        danger=False,
    )
    forget = request_button(
        "Forget it",
        f"DELETE /api/bot/{name}?purge=true",
        f"Forget {name} for good?",
        "Every signal, order, trade and version of it goes. This cannot be undone.",
        f"{name} is forgotten",
    )
    return _banner("This bot was deleted", [moment(epoch_ms(at)), "; what it did is below"], restore, forget)


def _banner(title: str, text: Any, *actions: Any) -> html.Div:
    said = text.splitlines()[0] if isinstance(text, str) else text
    return html.Div(
        [
            icon("alert"),
            html.B(title),
            html.Span(said, className="muted"),
            html.Div(list(actions), className="tools"),
        ],
        className="panel banner",
        role="status",
    )


def cards(row: Mapping[str, Any], stands: BotRisk, price: float | None, now: datetime) -> html.Div:
    """The bot's numbers. row: of the overview; price: the last one of its symbol."""
    shown = bot_row(dict(row), price, now)
    base, _, quote = row["symbol"].partition("-")
    places = shown["cents"]
    made, today = (money(shown[name], places, signed=True) for name in ("pnl", "pnl_today"))
    veto = f"Last: {stands.last_veto}" if stands.last_veto else "No order was vetoed"
    found = (
        ("Value", money(shown["value"], places), "", f"Cash and coins, {quote}"),
        ("P&L", made, _tone(shown["pnl"]), percent(shown["pnl_fraction"])),
        ("P&L today", today, _tone(shown["pnl_today"]), "Since 00:00 UTC"),
        (
            f"Holds, {base}",
            quantity(shown["quantity"], 5),
            "",
            f"Cash {money(shown['cash'], places)} {quote}",
        ),
        ("Trades", f"{shown['fills']:,}", "", f"Win rate {percent(shown['win_rate'], 0, signed=False)}"),
        ("Fees", money(row["fees"], places), "", f"All fills, {quote}"),
        ("Vetoes", f"{stands.vetoes:,}", "warn-text" if stands.vetoes else "", veto),
        ("Restarts", f"{row['restarts']:,}", "warn-text" if row["restarts"] else "", "Since it was started"),
    )
    return components.cards(found, "eight")


def _tone(value: float) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""


def record_panel(engine: Engine, row: Mapping[str, Any], name: str, asked: Asked) -> html.Section:
    """A table of the bot's rows with filters, the way to older ones, and downloads. name: of RECORDS."""
    record, bot, only = RECORDS[name], row["name"], asked.get("only", "")
    rows, following = record_rows(engine, row, name, asked)
    instrument = queries.instrument(engine, row["symbol"])
    decimals = price_decimals(
        instrument["tick_size"] if instrument else None, (rows[0]["price"] or 0.0) if rows else 0.0
    )
    filters = [
        segment(text, address(bot, tab=name, only=value), value == only) for value, text in record.filters
    ]
    pages = []
    if asked.get("before"):
        pages.append(dcc.Link("Newest", href=address(bot, tab=name, only=only), className="button"))
    if following:
        href = address(bot, tab=name, only=only, before=following)
        pages.append(dcc.Link("Older", href=href, className="button"))
    grid = dag.AgGrid(
        id="bot-rows",
        columnDefs=record.columns(decimals, cents(row["symbol"].partition("-")[2])),
        rowData=rows,
        getRowId="params.data.id",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options(record.nothing),
        className="grid",
        style={"height": "100%"},
    )
    kept = {record.parameter: only} if only else {}
    files = downloads(f"/api/bot/{bot}/{name}", limit=MAX_LIMIT, **kept)
    tools = html.Div([*pages, files], className="tools")
    head = html.Header([html.Div(filters, className="segments start"), tools])
    clock = [] if asked.get("before") else [dcc.Interval(id="bot-rows-clock", interval=3000)]
    return html.Section([head, grid, *clock], className="panel record", **{"aria-label": record.title})


def record_rows(
    engine: Engine, row: Mapping[str, Any], name: str, asked: Asked
) -> tuple[list[dict[str, Any]], str]:
    """The rows that an address asks for, and the `before` of those behind them ("" when these are all).

    BadInput when the address has a `before` of its own making.
    """
    record = RECORDS[name]
    before = read_cursor(asked.get("before") or None, datetime, str)
    found = record.rows(engine, row["id"], SHOWN, before, asked.get("only") or None)
    following = cursor_of(found[-1], "timestamp", "id") if len(found) == SHOWN else ""
    return [record.shown(each) for each in found], following


def crash_list(engine: Engine, row: Mapping[str, Any]) -> html.Div:
    """The newest crashes, each with what its stack was."""
    found = queries.crashes(engine, row["id"], MOST_CRASHES)
    if not found:
        return html.Div(
            empty("No crash", "A bot that dies, hangs or leaks is ended, and its stack is kept here."),
            className="panel",
        )
    files = _files(f"/api/bot/{row['name']}/crashes")
    return html.Div(
        [files, *(_crash(crash, n == 0) for n, crash in enumerate(found))], className="run-result"
    )


def _files(path: str) -> html.Div:
    return html.Div(downloads(path, limit=MAX_LIMIT), className="actions end first")


def _crash(crash: Mapping[str, Any], opened: bool) -> html.Section:
    code = "" if crash["exit_code"] is None else f"exit code {crash['exit_code']}"
    head = html.Header(
        [
            html.B(crash["reason"].splitlines()[0]),
            moment(epoch_ms(crash["timestamp"])),
            html.Span(code, className="muted"),
        ]
    )
    stack = crash["stack_trace"]
    body = (
        html.Details(
            [html.Summary("Stack trace"), html.Pre(stack, className="code tall", tabIndex=0)],
            open=opened,
            className="padded",
        )
        if stack
        else html.P("No stack was left: it was killed from outside.", className="padded muted")
    )
    return html.Section([head, body], className="panel")


def history_list(engine: Engine, row: Mapping[str, Any]) -> html.Div:
    """Every configuration of the bot with what it changed, the newest first."""
    versions = list_versions(engine, row["name"])
    newest = versions[0].version if versions else 0
    files = _files(f"/api/bot/{row['name']}/config/history")
    return html.Div(
        [files, *(_version(row["name"], each, newest) for each in versions)], className="run-result"
    )


def _version(bot: str, version: ConfigVersion, newest: int) -> html.Section:
    is_first = version.version == 1
    since = (
        ["in force from the candle after ", clock(epoch_ms(version.after_candle) or 0)]
        if version.after_candle
        else ["in force from its first candle" if version.applied_at else "not in force yet"]
    )
    tools = (
        []
        if version.version == newest
        else [
            dcc.Link(
                "Load into the form", href=address(bot, version=str(version.version)), className="button"
            )
        ]
    )
    head = html.Header(
        [
            html.B(f"Version {version.version}"),
            moment(epoch_ms(version.created_at)),
            html.Span([f"by {version.origin}, ", *since], className="muted"),
            html.Div(tools, className="tools"),
        ]
    )
    whole = html.Details(
        [
            html.Summary("All of it as JSON"),
            html.Pre(json.dumps(version.document, indent=2), className="code", tabIndex=0),
        ],
        className="padded",
    )
    body = [whole] if is_first else [_changes(version.changes), whole]
    return html.Section([head, *body], className="panel")


def _changes(changes: Mapping[str, list[Any]]) -> html.Table:
    lines = [
        html.Tr(
            [
                html.Th(words(name.replace(".", ": ")), scope="row"),
                html.Td(html.Del(_value(before)), className="numeric"),
                html.Td(html.Ins(_value(after)), className="numeric"),
            ]
        )
        for name, (before, after) in changes.items()
    ]
    head = html.Tr([html.Th(text, scope="col") for text in ("Field", "Before", "After")])
    return html.Table([html.Thead(head), html.Tbody(lines)], className="plain even changes")


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value)


def log_panel(settings: Settings, bot: str) -> html.Section:
    """The end of the bot's log, read again every few seconds."""
    return html.Section(
        [
            html.Pre(log_tail(settings, bot), id="bot-log", className="code log", tabIndex=0),
            dcc.Interval(id="bot-log-clock", interval=3000),
        ],
        className="panel record",
        **{"aria-label": "Log"},
    )
