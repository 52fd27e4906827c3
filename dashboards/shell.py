"""The frame around every page: navigation, top bar, and the stores that the live stream fills."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from dashboards.callbacks import in_browser, on
from dashboards.components import icon, toast
from dashboards.pages.page import Page
from dashboards.services import Services
from pipelines.warehouse.kill_switch import Switched
from pipelines.warehouse.kill_switch import switch as turn_kill_switch

INDEX = """<!DOCTYPE html>
<html lang="en" data-mantine-color-scheme="dark">
<head>
{%metas%}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{%title%}</title>{%favicon%}
<style id="tokens">{theme}</style>{%css%}
<script>document.documentElement.dataset.mantineColorScheme =
 localStorage.getItem("tcp-scheme") === "light" ? "light" : "dark";</script>
{early}
</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def index(stylesheet: str, early: Sequence[str]) -> str:
    """The document around the app. stylesheet: colours as variables; early: scripts that are read meanwhile
    and run before the first page is drawn."""
    scripts = "".join(f'<script defer src="{address}"></script>' for address in early)
    return INDEX.replace("{theme}", stylesheet).replace("{early}", scripts)


MANTINE = {
    "fontFamily": "var(--font)",
    "primaryColor": "blue",
    "defaultRadius": 8,
    "cursorType": "pointer",
}


def layout(services: Services, pages: Sequence[Page]) -> Callable[[], Any]:
    """The frame, built anew for each browser, so that each has its own session name."""

    def build() -> Any:
        return dmc.MantineProvider(
            [
                dcc.Location(id="url", refresh="callback-nav"),
                dcc.Store(id="session", data=uuid4().hex),
                dcc.Store(id="live-feed", data=services.hub.feed.document(services.hub.feed_now_ms())),
                dcc.Store(id="live-bots", data=services.hub.bots),
                dcc.Store(id="live-chart"),
                dcc.Store(id="live-book"),
                dcc.Store(id="page-title"),
                dcc.Store(id="scheme", storage_type="local", data="dark"),
                dcc.Store(id="sink"),
                dcc.Store(id="kill-wanted"),
                html.A("Skip to content", href="#page", className="skip"),
                _navigation(pages),
                _top_bar(services.settings.dashboard_token is not None),
                html.Main(html.Div(className="skeleton page-skeleton"), id="page", tabIndex=-1),
                _kill_switch_dialog(),
                _shortcuts(pages),
                html.Div(id="toasts", role="status", **{"aria-live": "polite"}),
            ],
            id="mantine",
            theme=MANTINE,
            forceColorScheme="dark",
        )

    return build


def _navigation(pages: Sequence[Page]) -> html.Nav:
    links = [
        dcc.Link(
            [icon(page.icon), html.Span(page.title, **{"data-key": page.shortcut})],
            href=page.path,
            className="nav-link",
        )
        for page in pages
    ]
    brand = html.Div([html.Span(className="brand-mark"), html.Span("TCP")], className="brand")
    return html.Nav([brand, *links], className="side", **{"aria-label": "Pages"})


def _top_bar(logged_in: bool) -> html.Header:
    leave = html.Form(
        html.Button("Log out", className="button"), action="/logout", method="POST", hidden=not logged_in
    )
    return html.Header(
        [
            html.H1("", id="title"),
            html.Div(
                [
                    html.Span(className="dot", id="feed-dot"),
                    html.Span("Connecting…", id="feed-state"),
                    html.Span("", id="feed-detail", className="muted"),
                ],
                className="feed",
                id="feed",
                role="status",
            ),
            html.Span("", id="exchange", className="badge"),
            html.Span("", id="exchange-clock", className="muted numeric", title="Exchange time"),
            html.Button(
                [icon("power"), html.Span("Kill switch", id="kill-label")],
                id="kill-open",
                className="button danger-quiet",
                title="Stop all trading of all bots",
            ),
            html.Button(
                icon("theme"),
                id="scheme-toggle",
                className="button icon-only",
                title="Light or dark (t)",
                **{"aria-label": "Switch between light and dark"},
            ),
            leave,
        ],
        className="top",
    )


def _kill_switch_dialog() -> dmc.Modal:
    return dmc.Modal(
        [
            html.P("", id="kill-text"),
            dmc.Switch(
                id="kill-flatten",
                label="Also sell what the bots hold",
                description="At the newest price, each on its own",
                checked=False,
                size="xs",
                className="kill-flatten",
            ),
            html.Div(
                [
                    html.Button("Cancel", id="kill-cancel", className="button"),
                    html.Button("", id="kill-confirm", className="button danger"),
                ],
                className="actions end",
            ),
        ],
        id="kill-dialog",
        title="Kill switch",
        centered=True,
        opened=False,
    )


def _shortcuts(pages: Sequence[Page]) -> dmc.Modal:
    keys = [(f"g {page.shortcut}", f"Go to {page.title}") for page in pages]
    keys += [("j / k", "Next, previous bot"), ("t", "Light or dark"), ("?", "This list"), ("Esc", "Close")]
    rows = [html.Tr([html.Td(html.Kbd(key)), html.Td(text)]) for key, text in keys]
    return dmc.Modal(
        html.Table(html.Tbody(rows), className="keys"),
        id="shortcuts",
        title="Keyboard",
        centered=True,
        opened=False,
    )


def register(dash: Dash, services: Services) -> None:
    """Theme, top bar and kill switch."""
    sink = Output("sink", "data", allow_duplicate=True)
    in_browser(
        dash, "tcp.title", sink, Input("page-title", "data"), Input("url", "pathname"), initial="duplicate"
    )
    in_browser(dash, "tcp.feed", sink, Input("live-feed", "data"), initial="duplicate")
    in_browser(dash, "tcp.scheme", Output("mantine", "forceColorScheme"), Input("scheme", "data"))
    in_browser(
        dash,
        "tcp.toggleScheme",
        Output("scheme", "data"),
        Input("scheme-toggle", "n_clicks"),
        State("scheme", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcp.killDialog",
        Output("kill-dialog", "opened"),
        Output("kill-text", "children"),
        Output("kill-confirm", "children"),
        Output("kill-flatten", "style"),
        Output("kill-flatten", "checked"),
        Output("kill-wanted", "data"),
        Input("kill-open", "n_clicks"),
        Input("kill-cancel", "n_clicks"),
        Input("kill-confirm", "n_clicks"),
        State("live-feed", "data"),
        State("live-bots", "data"),
        initial=False,
    )
    _register_kill_switch(dash, services)


def _register_kill_switch(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("toasts", "children"),
        Input("kill-confirm", "n_clicks"),
        State("kill-wanted", "data"),
        State("kill-flatten", "checked"),
        prevent_initial_call=True,
    )
    async def switch(clicks: int | None, wanted: bool | None, flatten: bool) -> Any:
        if not clicks or wanted is None:
            return no_update
        try:
            done = await services.query(
                turn_kill_switch, wanted, "set on the page", None, bool(flatten) and wanted
            )
        except SQLAlchemyError:
            return toast("The kill switch was not changed: the database does not answer.", failed=True)
        services.wrote()
        return toast(_turned(done))


def _turned(done: Switched) -> str:
    """What turning the switch did, in one sentence for each part."""
    if not done.on:
        return "Kill switch is off."
    said = ["Kill switch is on: no order leaves."]
    if done.cancelled:
        said.append(f"{done.cancelled} waiting orders were withdrawn.")
    if done.sold:
        said.append(f"Sold what {', '.join(done.sold)} held.")
    said += [f"{name} was not sold: {why}." for name, why in done.unsold.items()]
    return " ".join(said)
