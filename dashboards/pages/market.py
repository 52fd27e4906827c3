"""The market page: candles of any symbol beside its order book and newest trades."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from dashboards import market
from dashboards.callbacks import in_browser, on
from dashboards.charts import chart_failure
from dashboards.components import empty, panel
from dashboards.figures.style import CONFIG
from dashboards.formatting import money, quantity
from dashboards.hub import Watch
from dashboards.pages.page import Page
from dashboards.queries import market as queries
from dashboards.rows import epoch_ms
from dashboards.services import Services
from pipelines.bus.books import read_book

EVERY_MS = 1_000
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
                    panel(html.Div(id="market-book", className="ladder"), title="Order book"),
                    panel(html.Div(id="market-trades", className="ladder"), title="Trades"),
                ],
                className="side-column",
            ),
            dcc.Store(id="market-view"),
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
            w=116,
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
        figure={"data": [], "layout": {}},
    )
    return html.Section(
        [
            head,
            html.Div(id="market-face", className="chart-face"),
            html.Div(graph, className="chart-box waiting", id="market-box"),
        ],
        className="panel price-panel",
        **{"aria-label": "Price"},
    )


def book_ladder(book: dict[str, Any] | None, decimals: int) -> list[Any]:
    """Five levels of each side around the spread, with what is wanted up to each level behind it.

    book: as pipelines.bus.books publishes it
    """
    if book is None or not (book["bids"] and book["asks"]):
        return [empty("No order book", "The daemon keeps it for the symbols that it collects.")]
    asks, bids = (_levels(book[side]) for side in ("asks", "bids"))
    deepest = max(asks[-1][2], bids[-1][2])
    best_ask, best_bid = asks[0][0], bids[0][0]
    spread = best_ask - best_bid
    middle = (best_ask + best_bid) / 2
    head = html.Div([html.Span(word) for word in ("Price", "Size", "Sum")], className="level head")
    between = html.Div(
        [
            html.Span(f"Spread {money(spread, decimals)}"),
            html.Span(f"{spread / middle * 10_000:.2f} bp"),
        ],
        className="spread",
    )
    return [
        head,
        *(_level(level, "ask", deepest, decimals) for level in reversed(asks)),
        between,
        *(_level(level, "bid", deepest, decimals) for level in bids),
    ]


def _levels(side: Sequence[Sequence[Any]]) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Price, size, and the size up to there."""
    total, found = Decimal(0), []
    for price, size in side:
        total += Decimal(str(size))
        found.append((Decimal(str(price)), Decimal(str(size)), total))
    return found


def _level(level: tuple[Decimal, Decimal, Decimal], side: str, deepest: Decimal, decimals: int) -> html.Div:
    price, size, total = level
    return html.Div(
        [
            html.Span(money(price, decimals), className="up" if side == "bid" else "down"),
            html.Span(quantity(size, 4)),
            html.Span(quantity(total, 4), className="muted"),
        ],
        className=f"level {side}",
        style={"--share": f"{float(total / deepest):.1%}"},
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
    """The chart on every choice and stretch, book and trades each second."""
    _register_chart(dash, services)
    _register_side(dash, services)


def _register_chart(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("market-chart", "figure"),
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
            drawn = await services.query(
                market.market_chart,
                symbol,
                Timeframe(timeframe),
                shown or [],
                (view[0], view[1]) if view else None,
                "light" if scheme == "light" else "dark",
                services.hub.exchange_now(),
            )
        except BadInput as error:
            return no_update, no_update, no_update, error.message
        except SQLAlchemyError as error:
            return no_update, no_update, chart_failure(error), None
        if drawn.meta is None:
            return no_update, None, drawn.face, None
        services.hub.watch(session, Watch(None, symbol, drawn.meta["frame"]))
        return drawn.figure, drawn.meta, None, None

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
        Output("market-view", "data"),
        Input("market-symbol", "value"),
        Input("market-timeframe", "value"),
        Input("market-show", "value"),
        initial=False,
    )

    @on(
        dash,
        Output("market-show", "value"),
        Input("market-template", "value"),
        prevent_initial_call=True,
    )
    async def take_template(name: str | None) -> Any:
        return list(market.TEMPLATES.get(name or "", ()))


def _register_side(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("market-book", "children"),
        Output("market-trades", "children"),
        Input("market-clock", "n_intervals"),
        Input("market-symbol", "value"),
        State("market-meta", "data"),
    )
    async def read(_turn: int | None, symbol: str, meta: dict[str, Any] | None) -> Any:
        decimals = meta["decimals"] if meta and meta["symbol"] == symbol else 2
        try:
            book = await read_book(services.bus, symbol)
        except Unavailable:
            book = None
        try:
            since = services.hub.exchange_now() - TRADES_WITHIN
            trades = await services.query(queries.recent_trades, symbol, since)
        except SQLAlchemyError:
            return book_ladder(book, decimals), no_update
        return book_ladder(book, decimals), trade_lines(trades, decimals)


PAGE = Page("/market", "Market", "market", layout, register)
