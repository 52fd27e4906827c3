"""The sweeps page: sweeps on the left, the chosen one's charts and rows on the right, a row made a bot."""

import json
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from config.files import ConfigError
from core.errors import BadInput, TcpError
from dashboards import sweeps
from dashboards.callbacks import in_browser, on
from dashboards.cancelling import cancel_sweep
from dashboards.components import empty, failure, toast
from dashboards.failures import told
from dashboards.figures.style import BLANK
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.promotion import CASH, bot_document, free_name, refuse_taken
from dashboards.queries import bots as bot_queries
from dashboards.queries import runs as run_queries
from dashboards.queries import sweeps as queries
from dashboards.services import Services
from pipelines.sweep.request import LOWER_IS_BETTER
from pipelines.warehouse.bot_edits import write_bot

CHOICES = ("market", "x", "y", "metric")
PROMOTION = ("promote-name", "promote-cash", "promote-start")
LIST_MS = 10_000
FRESH_S = 2.0
AWAY = "The database does not answer"
SKELETON = html.Div(className="skeleton run-skeleton")


async def layout(services: Services, query: dict[str, str]) -> Any:
    """List and view; ?sweep=ID shows that sweep, else the newest."""
    runs = await services.query(run_queries.runs, "sweep")
    chosen = query.get("sweep") or (runs[0]["id"] if runs else "")
    listed = [sweeps.sweep_item(run, run["id"] == chosen) for run in runs]
    nothing = empty("No sweep yet", "Each sweep that keeps its rows in the database is listed here.")
    return html.Div(
        [
            html.Aside(
                [
                    html.Header(
                        [
                            html.H2("Sweeps"),
                            html.Span(f"{len(runs)}", id="sweep-count", className="muted push-right"),
                        ]
                    ),
                    html.Div(listed or nothing, className="item-list", id="sweep-list"),
                ],
                className="panel side-list",
                **{"aria-label": "Sweeps"},
            ),
            html.Div(SKELETON if chosen else _how_to(), id="sweep-view", className="run-column"),
            dcc.Store(id="sweep-chosen", data=chosen),
            dcc.Store(id="sweep-shown"),
            dcc.Store(id="sweep-stale"),
            dcc.Interval(id="sweep-clock", interval=LIST_MS),
            dcc.Store(id="promote-row"),
            _dialog(),
        ],
        className="listed",
    )


def _how_to() -> html.Div:
    code = html.Pre(
        "tcp sweep --strategy ema_crossover --symbol BTC-USDT --timeframe 1m \\\n"
        "          --grid fast_period=5:50:5 --grid slow_period=20:200:20",
        className="code",
    )
    text = "A sweep walks a strategy through many combinations of its parameters. Start one with"
    return html.Div(empty("No sweep was run yet", text, code), className="panel")


def _dialog() -> dmc.Modal:
    return dmc.Modal(
        [
            html.Div(
                [
                    dmc.TextInput(
                        id="promote-name", label="Name", description="Letters, digits, _ and -", size="xs"
                    ),
                    dmc.NumberInput(
                        id="promote-cash",
                        label="Starting cash",
                        description="Quote currency, simulated",
                        value=CASH,
                        step=1000,
                        thousandSeparator=",",
                        clampBehavior="none",
                        size="xs",
                    ),
                    dmc.Switch(id="promote-start", label="Start at once", checked=True, size="xs"),
                    html.Details(
                        [
                            html.Summary("Configuration as JSON"),
                            html.Pre("", id="promote-json", className="code"),
                        ]
                    ),
                    html.Div("", id="promote-problem", className="problem", role="alert"),
                ],
                className="form-fields",
            ),
            html.Div(
                [
                    html.Button("Cancel", id="promote-cancel", className="button"),
                    html.Button("Create bot", id="promote-create", className="button primary"),
                ],
                className="actions end",
            ),
        ],
        id="promote-dialog",
        title="A bot of this row",
        centered=True,
        opened=False,
    )


def register(dash: Dash, services: Services) -> None:
    """The view of a sweep, its charts, and the way from a row to a bot."""
    _register_view(dash, services)
    _register_running(dash, services)
    _register_promotion(dash, services)


