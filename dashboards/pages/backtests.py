"""The backtest page: a form on the left, the result on the right, earlier runs below it."""

import asyncio
import json
from typing import Any

import dash_ag_grid as dag
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput, TcpError
from dashboards import results
from dashboards.api.documents import MAX_LIMIT
from dashboards.backtest_form import FIELDS, form, read_form
from dashboards.backtests import progress, start
from dashboards.callbacks import in_browser, on
from dashboards.components import downloads, empty, failure, toast
from dashboards.dagster_runs import HandedRun
from dashboards.failures import told
from dashboards.forms import parameter_fields
from dashboards.grids import COLUMN, RUN_COLUMNS, grid_options
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.queries import bots as bot_queries
from dashboards.queries import market as market_queries
from dashboards.queries import runs as queries
from dashboards.services import Services
from pipelines.warehouse.run_notes import write_note
from strategies import registry

POLL_S = 0.1
RUNS_MS = 10_000
FRESH_S = 2.0


async def layout(services: Services, query: dict[str, str]) -> Any:
    """Form, result and history; ?run=ID shows that run."""
    symbols = await services.query(market_queries.symbols) or list(services.settings.symbol_list)
    runs = [results.run_row(row) for row in await services.query(queries.runs)]
    today = services.hub.exchange_now().date()
    preset = await _preset(services, query)
    return html.Div(
        [
            html.Aside(
                form(symbols, today, preset), className="panel form", **{"aria-label": "New backtest"}
            ),
            html.Div(
                [
                    html.Div(_waiting_face(bool(query.get("run"))), id="run-view", className="run-view"),
                    html.Section(
                        [
                            html.Header(
                                [
                                    html.H2("Earlier runs"),
                                    html.Div(
                                        downloads("/api/backtest/results", limit=MAX_LIMIT), className="tools"
                                    ),
                                ]
                            ),
                            dag.AgGrid(
                                id="runs",
                                columnDefs=RUN_COLUMNS,
                                rowData=runs,
                                getRowId="params.data.id",
                                defaultColDef=COLUMN,
                                dashGridOptions=grid_options("No backtest was run yet"),
                                className="grid",
                                style={"height": "260px"},
                            ),
                        ],
                        className="panel",
                    ),
                ],
                className="run-column",
            ),
            dcc.Store(id="run-done"),
            dcc.Interval(id="runs-clock", interval=RUNS_MS),
        ],
        className="backtests",
    )


async def _preset(services: Services, query: dict[str, str]) -> dict[str, Any]:
    """What the form begins with: the settings of ?bot=, else the strategy of ?strategy=."""
    row = await services.query(bot_queries.bot, query["bot"]) if query.get("bot") else None
    if row is not None:
        return dict(row["config"])
    return {"strategy": query.get("strategy", "")}


def _waiting_face(expected: bool) -> Any:
    if expected:
        return html.Div(className="skeleton run-skeleton")
    return html.Div(
        empty(
            "No run is open",
            "Choose a strategy and a period, then press Run. Earlier runs open from the list below.",
        ),
        className="panel",
    )


def register(dash: Dash, services: Services) -> None:
    """Form, run and result."""
    _register_form(dash)
    _register_run(dash, services)
    _register_view(dash, services)
    _register_note(dash, services)


def _register_form(dash: Dash) -> None:
    @on(
        dash,
        Output("form-parameters", "children"),
        Output("strategy-about", "children"),
        Input("form-strategy", "value"),
        State({"type": "parameter", "name": ALL}, "id"),
    )
    async def choose(name: str, shown: list[dict[str, str]]) -> Any:
        found = registry.find(name)
        about = (found.__doc__ or "").strip().split("\n\n")[0]
        if ctx.triggered_id is None:
            return no_update, about
        return parameter_fields(found.model, "parameter"), about

    @on(
        dash,
        Output({"type": "parameter", "name": ALL}, "error"),
        *(Output(f"form-{name}", "error") for name in FIELDS),
        Output("form-problem", "children"),
        Output("form-json", "children"),
        *(Input(f"form-{name}", "value") for name in FIELDS),
        Input({"type": "parameter", "name": ALL}, "value"),
        State({"type": "parameter", "name": ALL}, "id"),
        State("form-blocks", "data"),
    )
    async def check(*arguments: Any) -> Any:
        *values, given, names, blocks = arguments
        try:
            request = read_form(values, names, given, blocks)
        except BadInput as error:
            return (*_errors(error, names), "")
        document = request.model_dump(mode="json", exclude_none=True)
        return ([None] * len(names), *([None] * len(FIELDS)), "", json.dumps(document, indent=2))


