"""The market page: candles of any symbol beside its order book and newest trades."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards import market
from dashboards.api.documents import MAX_LIMIT
from dashboards.callbacks import in_browser, on
from dashboards.chart_room import chart_files
from dashboards.charts import chart_failure
from dashboards.components import downloads, empty, failure, panel
from dashboards.figures.style import BLANK, CONFIG
from dashboards.formatting import money, quantity
from dashboards.hub import Watch
from dashboards.pages.page import Page
from dashboards.queries import market as queries
from dashboards.rows import epoch_ms
from dashboards.services import Services

EVERY_MS = 3_000
FRESH_S = 1.0
"""How old a drawn chart may be: the stream brings what came since."""
SPANS = (("6h", 6), ("1d", 24), ("1w", 168), ("1M", 730), ("3M", 2190), ("1y", 8760), ("2y", 17520))
"""Buttons: word and hours."""
TRADES_WITHIN = timedelta(hours=6)


async def layout(services: Services, query: dict[str, str]) -> Any:
    """The page for ?symbol=BTC-USDT&timeframe=1m&show=ema 12,rsi 14."""
    symbols = await services.query(queries.symbols) or list(services.settings.symbol_list)
    shown = [name for name in query.get("show", "").split(",") if name]
    asked = query.get("symbol")
    return html.Div(
        [
            html.Section(
                _tools(symbols, asked if asked in symbols else symbols[0], query.get("timeframe"), shown),
                className="panel tools-row",
                **{"aria-label": "What is drawn"},
            ),
            _chart_panel(),
            html.Div(
                [
                    panel(
                        html.Div(_no_book(), id="market-book", className="ladder"),
                        title="Order book",
                        tools=html.Span(id="market-book-files"),
                    ),
                    panel(
                        html.Div(id="market-trades", className="ladder", tabIndex=0),
                        title="Trades",
                        tools=html.Span(id="market-files"),
                    ),
                ],
                className="side-column",
            ),
            dcc.Store(id="market-ready", data={name: [*lines] for name, lines in market.TEMPLATES.items()}),
            dcc.Store(id="market-kept", storage_type="local", data={}),
            dcc.Store(id="market-view"),
            dcc.Store(id="market-figure"),
            dcc.Store(id="market-meta"),
            dcc.Store(id="market-redraw"),
            dcc.Interval(id="market-clock", interval=EVERY_MS),
        ],
        className="market",
    )


def _tools(symbols: list[str], symbol: str, timeframe: str | None, shown: list[str]) -> list[Any]:
    small = {"size": "xs", "allowDeselect": False}
    return [
        dmc.Select(
            id="market-symbol", label="Symbol", data=symbols, value=symbol, searchable=True, w=140, **small
        ),
        dmc.Select(
            id="market-timeframe",
            label="Timeframe",
            data=list(Timeframe),
            value=timeframe if timeframe in set(Timeframe) else "1m",
            w=86,
            **small,
        ),
        dmc.Select(
            id="market-template",
            label="Template",
            data=list(market.TEMPLATES),
            placeholder="None",
            clearable=True,
            w=132,
            size="xs",
        ),
        dmc.TagsInput(
            id="market-show",
            label="Indicators",
            data=list(market.SUGGESTED),
            value=shown,
            maxTags=market.MOST_INDICATORS,
            placeholder="" if shown else "ema 20, rsi 14 …",
            clearable=True,
            className="grow",
            size="xs",
        ),
        html.Button(
            "Keep",
            id="market-keep",
            className="button",
            disabled=not shown,
            title="These indicators as a template of yours, in this browser",
        ),
    ]


def _chart_panel() -> html.Section:
    spans = [
        html.Button(
            word, className="segment", **{"data-span-hours": str(hours), "aria-label": f"Show {word}"}
        )
        for word, hours in SPANS
    ]
    head = html.Header(
        [
            html.Span("", id="market-name", className="symbol"),
            html.Span("", id="market-price", className="price numeric"),
            html.Span("", id="market-change", className="numeric change"),
            html.Span("", id="market-drawn", className="muted small"),
            html.Div(spans, className="segments", role="group", **{"aria-label": "Stretch of time"}),
        ]
    )
    graph = dcc.Graph(
        id="market-chart",
        config=CONFIG,
        className="chart",
        responsive=True,
        figure=BLANK,
    )
    return html.Section(
        [
            head,
            html.Div(id="market-face", className="chart-face"),
            html.Div([graph, chart_files("market-chart")], className="chart-box waiting", id="market-box"),
        ],
        className="panel price-panel",
        **{"aria-label": "Price"},
    )


def _no_book() -> html.Div:
    """What stands there until a book is told, and when none is kept."""
    return html.Div(
        empty("No order book", "The daemon keeps it for the symbols that it collects."), id="market-no-book"
    )


def trade_lines(trades: Sequence[dict[str, Any]], decimals: int) -> list[Any]:
    """Newest trades, the taker's side by colour and arrow."""
    if not trades:
        text = "Either nothing was traded in the last hours, or raw trades of this symbol are not kept."
        return [empty("No trades here", text)]
    head = html.Div([html.Span(word) for word in ("Price", "Size", "Time")], className="level head")
    lines = []
    for trade in trades:
        buying = trade["side"] == "buy"
        lines.append(
            html.Div(
                [
                    html.Span(
                        f"{'▲' if buying else '▼'} {money(trade['price'], decimals)}",
                        className="up" if buying else "down",
                    ),
                    html.Span(quantity(trade["size"], 4)),
                    html.Time("", className="clock muted", **{"data-ms": str(epoch_ms(trade["timestamp"]))}),
                ],
                className="level",
            )
        )
    return [head, *lines]