def _register_view(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("sweep-view", "children"),
        Output("sweep-list", "children"),
        Output("sweep-shown", "data"),
        Input("url", "search"),
        Input("sweep-stale", "data"),
        State("url", "pathname"),
        State("sweep-chosen", "data"),
        State("sweep-shown", "data"),
    )
    async def view(
        search: str | None, stale: str | None, pathname: str, newest: str, known: str | None
    ) -> Any:
        asked = parameters(search)
        chosen = asked.get("sweep") or newest
        is_drawn = chosen == known and not (stale and ctx.triggered_id == "sweep-stale")
        if pathname.rstrip("/") != PAGE.path or not chosen or is_drawn:
            return no_update, no_update, no_update
        try:
            runs = await services.query(run_queries.runs, "sweep")
            found = await services.query(sweeps.sweep_view, chosen, asked)
        except SQLAlchemyError as error:
            return failure("The sweep cannot be read", error), no_update, None
        return found, [sweeps.sweep_item(run, run["id"] == chosen) for run in runs], chosen

    @on(
        dash,
        *(Output(f"sweep-{name}", "figure") for name in sweeps.GRAPHS),
        *(Output(f"sweep-{name}", "children") for name in ("cards", "walk", "rows")),
        *(Input(f"sweep-{name}", "value") for name in CHOICES),
        State("sweep-shown", "data"),
        State("scheme", "data"),
    )
    async def draw(market: str, x: str, y: str, metric: str, sweep_id: str, scheme: str | None) -> Any:
        try:
            parts = await services.query(
                sweeps.sweep_parts, sweep_id, market, x, y, metric, "light" if scheme == "light" else "dark"
            )
        except SQLAlchemyError as error:
            said = failure("The charts cannot be read", error, "Choose again, or load the page again.")
            return *(BLANK for _ in sweeps.GRAPHS), said, "", ""
        return tuple(parts[name] for name in (*sweeps.GRAPHS, "cards", "walk", "rows"))

    in_browser(
        dash,
        "tcpSweeps.remember",
        Output("url", "search", allow_duplicate=True),
        *(Input(f"sweep-{name}", "value") for name in CHOICES),
        State("sweep-shown", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpSweeps.promote",
        Output("promote-row", "data"),
        Input("sweep-table", "cellClicked"),
        initial=False,
    )


def _register_running(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("sweep-progress", "children"),
        Output("sweep-stale", "data"),
        Input("sweep-pulse", "n_intervals"),
        State("sweep-shown", "data"),
        State("sweep-mark", "data"),
        prevent_initial_call=True,
    )
    async def follow(turn: int | None, sweep_id: str, drawn: str) -> Any:
        try:
            mark, said = await services.share(FRESH_S, sweep_id, sweeps.pulse, sweep_id)
        except SQLAlchemyError:
            return no_update, no_update  # the top bar says that the database is away
        return said, no_update if mark == drawn else f"{sweep_id} {turn}"

    @on(
        dash,
        Output("sweep-cancel", "disabled"),
        Output("toasts", "children", allow_duplicate=True),
        Input("sweep-cancel", "n_clicks"),
        State("sweep-shown", "data"),
        prevent_initial_call=True,
    )
    async def cancel(clicks: int | None, sweep_id: str) -> Any:
        if not clicks:  # the button has just appeared: an output outside the page makes Dash ask
            return no_update, no_update
        try:
            await cancel_sweep(services, sweep_id, "on the Sweeps page")
        except (TcpError, SQLAlchemyError) as error:
            return no_update, toast(told(error), failed=True)
        return True, toast("The sweep ends with its chunk; its rows stay.")

    @on(
        dash,
        Output("sweep-list", "children", allow_duplicate=True),
        Output("sweep-count", "children"),
        Input("sweep-clock", "n_intervals"),
        State("sweep-shown", "data"),
        prevent_initial_call=True,
    )
    async def refresh(_turn: int | None, chosen: str | None) -> Any:
        try:
            runs = await services.share(FRESH_S, "sweep", run_queries.runs, "sweep")
        except SQLAlchemyError:
            return no_update, no_update  # what is listed stays
        if not runs:
            return no_update, no_update
        return [sweeps.sweep_item(run, run["id"] == chosen) for run in runs], f"{len(runs)}"


def _register_promotion(dash: Dash, services: Services) -> None:
    async def document(sweep_id: str, n: int, *given: Any) -> dict[str, Any]:
        name, cash, start = given
        run = await services.query(run_queries.run, sweep_id)
        row = await services.query(queries.row, sweep_id, n)
        if run is None or row is None:
            raise BadInput("row", "is not there any more: the sweep was run again")
        if not isinstance(cash, int | float):
            raise BadInput("virtual_balance", "must be a number")
        return bot_document(run, row, name or "", cash, bool(start))

    @on(
        dash,
        Output("promote-dialog", "opened"),
        Output("promote-row", "data", allow_duplicate=True),
        Output("promote-name", "value"),
        Output("promote-problem", "children", allow_duplicate=True),
        Input("promote-row", "data"),
        Input("promote-best", "n_clicks"),
        Input("promote-cancel", "n_clicks"),
        State("sweep-shown", "data"),
        State("sweep-market", "value"),
        State("sweep-metric", "value"),
        prevent_initial_call=True,
    )
    async def opened(
        row: int | None, best: int | None, _cancel: int | None, sweep_id: str, market: str, metric: str
    ) -> Any:
        if ctx.triggered_id == "promote-cancel":
            return False, None, no_update, no_update
        wants_best = ctx.triggered_id == "promote-best"
        if not best if wants_best else row is None:
            return no_update, no_update, no_update, no_update
        try:
            chosen, name = await proposed(None if wants_best else row, sweep_id, market, metric)
        except SQLAlchemyError:
            return True, no_update, no_update, f"{AWAY}: cancel, and try again in a moment."
        return chosen is not None, chosen, name, no_update

    async def proposed(row: int | None, sweep_id: str, market: str, metric: str) -> tuple[int | None, str]:
        """The row, or the best of the market where it is None, and a name for its bot that nobody has."""
        if row is None:
            symbol, _, timeframe = market.partition(" ")
            found = await services.query(
                queries.optimum, sweep_id, (symbol, timeframe), metric, metric not in LOWER_IS_BETTER
            )
            row = found["n"] if found else None
        run = await services.query(run_queries.run, sweep_id)
        taken = await services.query(bot_queries.names)
        return row, free_name(run["strategy_name"] if run else "bot", taken)

    @on(
        dash,
        Output("promote-json", "children"),
        Output("promote-problem", "children"),
        Input("promote-row", "data"),
        Input("promote-name", "value"),
        Input("promote-cash", "value"),
        Input("promote-start", "checked"),
        State("sweep-shown", "data"),
        prevent_initial_call=True,
    )
    async def preview(row: int | None, name: str, cash: float, start: bool, sweep_id: str) -> Any:
        if row is None:
            return "", ""
        try:
            return json.dumps(await document(sweep_id, row, name, cash, start), indent=2), ""
        except BadInput as error:
            return no_update, str(error)
        except SQLAlchemyError:
            return no_update, AWAY

    @on(
        dash,
        Output("promote-dialog", "opened", allow_duplicate=True),
        Output("promote-problem", "children", allow_duplicate=True),
        Output("toasts", "children", allow_duplicate=True),
        Input("promote-create", "n_clicks"),
        State("promote-row", "data"),
        State("promote-name", "value"),
        State("promote-cash", "value"),
        State("promote-start", "checked"),
        State("sweep-shown", "data"),
        prevent_initial_call=True,
    )
    async def create(clicks: int | None, row: int, name: str, cash: float, start: bool, sweep_id: str) -> Any:
        if not clicks:  # the button has just appeared: an output outside the page makes Dash ask
            return no_update, no_update, no_update
        try:
            wanted = await document(sweep_id, row, name, cash, start)
            refuse_taken("name", await services.query(bot_queries.bot, wanted["bot_id"]))
            await services.query(write_bot, services.settings, wanted["bot_id"], wanted, "api")
        except (BadInput, ConfigError) as error:
            return no_update, str(error), no_update
        except SQLAlchemyError:
            return no_update, f"{AWAY}: nothing was created.", no_update
        await services.changed(name)
        link = dcc.Link("Open it", href=f"/bots?bot={name}")
        return False, "", toast(f"{name} was created. ", link)


PAGE = Page("/sweeps", "Sweeps", "sweep", layout, register, key="w")
