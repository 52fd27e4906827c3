"""The comparison page: runs and bots side by side, named in the address: ?of=bot:bot_001,RUN."""

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput
from dashboards import comparison
from dashboards.callbacks import in_browser, on
from dashboards.components import empty, failure
from dashboards.pages.page import Page
from dashboards.services import Services
from dashboards.theme import Scheme

FRESH_S = 2.0
AGAINST = [
    {"value": "first", "label": "The first of them"},
    {"value": "buy_and_hold", "label": "Buy and hold"},
]


async def layout(services: Services, query: dict[str, str]) -> Any:
    """What is compared, with what, and the result."""
    options = await services.query(comparison.options)
    asked = [name for name in query.get("of", "").split(",") if name]
    chosen = asked or await services.query(comparison.newest)
    return html.Div(
        [
            html.Div(
                [
                    dmc.MultiSelect(
                        id="compare-of",
                        label="Side by side",
                        description=f"Bots and runs, at most {comparison.MOST}; a bot beside a run of its "
                        "strategy is live against backtest",
                        data=options,
                        value=chosen,
                        searchable=True,
                        maxValues=comparison.MOST,
                        hidePickedOptions=True,
                        placeholder="" if chosen else "Choose bots or runs",
                        size="xs",
                    ),
                    dmc.Select(
                        id="compare-against",
                        label="Measured against",
                        description="Differences are tested against it",
                        data=AGAINST,
                        value="buy_and_hold" if query.get("against") == "buy_and_hold" else "first",
                        allowDeselect=False,
                        size="xs",
                    ),
                ],
                className="panel compare-form",
            ),
            html.Div(html.Div(className="skeleton run-skeleton"), id="compare-view"),
        ],
        className="run-result",
    )


def _nothing() -> html.Div:
    text = "Choose bots and runs above: every metric, and whether one is better or was luckier."
    link = html.A("Run a backtest", href="/backtests", className="button")
    return html.Div(empty("Nothing is compared yet", text, link), className="panel")


def register(dash: Dash, services: Services) -> None:
    """Draw what is chosen, and keep it in the address."""

    @on(
        dash,
        Output("compare-view", "children"),
        Input("compare-of", "value"),
        Input("compare-against", "value"),
        State("scheme", "data"),
    )
    async def view(chosen: list[str] | None, against: str, scheme: str | None) -> Any:
        if not chosen:
            return _nothing()
        try:
            shown: Scheme = "light" if scheme == "light" else "dark"
            asked = (tuple(chosen), against, shown)
            return await services.share(FRESH_S, asked, comparison.comparison_view, *asked)
        except BadInput as error:
            return html.Div(empty("This cannot be compared", str(error)), className="panel")
        except SQLAlchemyError as error:
            return failure("The comparison cannot be read", error)

    in_browser(
        dash,
        "tcpSweeps.compared",
        Output("url", "search", allow_duplicate=True),
        Input("compare-of", "value"),
        Input("compare-against", "value"),
        initial=False,
    )


PAGE = Page("/compare", "Compare", "compare", layout, register)
