"""The form of a bot on its page: made, checked at every change, and saved."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from config.files import ConfigError
from core.errors import BadInput
from dashboards import bot_form
from dashboards.bot_form import FIELD, PARAMETER, WHERE
from dashboards.callbacks import on
from dashboards.components import toast
from dashboards.promotion import CASH, free_name, refuse_taken
from dashboards.queries import bots as queries
from dashboards.services import Services
from pipelines.warehouse.bot_edits import write_bot
from pipelines.warehouse.bot_files import check_bot

CHANGED = "was changed elsewhere meanwhile: load the page again to see how"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at the form says: the error of each field and parameter, a line below, the document."""

    fields: list[str | None]
    parameters: list[str | None]
    problem: str = ""
    preview: Any = no_update
    saved: str | None = None


async def new(services: Services) -> html.Div:
    """The page of a bot that is still to be made."""
    document = {
        "bot_id": free_name("bot", await services.query(queries.names)),
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
    return html.Div([head, frame(services, document, (), 0, "Create bot")], className="bot-frame")


def frame(
    services: Services, document: dict[str, Any], locked: tuple[str, ...], version: int, label: str
) -> html.Div:
    """The form with its preview and its button. version: of the stored configuration, 0 for a new bot."""
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
        **{"data-drawing": uuid4().hex},  # by which the browser knows that what was typed before is gone
    )


def register(dash: Dash, services: Services) -> None:
    """The parameters follow the strategy; errors and preview follow every change; a click saves."""
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
    async def look(clicks: int | None, values: Any, given: Any, ids: Any, inner: Any, version: int) -> Any:
        fields = {each["name"]: value for each, value in zip(ids, values, strict=True)}
        own = {each["name"]: value for each, value in zip(inner, given, strict=True)}
        wants_saving = ctx.triggered_id == "bot-save" and bool(clicks)
        found = await judge(services, fields, own, version, wants_saving)
        shown = (found.fields, found.parameters, found.problem, found.preview)
        if found.saved is None:
            return *shown, no_update, no_update, no_update
        goes = "saved; it goes by it from its next candle" if version else "created"
        changed = f"{found.saved} {services.hub.feed_now_ms()}"
        return *shown, changed, toast(f"{found.saved} was {goes}."), f"?bot={found.saved}"


async def judge(
    services: Services, fields: dict[str, Any], parameters: dict[str, Any], version: int, wants_saving: bool
) -> Outcome:
    """Check what the form says, and store it if that is wanted. fields, parameters: name → entered value."""
    none: tuple[list[str | None], list[str | None]] = ([None] * len(fields), [None] * len(parameters))
    try:
        document = bot_form.read_bot(services.settings, fields.items(), parameters.items())
        if wants_saving:
            await _save(services, document, version)
        else:
            check_bot(document, WHERE, services.settings)
    except (BadInput, ConfigError) as error:
        return Outcome(*bot_form.marked([*fields], [*parameters], *bot_form.problem(error)))
    except SQLAlchemyError:
        return Outcome(*none, "The database does not answer: nothing was saved.")
    return Outcome(
        *none, "", json.dumps(document, indent=2), str(document["bot_id"]) if wants_saving else None
    )


async def _save(services: Services, document: dict[str, Any], version: int) -> None:
    """Store the document as a new bot (version 0) or as the next configuration."""
    name = str(document["bot_id"])
    known = await services.query(queries.bot, name)
    if version == 0:
        refuse_taken("bot_id", known)
    if version and (known is None or known["config_version"] != version):
        raise BadInput("bot_id", CHANGED)
    await services.query(write_bot, services.settings, name, document, "api")
    await services.changed(name)
