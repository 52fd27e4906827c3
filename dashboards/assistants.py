"""What assistants may read over MCP (Model Context Protocol), where the setting allows it: the platform's
rows as tools, none of which changes anything. Layout and callbacks of the pages stay out: people use those.

The guard of pages and API stands before it: the same hosts, origins and tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any

from dash.mcp import configure_mcp_server, mcp_enabled

from core.combined import combined
from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.api.documents import plain
from dashboards.api.portfolio import document
from dashboards.queries import accounts, bots, market, runs, system
from dashboards.rows import api_row, day_start
from dashboards.services import Services

MOST = 500
Rows = list[dict[str, Any]]


def install(services: Services) -> None:
    """Offer the tools of this process, and nothing else of the app."""
    configure_mcp_server(
        include_layout=False,
        include_callbacks=False,
        include_clientside_callbacks=False,
        include_pages=False,
    )
    for tool in (*_of_bots(services), *_of_data(services)):
        mcp_enabled(tool, expose_docstring=True)


def _of_bots(services: Services) -> Sequence[Callable[..., Any]]:
    engine, hub = services.engine, services.hub

    def key(bot_id: str) -> int:
        row = bots.bot(engine, bot_id)
        if row is None:
            raise BadInput("bot_id", f"there is no bot {bot_id!r}")
        return int(row["id"])

    def list_bots() -> Rows:
        """All bots: status, balance, profit, trades, win rate, last signal, why one buys nothing."""
        rows = bots.overview(engine, day_start(hub.exchange_now()))
        return plain([api_row(row, hub.prices.get(row["symbol"]), hub.now()) for row in rows])

    def bot_trades(bot_id: str, limit: int = 50) -> Rows:
        """Newest fills of a bot, newest first: side, price, quantity, fees, profit."""
        return plain(bots.fills(engine, key(bot_id), _bounded(limit)))

    def bot_signals(bot_id: str, limit: int = 50) -> Rows:
        """Newest judgements of a bot's strategy, newest first, with the indicator values it saw."""
        return plain(bots.signal_rows(engine, key(bot_id), _bounded(limit)))

    def bot_crashes(bot_id: str) -> Rows:
        """Newest crashes of a bot with their stack traces."""
        return plain(bots.crashes(engine, key(bot_id)))

    def portfolio() -> Rows:
        """All bots of a quote currency as one account: value, cash, positions, profit, fees."""
        return plain([document(total) for total in combined(accounts.holders(engine))])

    return list_bots, bot_trades, bot_signals, bot_crashes, portfolio


def _of_data(services: Services) -> Sequence[Callable[..., Any]]:
    engine = services.engine

    def list_series() -> Rows:
        """First and last stored candle of every symbol and timeframe."""
        return plain(system.freshness(engine))

    def candles(symbol: str, timeframe: str = "1h", limit: int = 100) -> Rows:
        """Newest candles of a symbol, oldest first, labelled by their close time (UTC)."""
        frame = Timeframe.parse(timeframe).value
        return plain(market.candle_rows(engine, symbol, frame, _bounded(limit)))

    def backtests(limit: int = 20) -> Rows:
        """Newest backtests with their parameters, costs and metrics (ratios are fractions)."""
        return plain(runs.runs(engine, "backtest", _bounded(limit)))

    def data_gaps(limit: int = 50) -> Rows:
        """Holes in the trades, open ones first, and how each ended."""
        return plain(system.gaps(engine, _bounded(limit)))

    def events(limit: int = 50) -> Rows:
        """What happened on the platform, newest first: outages, crashes, halts, switches."""
        return plain(system.events(engine, _bounded(limit)))

    return list_series, candles, backtests, data_gaps, events


def _bounded(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise BadInput("limit", f"must be from 1 to {MOST}")
    return limit