def _errors(error: BadInput, names: list[dict[str, str]]) -> tuple[Any, ...]:
    """The message beside the field it is about, or below the form when it is about none of them."""
    field = {"start": "period", "end": "period", "candles": "period"}.get(error.field, error.field)
    inside = [error.message if name["name"] == field else None for name in names]
    fields = [error.message if name == field else None for name in FIELDS]
    known = any(inside) or any(fields)
    return (inside, *fields, "" if known else str(error))


def _register_run(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-done", "data"),
        Output("form-problem", "children", allow_duplicate=True),
        Output("runs", "rowData"),
        Output("toasts", "children", allow_duplicate=True),
        Input("run", "n_clicks"),
        *(State(f"form-{name}", "value") for name in FIELDS),
        State({"type": "parameter", "name": ALL}, "value"),
        State({"type": "parameter", "name": ALL}, "id"),
        State("form-blocks", "data"),
        State("session", "data"),
        running=[
            (Output("run", "disabled"), True, False),
            (Output("run-label", "children"), "Running…", "Run"),
            (Output("run-progress", "hidden"), False, True),
            (Output("run-clock", "disabled"), False, True),
            (Output("run-step", "hidden"), False, True),
        ],
        prevent_initial_call=True,
    )
    async def run(clicks: int | None, *arguments: Any) -> Any:
        if not clicks:  # the button has just appeared: an output outside the page makes Dash ask
            return no_update, no_update, no_update, no_update
        *values, given, names, blocks, session = arguments
        try:
            request = read_form(values, names, given, blocks)
            begun = await start(services, request, lambda result: result.id, session)
        except (TcpError, SQLAlchemyError) as error:
            return no_update, told(error), no_update, no_update
        if isinstance(begun, HandedRun):
            return no_update, "", no_update, _handed(begun.address)
        while not begun.ended:
            await asyncio.sleep(POLL_S)
        if begun.error is not None:
            return no_update, begun.error, no_update, no_update
        services.wrote()
        return begun.result, "", await refresh(None), no_update

    @on(
        dash,
        Output("run-step", "children"),
        Output("run-bar", "style"),
        Input("run-clock", "n_intervals"),
        State("session", "data"),
        prevent_initial_call=True,
    )
    async def follow(_turn: int | None, session: str) -> Any:
        words, share = progress(services.jobs.unfinished(session))
        return words, {"width": f"{share:.0%}", "animation": "none"} if share else {}

    @on(
        dash,
        Output("runs", "rowData", allow_duplicate=True),
        Input("runs-clock", "n_intervals"),
        prevent_initial_call=True,
    )
    async def refresh(_turn: int | None) -> Any:
        try:
            rows = await services.share(FRESH_S, "", queries.runs)
            return [results.run_row(row) for row in rows]
        except SQLAlchemyError:
            return no_update  # what is listed stays; the top bar says that the database is away

    in_browser(
        dash,
        "tcpRuns.open",
        Output("url", "search", allow_duplicate=True),
        Input("run-done", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpRuns.select",
        Output("url", "search", allow_duplicate=True),
        Input("runs", "cellClicked"),
        initial=False,
    )


def _handed(address: str) -> html.Div:
    link = html.A("see it there", href=address, target="_blank", rel="noopener")
    return toast("A long one: Dagster runs it, ", link, ". It is in the list below when it is done.")


def _register_view(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-view", "children"),
        Input("url", "search"),
        State("url", "pathname"),
        State("scheme", "data"),
    )
    async def view(search: str | None, pathname: str, scheme: str | None) -> Any:
        run_id = parameters(search).get("run")
        if pathname.rstrip("/") != PAGE.path:
            return no_update
        if not run_id:
            return _waiting_face(False)
        try:
            return await services.query(results.result_view, run_id, "light" if scheme == "light" else "dark")
        except SQLAlchemyError as error:
            return failure("The result cannot be read", error)


def _register_note(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-note", "error"),
        Output("runs", "rowData", allow_duplicate=True),
        Input("run-note", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def keep(text: str | None, search: str | None) -> Any:
        run_id = parameters(search).get("run", "")
        try:
            stored = await services.query(queries.run, run_id)
            if stored is None or (stored["note"] or "") == (text or "").strip():  # it has just been drawn
                return None, no_update
            await services.query(write_note, run_id, text or "")
        except BadInput as error:
            return error.message, no_update
        except SQLAlchemyError:
            return "The database does not answer: the note is not kept.", no_update
        services.wrote()
        return None, [results.run_row(row) for row in await services.query(queries.runs)]


PAGE = Page("/backtests", "Backtests", "backtest", layout, register)