def register(dash: Dash, services: Services) -> None:
    """The chart on every choice and stretch, the book as it is told, the newest trades."""
    _register_chart(dash, services)
    _register_side(dash, services)


def _register_chart(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("market-figure", "data"),
        Output("market-meta", "data"),
        Output("market-face", "children"),
        Output("market-show", "error"),
        Input("market-symbol", "value"),
        Input("market-timeframe", "value"),
        Input("market-show", "value"),
        Input("market-view", "data"),
        Input("market-redraw", "data"),
        State("session", "data"),
        State("scheme", "data"),
    )
    async def draw(
        symbol: str,
        timeframe: str,
        shown: list[str] | None,
        view: list[float] | None,
        _redraw: Any,
        session: str,
        scheme: str | None,
    ) -> Any:
        try:
            asked = (
                symbol,
                Timeframe(timeframe),
                tuple(shown or ()),
                (view[0], view[1]) if view else None,
                "light" if scheme == "light" else "dark",
            )
            key = (*asked, services.hub.epoch)
            drawn = await services.share(
                FRESH_S, key, market.market_chart, *asked, services.hub.exchange_now()
            )
        except BadInput as error:
            return no_update, no_update, no_update, error.message
        except SQLAlchemyError as error:
            return no_update, no_update, chart_failure(error), None
        if drawn.meta is None:
            return no_update, None, drawn.face, None
        frame, last = drawn.meta["frame"], drawn.meta["candle"]
        if last is not None:
            services.hub.grow(symbol, frame, last, drawn.meta["until"])
        services.hub.watch(session, Watch(None, symbol, frame, book=True))
        return drawn.figure, drawn.meta, None, None

    in_browser(
        dash,
        "tcpMarket.figure",
        Output("market-chart", "figure"),
        Input("market-figure", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpMarket.drawn",
        Output("sink", "data", allow_duplicate=True),
        Input("market-meta", "data"),
        Input("market-chart", "figure"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpMarket.push",
        Output("market-redraw", "data"),
        Input("live-chart", "data"),
        State("market-meta", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpMarket.remember",
        Output("url", "search", allow_duplicate=True),
        Input("market-symbol", "value"),
        Input("market-timeframe", "value"),
        Input("market-show", "value"),
        initial=False,
    )

    _register_templates(dash)


def _register_templates(dash: Dash) -> None:
    """Ready ones and those that people keep: all of it stays in the browser."""
    in_browser(
        dash,
        "tcpMarket.choices",
        Output("market-template", "data"),
        Input("market-kept", "data"),
        State("market-ready", "data"),
    )
    in_browser(
        dash,
        "tcpMarket.take",
        Output("market-show", "value"),
        Input("market-template", "value"),
        State("market-ready", "data"),
        State("market-kept", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpMarket.keep",
        Output("market-kept", "data"),
        Output("market-keep", "children"),
        Output("market-keep", "disabled"),
        Input("market-keep", "n_clicks"),
        Input("market-show", "value"),
        State("market-kept", "data"),
        initial=False,
    )


def _register_side(dash: Dash, services: Services) -> None:
    in_browser(
        dash,
        "tcpMarket.book",
        Output("sink", "data", allow_duplicate=True),
        Input("live-book", "data"),
        Input("market-meta", "data"),
        initial=False,
    )

    @on(
        dash,
        Output("market-trades", "children"),
        Input("market-clock", "n_intervals"),
        Input("market-symbol", "value"),
    )
    async def read(_turn: int | None, symbol: str) -> Any:
        try:
            since = services.hub.exchange_now() - TRADES_WITHIN
            return trade_lines(*await services.share(FRESH_S, symbol, market.newest_trades, symbol, since))
        except SQLAlchemyError as error:
            return failure("Trades cannot be read", error)

    @on(
        dash,
        Output("market-files", "children"),
        Output("market-book-files", "children"),
        Input("market-symbol", "value"),
    )
    async def files(symbol: str) -> Any:
        place = f"/api/market/{symbol}"
        return downloads(f"{place}/trades", limit=MAX_LIMIT), downloads(f"{place}/book")


PAGE = Page("/market", "Market", "market", layout, register)
