"""Address → page. The query string holds what a page has selected, so that a reload shows it again."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from dash import Dash, Input, Output, State, html
from sqlalchemy.exc import SQLAlchemyError

from dashboards.callbacks import on
from dashboards.components import failure
from dashboards.pages.page import Page
from dashboards.services import Services


def parameters(search: str | None) -> dict[str, str]:
    """The query string's parameters; the last of a repeated name counts."""
    return dict(parse_qsl((search or "").lstrip("?")))


def register(dash: Dash, services: Services, pages: Sequence[Page]) -> None:
    """Show the page that the address names, and mark it in the navigation."""
    by_path = {page.path: page for page in pages}

    @on(
        dash,
        Output("page", "children"),
        Output("page-title", "data"),
        Input("url", "pathname"),
        State("url", "search"),
    )
    async def show(pathname: str, search: str | None) -> tuple[Any, str]:
        page = by_path.get(pathname.rstrip("/") or "/")
        if page is None:
            return not_found(pathname), "Not found"
        try:
            return await page.layout(services, parameters(search)), page.title
        except SQLAlchemyError as error:
            return failure("The database does not answer", error), page.title


def not_found(pathname: str) -> Any:
    """What an unknown address shows."""
    return html.Div(
        [
            html.H2("There is no such page"),
            html.P(["Nothing is at ", html.Code(pathname), "."]),
            html.A("Go to the live page", href="/", className="button primary"),
        ],
        className="panel face",
    )
